"""The `twinloop` command.

Each command is a module of `launch/commands`; adding a file there adds a command. Its source is read, not
imported, for the list in `twinloop --help`, which therefore needs nothing heavy.
"""

from __future__ import annotations

import ast
import errno
import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..robot.errors import TwinloopError, nearest

COMMANDS = Path(__file__).parent / "commands"
ORDER = ("demo", "record", "train", "eval", "deploy", "replay", "dataset", "rigs", "doctor", "bench")
NEWS_OF_DISK = {
    errno.ENOSPC: "no space left on the disk; free some and run the command again, what was saved is kept",
    errno.EROFS: "the disk is read-only; choose another --out",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EPERM: "not permitted; choose a folder that you may write to",
}


def command_names() -> list[str]:
    """All commands: the usual order first, then others by name."""
    found = {path.stem for path in COMMANDS.glob("*.py") if not path.stem.startswith("_")}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 2 for a mistake of the user, 130 after Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    trace = "--traceback" in args or os.environ.get("TWINLOOP_TRACEBACK") == "1"
    args = [a for a in args if a != "--traceback"]
    if not args or args[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if args[0] in ("-V", "--version"):
        print(f"twinloop {__version__}")
        return 0
    if args[0] == "--print-completion":
        from .completion import script

        shell = args[1] if len(args) > 1 else ""
        if shell not in ("bash", "zsh"):
            return _fail(f"--print-completion '{shell}': valid: bash, zsh")
        print(script(shell))
        return 0
    if args[0] not in command_names():
        return _fail(f"unknown command '{args[0]}'{nearest(args[0], command_names())}")
    try:
        return _run(args[0], args[1:])
    except SystemExit as stop:
        return int(stop.code or 0) if isinstance(stop.code, int | type(None)) else 2
    except KeyboardInterrupt:
        print("\ntwinloop: stopped; what was saved is kept (see --resume)", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except TwinloopError as error:
        if trace:
            raise
        return _fail(str(error))
    except OSError as error:
        if trace or error.errno not in NEWS_OF_DISK:
            raise
        return _fail(f"{error.filename or 'output'}: {NEWS_OF_DISK[error.errno]}")
    except (ImportError, AttributeError, RuntimeError) as error:  # `import mujoco` raises any of these
        from .doctor_checks import explain

        known = explain(error)
        if trace or known is None:
            raise
        return _fail(f"{known[0]}; {known[1]} (`twinloop doctor` shows more)")


def _run(name: str, args: list[str]) -> int:
    import tyro

    os.environ.setdefault("MUJOCO_GL", "egl" if not os.environ.get("DISPLAY") else "glfw")
    command = importlib.import_module(f".commands.{name}", __package__).Command
    chosen = tyro.cli(
        command,
        prog=f"twinloop {name}",
        description=inspect.cleandoc(command.__doc__ or ""),
        args=args,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return int(chosen.run() or 0)


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
    doc = ast.get_docstring(ast.parse((COMMANDS / f"{name}.py").read_text())) or ""
    line = doc.splitlines()[0] if doc else ""
    return line.partition(": ")[2] or line


def _fail(message: str) -> int:
    print(f"twinloop: error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
