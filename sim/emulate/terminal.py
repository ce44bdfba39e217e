"""Lines on pseudo-terminals: whoever opens a path sees a serial port with servos at the other end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import termios
import tty
from collections import deque
from collections.abc import Callable, Sequence

from ...robot.buses.port import EMULATED
from ...robot.interfaces import Clock
from .line import Line

TCGETS2, TERMIOS2 = (
    0x802C542A,
    struct.Struct("4I20B2I"),
)  # Linux, asm-generic/termbits.h: any baud rate, as a number


class Terminal:
    """One end of a pseudo-terminal with `line` behind it; servos hear who opens `path` at their own baud rate."""

    def __init__(self, line: Line, clock: Clock) -> None:
        self.path = ""
        self.line = line
        self._clock = clock
        self._ends: tuple[int, int] | None = None
        self._due: deque[tuple[int, bytes]] = deque()

    @property
    def is_open(self) -> bool:
        return self._ends is not None

    @property
    def due_ns(self) -> int | None:
        """When the next answer has arrived; None when none is on its way."""
        return self._due[0][0] if self._due else None

    def open(self) -> None:
        """Plug in; the path is another one each time. Raises `OSError` where there are no terminals left."""
        master, slave = pty.openpty()  # the slave stays open, so that nobody leaving is no hang-up
        for end in (master, slave):
            tty.setraw(end)
        os.set_blocking(master, False)
        fcntl.ioctl(master, termios.TIOCSWINSZ, EMULATED)  # a terminal's size, which a serial port has not
        self._ends, self.path = (master, slave), os.ttyname(slave)

    def close(self) -> None:
        """Pull the plug: whoever has it open is hung up on."""
        ends, self._ends = self._ends, None
        for end in ends or ():
            with contextlib.suppress(OSError):
                os.close(end)
        self._due.clear()

    def fileno(self) -> int:
        return -1 if self._ends is None else self._ends[0]

    def receive(self) -> None:
        """Take what the host wrote."""
        if self._ends is None:
            return
        data = os.read(self._ends[0], 4096)
        self._due.extend(self.line.receive(data, self._clock.now(), _baud(self._ends[1])))

    def send(self) -> None:
        """Hand over the answers that have arrived by now."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now and self._ends is not None:
            with contextlib.suppress(BlockingIOError):  # nobody reads, and the terminal's buffer is full
                os.write(self._ends[0], self._due.popleft()[1])


def serve(terminals: Sequence[Terminal], clock: Clock, until_ns: int, idle: Callable[[], None]) -> None:
    """Answer on all `terminals` until `until_ns` of the clock; `idle` runs in between, at least once."""
    while True:
        idle()
        for terminal in terminals:
            terminal.send()
        now = clock.now()
        if now >= until_ns:
            return
        due = min([until_ns, *(t.due_ns for t in terminals if t.due_ns is not None)])
        ready = select.select([t for t in terminals if t.is_open], [], [], max(0, due - now) * 1e-9)[0]
        for terminal in ready:
            terminal.receive()


def _baud(terminal: int) -> int:
    """What the host has set; termios itself knows only the rates that have a name."""
    return TERMIOS2.unpack(fcntl.ioctl(terminal, TCGETS2, bytes(TERMIOS2.size)))[-1]
