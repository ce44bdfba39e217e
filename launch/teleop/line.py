"""The session in one line of the terminal, kept up to date; in a line a change where there is no terminal."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EVERY_NS = 200_000_000
CLEAR = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a session stands: what line and page show."""

    state: str
    mode: str  # the guard's
    reason: str
    rate_hz: float | None
    late: int
    clamped: str  # what the guard holds back now, "" = nothing
    last_clamp: str
    episode: int  # number of the episode to come, or running
    elapsed_s: float | None  # of the running one
    saved: int
    successes: int
    slowed: float  # share of time that the twin lost
    done: bool | None  # the task's own test; None: nobody can tell
    paused: bool
    hands: str  # who moves the arm
    message: str
    link: str = ""  # to an operator on another machine

    def text(self) -> str:
        """For the terminal; first what the person must not miss, since a narrow one shows no more."""
        rate = "" if self.rate_hz is None else f"{self.rate_hz:.0f} Hz"
        late = f", {self.late} late" if self.late else ""
        time = "" if self.elapsed_s is None else f" {self.elapsed_s:.1f} s"
        parts = [
            f"[{'paused' if self.paused else self.state}]",
            self.link,
            self.message,
            f"episode {self.episode}{time}",
            f"{self.saved} saved, {self.successes} succeeded",
            rate + late,
            f"guard {self.mode}" + (f" ({self.reason})" if self.mode != "run" else "") if self.mode else "",
        ]
        if self.slowed > 0.02:
            parts.append(f"time runs at {100 * (1 - self.slowed):.0f} %")
        if self.clamped or self.last_clamp:
            parts.append(
                f"held back: {self.clamped}" if self.clamped else f"last held back: {self.last_clamp}"
            )
        if self.done:
            parts.append("task done")
        if self.hands != "person":
            parts.append(self.hands)
        return "  ".join(part for part in parts if part)

    def for_page(self) -> dict[str, Any]:
        """The fields that the page knows (teleop/page/static/page.js)."""
        share = f" ({100 * self.successes / self.saved:.0f} %)" if self.saved else ""
        time = self.message or (f"time runs at {100 * (1 - self.slowed):.0f} %" if self.slowed > 0.02 else "")
        return {
            "mode": self.mode,
            "reason": self.reason,
            "episode": f"{'paused' if self.paused else self.state}, episode {self.episode}",
            "elapsed_s": self.elapsed_s,
            "rate_hz": self.rate_hz,
            "late": self.late,
            "state": self.state,
            "clamped": self.clamped,
            "last_clamp": self.last_clamp,
            "statistics": f"{self.saved} episodes, {self.successes} succeeded{share}"
            + ("; task done now" if self.done else ""),
            "operator": self.link,
            "message": time,
        }


class Line:
    """Shows a `Standing`; a terminal that is gone is no error."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._shown = ""
        self._state = ""

    def show(self, standing: Standing, typing: str | None = None) -> None:
        """`typing`: a text that the person types now, shown instead."""
        self.put(standing.text() if typing is None else f"note: {typing}", standing.state)

    def put(self, text: str, state: str) -> None:
        """Show `text`; where there is no terminal, when `state` is another than before."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"{CLEAR}{text[:width]}")
            self._shown = text
        elif state != self._state:
            self._write(f"{text}\n")
        self._state = state

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(f"{CLEAR}{text}\n{self._shown}" if self._live and self._shown else f"{text}\n")

    @contextlib.contextmanager
    def tells_log(self) -> Iterator[None]:
        """Inside, warnings of the program are lines that stay, instead of text in the midst of this one."""
        handler = _Told(self)
        logger = logging.getLogger("twinloop")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def close(self) -> None:
        if self._live and self._shown:
            self._write("\n")
            self._shown = ""

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(text)
            sys.stdout.flush()


class _Told(logging.Handler):
    """Says what is logged as a warning or worse."""

    def __init__(self, line: Line) -> None:
        super().__init__(logging.WARNING)
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        self._line.say(record.getMessage())
