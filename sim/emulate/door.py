"""A socket in the emulator's folder, through which other programs of this user switch its faults."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from ...robot.errors import DeviceError, RigError
from ...robot.process.plan import rig_to_json
from ...robot.process.sessions import memory
from ...robot.rig import Rig, parse_rig
from .switches import FaultSwitches

PREFIX = "twinloop-emulate-"
DOOR, RIG = ".door", ".rig.json"  # no arm has such a name
KINDS = ("faults", "heat", "overload", "push", "unplug", "plug", "camera")
BYTES = 4096
ANSWER_S = 3.0


class Door:
    """The emulator's side; `orders()` are those that have come, each with a way to answer it."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        self._folder = folder
        self._rig = rig
        self._socket: socket.socket | None = None

    def open(self) -> None:
        content = {"rig": rig_to_json(self._rig), "pid": os.getppid()}
        (self._folder / RIG).write_text(json.dumps(content))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(self._folder / DOOR))

    def receive(self) -> tuple[tuple[str, str, dict[str, Any]], Any] | None:
        """The next order and who waits for its answer, or None."""
        assert self._socket is not None
        try:
            data, sender = self._socket.recvfrom(BYTES)
        except OSError:  # nothing there
            return None
        try:
            kind, name, values = json.loads(data)
            if kind not in KINDS or not isinstance(name, str) or not isinstance(values, dict):
                raise ValueError
        except (ValueError, RecursionError):
            self.answer(sender, "that is no order")
            return None
        if "dead" in values:
            values["dead"] = frozenset(values["dead"])
        return (kind, name, values), sender

    def answer(self, sender: Any, error: str = "") -> None:
        """Say that it is done, or what was wrong."""
        assert self._socket is not None
        with contextlib.suppress(OSError, TypeError):  # who asked has gone
            self._socket.sendto(error.encode()[:BYTES], sender)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class RunningEmulator(FaultSwitches):
    """An emulator that another process of this user runs; its files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            content = json.loads((folder / RIG).read_text())
            rig = parse_rig(content["rig"], str(folder / RIG))
            self.pid = int(content["pid"])  # of the program that started it
        except (OSError, ValueError, LookupError, TypeError, RigError):
            raise DeviceError(f"emulator in {folder}: not up yet, or ended") from None
        super().__init__(rig)
        self.paths = {arm: str(folder / arm) for arm in rig.arms}  # as `EmulatorProcess.paths`

    def _order(self, order: tuple[str, str, dict[str, Any]]) -> None:
        mine = self._folder / f".asks-{os.getpid()}"
        kind, name, values = order
        plain = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in values.items()}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            asking.settimeout(ANSWER_S)
            try:
                asking.bind(str(mine))
                asking.sendto(json.dumps([kind, name, plain]).encode(), str(self._folder / DOOR))
                error = asking.recv(BYTES).decode(errors="replace")
            except OSError:
                raise DeviceError(
                    f"emulator of rig '{self._rig.name}': does not answer; has it ended?"
                ) from None
            finally:
                mine.unlink(missing_ok=True)
        if error:
            raise DeviceError(f"emulator of rig '{self._rig.name}': {error}")


def running() -> list[RunningEmulator]:
    """The emulators of this user that answer their door."""
    found: list[RunningEmulator] = []
    for folder in sorted(memory().glob(f"{PREFIX}*")):
        with (
            contextlib.suppress(DeviceError, OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as knock,
        ):
            knock.connect(str(folder / DOOR))  # refused where nobody listens any more
            found.append(RunningEmulator(folder))
    return found
