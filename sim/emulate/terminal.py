"""A line on a pseudo-terminal: whoever opens its path sees a serial port with servos at the other end."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import tty
from collections import deque
from collections.abc import Callable

from ...robot.interfaces import Clock
from .line import Line

BAUDS = {
    value: int(name[1:]) for name, value in vars(termios).items() if name[0] == "B" and name[1:].isdigit()
}


class Terminal:
    """Serves `line` at `baud` on `path`; between bytes it calls `idle`, which lets the servos' time pass."""

    def __init__(self, line: Line, baud: int, clock: Clock, idle: Callable[[int], None]) -> None:
        self.path = ""
        self._line = line
        self._baud = baud
        self._clock = clock
        self._idle = idle
        self._ends: tuple[int, int] | None = None
        self._due: deque[tuple[int, bytes]] = deque()

    def open(self) -> None:
        """Make the terminal; raises `OSError` where there are none left."""
        master, slave = pty.openpty()  # the slave stays open, so that nobody leaving is no hang-up
        for end in (master, slave):
            tty.setraw(end)
        os.set_blocking(master, False)
        self._ends, self.path = (master, slave), os.ttyname(slave)

    def close(self) -> None:
        """Hang up, as a pulled plug does; `open` again makes another path."""
        ends, self._ends = self._ends, None
        for end in ends or ():
            with contextlib.suppress(OSError):
                os.close(end)
        self._due.clear()

    def serve(self, until_ns: int) -> None:
        """Answer until `until_ns` of the clock."""
        while (now := self._clock.now()) < until_ns:
            self._idle(now)
            self._send(now)
            if self._ends is None:
                self._clock.sleep_until(until_ns)
                continue
            wait_ns = min(until_ns, self._due[0][0] if self._due else until_ns) - self._clock.now()
            if select.select([self._ends[0]], [], [], max(0.0, wait_ns * 1e-9))[0]:
                self._receive()

    def _receive(self) -> None:
        assert self._ends is not None
        data = os.read(self._ends[0], 4096)
        speed = BAUDS.get(termios.tcgetattr(self._ends[1])[4], 0)
        if speed == self._baud:  # at another speed a servo hears nothing that it knows
            self._due.extend(self._line.receive(data, self._clock.now()))

    def _send(self, now: int) -> None:
        while self._due and self._due[0][0] <= now and self._ends is not None:
            with contextlib.suppress(BlockingIOError):  # nobody reads, and the terminal's buffer is full
                os.write(self._ends[0], self._due.popleft()[1])
