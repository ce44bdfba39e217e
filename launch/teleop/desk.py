"""The operator's desk: everything that a person presses, sees and hears, in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from ...robot.interfaces import Clock
from ...teleop.hand import Hand
from ...teleop.keyboard import Keyboard
from ...teleop.page import PageProcess
from ...teleop.pedal import FootPedal
from ...teleop.remote import Remote
from .line import EVERY_NS, Line, Standing
from .voice import Voice


@runtime_checkable
class Beating(Protocol):
    """A device at the end of a link that may be lost."""

    def beat_ns(self) -> int | None:
        """When its hand was last heard of, ns of the wall's clock; None before it ever was."""
        ...


NAMES = {"heartbeat": "no word from the hand"}  # of limits that a person knows by others


class Desk:
    """`hand` moves the arm; `terminal`, `page`, `pedal` have controls beside it, where there are any. All are open."""

    def __init__(
        self,
        hand: Hand,
        wall: Clock,
        *,
        terminal: Keyboard | None = None,
        page: PageProcess | None = None,
        pedal: FootPedal | None = None,
        voice: Voice | None = None,
        line: Line | None = None,
    ) -> None:
        self.hand = hand
        self.page = page
        self.voice = voice or Voice(quiet=True)
        self._wall = wall
        self._terminal = terminal
        self._pedal = pedal
        self._pedal_told = ""  # what was said of it last
        self._line = line or Line()
        self._beat_ns: int | None = None
        self._shown_ns = 0
        self._lonely = False  # the page is gone, and that was said
        self.clamp = ""  # what held the hand back last
        self._clamped_ns: int | None = None

    def pressed(self, t_ns: int | None = None) -> list[str]:
        """Controls since the last look, wherever; `t_ns` is the loop's step, None between two scenes."""
        found = [*self.hand.pressed(t_ns)]
        if self._terminal is not None and self._terminal is not self.hand.device:
            found += self._terminal.read(self._wall.now()).keys
        if self.page is not None and self.hand.device is not self.page:
            found += self.page.controls()
        if self._pedal is not None:
            found += self._pedal.read(self._wall.now())
        return found

    def ask(self) -> bool:
        """Ask for a line of text; false where there is no terminal, or one is being typed."""
        if self._terminal is None or self._terminal.line is not None:
            return False
        self._terminal.ask()
        return True

    def answer(self) -> str | None:
        """The text, once it is typed, there or on the page."""
        typed = None if self._terminal is None else self._terminal.answer()
        return self.page.answer() if typed is None and self.page is not None else typed

    def beat_age_ns(self) -> int | None:
        """How long ago a hand at the end of a link gave word, if it has done so since the last call."""
        device = self.hand.device
        if not isinstance(device, Beating):
            return None
        beat, before = device.beat_ns(), self._beat_ns
        self._beat_ns = beat
        return None if beat is None or beat == before else max(0, self._wall.now() - beat)

    def feel(self, names: list[str], t_ns: int) -> None:
        """The guard held the hand back at `t_ns`: by these limits, or by none."""
        self.hand.feel(bool(names))
        self._clamped_ns = t_ns if names else None
        if names:
            self.clamp = ", ".join(NAMES.get(name, name.replace("_", " ")) for name in names)
            self.voice.ring(self._wall.now())

    @property
    def clamped(self) -> str:
        """What holds the hand back now."""
        return "" if self._clamped_ns is None else self.clamp

    def forget_clamps(self) -> None:
        self.clamp, self._clamped_ns = "", None

    @property
    def due(self) -> bool:
        """Whether it is time to show how the session stands."""
        return self._wall.now() - self._shown_ns >= EVERY_NS

    def show(self, standing: Standing, session: dict[str, Any]) -> None:
        """`session`: what else the page shows of it."""
        self._shown_ns = self._wall.now()
        if self.page is not None and self.page.trouble and not self._lonely:
            self._lonely = True
            alone = self.hand.device is self.page or isinstance(self.hand.device, Remote)
            what = "and with it the hand: q ends the session" if alone else "the session goes on without it"
            self.alarm(f"{self.page.trouble}; {what}", spoken="the page is gone")
        if self._pedal is not None and self._pedal.trouble != self._pedal_told:
            self._pedal_told = self._pedal.trouble
            if self._pedal_told:
                self.say(self._pedal_told)
        if isinstance(self.hand.device, Remote):
            standing = replace(standing, link=self.hand.device.link_text)
        self._line.show(standing, None if self._terminal is None else self._terminal.line)
        if self.page is not None:
            self.page.tell({**standing.for_page(), **session})

    def alarm(self, text: str, spoken: str) -> None:
        """As `say`, and to be heard."""
        self.say(text)
        self.voice.ring(self._wall.now())
        self.voice.say(spoken)

    def say(self, text: str) -> None:
        """A line that stays on the terminal."""
        self._line.say(text)
