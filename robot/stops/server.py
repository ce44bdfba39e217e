"""The process that looks after a rig's e-stop sources: `python -m twinloop.robot.stops.server FOLDER`.

Started by the supervisor of the guard's session in FOLDER, and anew when it dies. It goes on while the agent hangs,
while the guard is started anew, and without a supervisor as long as the guard lives. Imports no MuJoCo.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..clock import RealClock
from ..interfaces import Clock
from .config import EStops, GpioStop, PedalStop, SocketStop
from .gpio import Contact
from .network import Listener
from .page import NAME, StopPage
from .pedal import Pedal
from .source import Source

SAID = "stops.json"  # name, active and detail of every source
LOOK_S = 0.02
LOG_NS, LOG_LINES = 1_000_000_000, 5  # so many lines on presses in so long; the others are counted
ALONE_NS = 1_000_000_000  # between two looks at whether anybody needs this process


class StopServer:
    """Looks at `sources` until `needed()` is false; presses `page`."""

    def __init__(
        self,
        folder: Path,
        page: StopPage,
        sources: Sequence[Source],
        clock: Clock,
        needed: Callable[[], bool],
        log: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._page = page
        self._sources = sources
        self._clock = clock
        self._needed = needed
        self._log = log
        self._faults: dict[str, str | None] = {}
        self._logged: set[str] = set()
        self._logged_ns, self._unlogged = 0, 0

    def run(self) -> None:
        """Serve."""
        asked_ns = self._clock.now()
        try:
            while True:
                self.look()
                now = self._clock.now()
                if now - asked_ns > ALONE_NS:
                    asked_ns = now
                    if not self._needed():
                        return
                waiting = [d for source in self._sources for d in source.descriptors()]
                select.select(waiting, [], [], LOOK_S)
        finally:
            for source in self._sources:
                source.close()

    def look(self) -> None:
        """One look at all of them. An open contact, and a required source that cannot be relied on, keep it pressed."""
        for source in self._sources:
            source.look(self._clock.now(), self._press)
            if source.holds is not None and self._page.pressed() is None:
                self._press(f"{source.name}: {source.holds}")
        self._count()
        faults = {source.name: source.fault for source in self._sources}
        if faults != self._faults:
            for name, fault in faults.items():
                if fault != self._faults.get(name, ""):
                    self._log(f"{name}: {fault or 'ready'}")
            self._faults = faults
            self._say()
        self._page.looked()

    def _press(self, reason: str) -> None:
        self._page.press(f"e-stop {reason}")
        self._count()
        if reason in self._logged or len(self._logged) >= LOG_LINES:
            self._unlogged += 1
            return
        if not self._logged:
            self._logged_ns = self._clock.now()
        self._logged.add(reason)
        self._log(f"pressed: {reason}")

    def _count(self) -> None:
        """Say how often it was pressed beside what is in the log: that lies in memory, and a flood must not fill it."""
        if self._logged and self._clock.now() - self._logged_ns > LOG_NS:
            if self._unlogged:
                self._log(f"pressed {self._unlogged} more times")
            self._logged.clear()
            self._unlogged = 0

    def _say(self) -> None:
        content = [
            {"name": source.name, "active": source.fault is None, "detail": source.fault or source.detail}
            for source in self._sources
        ]
        fresh = self._folder / f".{SAID}"
        with contextlib.suppress(OSError):  # no room: it is not said, and still pressed
            fresh.write_text(json.dumps(content))
            os.replace(fresh, self._folder / SAID)


def sources(stops: EStops, pressed: Callable[[], bool]) -> list[Source]:
    """The declared ones, not open yet."""
    found: list[Source] = []
    if stops.socket is not None:
        found.append(Listener(stops.socket, pressed))
    if stops.pedal is not None:
        found.append(Pedal(stops.pedal))
    if stops.gpio is not None:
        found.append(Contact(stops.gpio))
    return found


def declared(folder: Path) -> EStops:
    """What the plan of the session declares; it was checked when the rig was read."""
    plain = json.loads((folder / "plan.json").read_text())["rig"].get("estop", {})
    kinds: dict[str, Any] = {"socket": SocketStop, "pedal": PedalStop, "gpio": GpioStop}
    made = {}
    for name, values in plain.items():
        known = {f.name for f in fields(kinds[name])}
        kept = {key: value for key, value in values.items() if key in known}
        if kept.get("token_file") is not None:
            kept["token_file"] = Path(kept["token_file"])
        made[name] = kinds[name](**kept)
    return EStops(**made)


def main() -> int:
    folder, parent = Path(sys.argv[1]), os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    page = StopPage(folder)
    page.open()

    def needed() -> bool:
        return (folder / NAME).exists() and (os.getppid() == parent or _guard_lives(folder))

    def note(text: str) -> None:
        with contextlib.suppress(OSError), (folder / "guard.log").open("a") as file:
            file.write(f"e-stop: {text}\n")

    found = sources(declared(folder), lambda: page.pressed() is not None)
    StopServer(folder, page, found, RealClock(), needed, note).run()
    return 0


def _guard_lives(folder: Path) -> bool:
    try:
        os.kill(int(json.loads((folder / "hello.json").read_text())["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
