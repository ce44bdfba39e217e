"""The e-stop sources' process as the guard's process sees it: whether it lives, and what it said."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from ..guard.protections import Protection
from ..interfaces import Clock
from ..stops.config import EStops
from ..stops.page import StopPage
from ..stops.server import SAID

log = logging.getLogger(__name__)

START_NS = 10_000_000_000  # until its first look, on a busy machine
SILENT_NS = 2_000_000_000  # without a look for so long it is dead or hangs; the supervisor starts it anew
SILENT_LOOKS = 10  # and so many looks of ours: a guard that stood still itself has not seen it silent
LOOK_NS = 10_000_000


class StopSources:
    """Watches over the sources that `stops` declares; `page` is open when this is used."""

    def __init__(self, stops: EStops, folder: Path, page: StopPage, clock: Clock) -> None:
        self._stops = stops
        self._folder = folder
        self._page = page
        self._clock = clock
        self._known = 0
        self._since_ns = clock.now()
        self._same = 0
        self.silent = False

    def wait(self) -> None:
        """Until the sources are looked at for the first time; the arms are not to be opened before."""
        due = self._clock.now() + START_NS
        while self._stops.declared and not self._page.looks and self._clock.now() < due:
            self._clock.sleep_until(self._clock.now() + LOOK_NS)
        self._since_ns = self._clock.now()

    def look(self) -> None:
        """Press the stop when nobody looks at a required source any more."""
        if not self._stops.declared:
            return
        now, looks = self._clock.now(), self._page.looks
        if looks != self._known:
            if self.silent:
                log.warning("the e-stop sources are looked at again")
            self._known, self._since_ns, self._same, self.silent = looks, now, 0, False
            return
        self._same += 1
        if now - self._since_ns < SILENT_NS or self._same < SILENT_LOOKS:
            return
        if not self.silent:
            self.silent = True
            log.warning("nobody looks at the e-stop sources: %s", ", ".join(self._stops.declared))
        if self._stops.required and self._page.pressed() is None:
            self._page.press(f"e-stop sources are not looked at ({', '.join(self._stops.required)})")

    def protections(self) -> tuple[Protection, ...]:
        """One for every source, as its process said last."""
        if self.silent:
            return tuple(
                Protection(f"estop_{name}", False, "nobody looks at it") for name in self._stops.declared
            )
        try:
            said = json.loads((self._folder / SAID).read_text()) if self._stops.declared else []
        except (OSError, ValueError):
            said = []
        return tuple(Protection(f"estop_{s['name']}", bool(s["active"]), str(s["detail"])) for s in said)
