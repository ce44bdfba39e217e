"""The `twinloop` command.

Each command is a module of `launch/commands`; adding a file there adds a command. Its source is read, not
imported, for the list in `twinloop --help`, which therefore needs nothing heavy.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import gc
import importlib
import inspect
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..robot.errors import TwinloopError, UsageError, nearest
from .stopping import asked, exit_code, stopping

COMMANDS = Path(__file__).parent / "commands"
ORDER = (
    "demo",
    "teleop",
    "operate",
    "record",
    "train",
    "eval",
    "deploy",
    "replay",
    "emulate",
    "fault",
    "estop",
    "blackbox",
    "dataset",
    "rigs",
    "setup-devices",
    "doctor",
    "bench",
)
NEWS_OF_DISK = {
    errno.ENOSPC: "no space left on the disk; free some and run the command again, what was saved is kept",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EPERM: "not permitted; choose a folder that you may write to",
}


def command_names() -> list[str]:
    """All commands: the usual order first, then others by name."""
    found = {path.stem.replace("_", "-") for path in COMMANDS.glob("*.py") if not path.stem.startswith("_")}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def command_file(name: str) -> Path:
    """The source of a command: `setup-devices` is setup_devices.py."""
    return COMMANDS / f"{name.replace('-', '_')}.py"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 2 for a mistake of the user, 130 after Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    with stopping():
        try:
            return _checked(args)
        except KeyboardInterrupt as stop:
            said = f"; {stop}" if str(stop) else ""
            hint = " (go on with --resume)" if _resumes(args) else ""
            with contextlib.suppress(OSError):  # a terminal that was closed
                print(f"\ntwinloop: stopped{said}; what was saved is kept{hint}", file=sys.stderr, flush=True)
            code = exit_code()
            _mend_output()
    gc.collect()  # the cut-off work's cycles: at Python's own end, extension modules report them as leaks
    return code


def _checked(args: list[str]) -> int:
    """Run `args`; what the user can mend becomes one line."""
    trace = "--traceback" in args or os.environ.get("TWINLOOP_TRACEBACK") == "1"
    args = [a for a in args if a != "--traceback"]
    try:
        try:
            status = _chosen(args)
        except Exception as error:
            if not asked():
                raise
            # Libraries turn a KeyboardInterrupt in their midst into errors of their own.
            raise KeyboardInterrupt(str(error) if isinstance(error, TwinloopError) else "") from None
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk shows here, not when Python ends
        return status
    except BrokenPipeError:
        _drop_output()
        return 1
    except TwinloopError as error:
        if trace:
            raise
        return _fail(str(error))
    except OSError as error:
        if error.filename is None:
            _drop_output()
        if trace or error.errno not in NEWS_OF_DISK:
            raise
        return _fail(f"{error.filename or 'output'}: {NEWS_OF_DISK[error.errno]}")
    except (ImportError, AttributeError, RuntimeError) as error:  # `import mujoco` raises any of these
        from .doctor_checks import explain

        known = explain(error)
        if trace or known is None:
            raise
        return _fail(f"{known[0]}; {known[1]} (`twinloop doctor` shows more)")


def _chosen(args: list[str]) -> int:
    """Run what the first of `args` names."""
    if args[:1] == ["estop"]:  # how its reason is spelt must not keep an arm moving
        args = [arg.encode(errors="replace").decode() for arg in args]
    for arg in args:
        if not _is_text(arg):
            raise UsageError(
                f"argument '{arg}' is not UTF-8 text here (encoding {sys.getfilesystemencoding()}); "
                f"rename the file, or set a UTF-8 locale, as LC_ALL=C.UTF-8"
            )
    if not args or args[0] in ("-h", "--help", "help"):
        print(overview())
    elif args[0] in ("-V", "--version"):
        print(f"twinloop {__version__}")
    elif args[0] == "--print-completion":
        from .completion import script

        shell = args[1] if len(args) > 1 else ""
        if shell not in ("bash", "zsh"):
            raise UsageError(f"--print-completion '{shell}': valid: bash, zsh")
        print(script(shell))
    elif args[0] not in command_names():
        raise UsageError(f"unknown command '{args[0]}'{nearest(args[0], command_names())}")
    else:
        try:
            return _run(args[0], args[1:])
        except SystemExit as stop:  # argument parsing
            return int(stop.code or 0) if isinstance(stop.code, int | type(None)) else 2
    return 0


def _is_text(arg: str) -> bool:
    try:
        arg.encode()
    except UnicodeEncodeError:
        return False
    return True


def _drop_output() -> None:
    """Nobody takes the output any more: Python's own flush at the end must not fail over it again."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _mend_output() -> None:
    """What waits for a terminal that was closed must not fail at Python's own end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _drop_output()


def _run(name: str, args: list[str]) -> int:
    import tyro

    os.environ.setdefault("MUJOCO_GL", "egl" if not os.environ.get("DISPLAY") else "glfw")
    command = importlib.import_module(f".commands.{command_file(name).stem}", __package__).Command
    chosen = tyro.cli(
        command,
        prog=f"twinloop {name}",
        description=inspect.cleandoc(command.__doc__ or ""),
        args=args,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return int(chosen.run() or 0)


def _resumes(args: Sequence[str]) -> bool:
    """Whether the command that `args` began is gone on with by --resume; a person's recording goes on by itself."""
    if args[:1] == ["record"] and any(arg.partition("=")[0] == "--device" for arg in args):
        return False
    module = sys.modules.get(f"{__package__}.commands.{command_file(args[0]).stem}") if args else None
    return "resume" in getattr(getattr(module, "Command", None), "__dataclass_fields__", {})


def overview() -> str:
    """The text of `twinloop --help`."""
    lines = [
        f"twinloop {__version__}: one control stack for a robot arm and its MuJoCo twin",
        "",
        "usage: twinloop COMMAND [options]     twinloop COMMAND --help shows options and an example",
        "",
    ]
    width = max(map(len, command_names())) + 2
    for name in command_names():
        lines.append(f"  {name:<{width}}{summary(name)}")
    lines += [
        "",
        "  --version, --print-completion bash|zsh, --traceback (show where an error came from)",
        "",
        "example: twinloop demo",
    ]
    return "\n".join(lines)


def summary(name: str) -> str:
    """What a command does, from the docstring of its module."""
    doc = ast.get_docstring(ast.parse(command_file(name).read_text())) or ""
    line = doc.splitlines()[0] if doc else ""
    return line.partition(": ")[2] or line


def _fail(message: str) -> int:
    print(f"twinloop: error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
