"""The sessions of guards that run on this machine, under this user."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from ..errors import DeviceError
from ..stops.page import NAME, StopPage
from .plan import HELLO, PLAN

PREFIX = "twinloop-guard-"
SUPERVISOR_PID = "supervisor.pid"


def memory() -> Path:
    """Where sessions keep their files: `TWINLOOP_MEMORY`, else in memory, where there is such a folder.

    Sessions in another folder are not found by `twinloop estop`, unless it is told the same.
    """
    shared = Path(os.environ.get("TWINLOOP_MEMORY") or "/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def running() -> list[Path]:
    """Folders of the sessions whose guard lives, or is about to be started anew."""
    return [
        f for f in sorted(memory().glob(f"{PREFIX}*")) if lives(guard_pid(f), f) or lives(_supervisor(f), f)
    ]


def guard_pid(folder: Path) -> int | None:
    """Process id of the session's guard, as far as it has said so."""
    try:
        return int(json.loads((folder / HELLO).read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lives(pid: int | None, folder: Path) -> bool:
    """Whether process `pid` lives, and works for the session in `folder`: ids are used again."""
    if pid is None:
        return False
    try:
        return str(folder).encode() in (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _supervisor(folder: Path) -> int | None:
    try:
        return int((folder / SUPERVISOR_PID).read_text())
    except (OSError, ValueError):
        return None


def press_all(reason: str) -> tuple[list[str], list[str]]:
    """Press the e-stop of all of them. Returns of each its rig, ports and process, and of those that could not be
    pressed also why."""
    pressed, failed = [], []
    for folder in running():
        page = StopPage(folder)
        try:
            if not (folder / NAME).exists():
                raise DeviceError(f"{folder / NAME} is gone")
            page.open()
            page.press(reason)
        except (OSError, DeviceError, ValueError) as error:
            if folder.exists():  # else it has ended meanwhile
                failed.append(f"{_session(folder)}: {error}")
        else:
            pressed.append(_session(folder))
        finally:
            page.close()
    return pressed, failed


def _session(folder: Path) -> str:
    """Rig, ports and process, by which a person tells one session from another."""
    pid = guard_pid(folder) or _supervisor(folder)
    try:
        plan = json.loads((folder / PLAN).read_text())
        ports = ", ".join(map(str, plan["ports"].values()))
        return f"{plan['rig']['name']} (on {ports}; process {pid})"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{folder.name} (process {pid})"
