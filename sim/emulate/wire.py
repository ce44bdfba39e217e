"""A line in this process, on a clock of its own: time passes as bytes do, and minutes of it take seconds.

The real driver speaks to emulated servos without a terminal and without another process, so that what a bad line
costs is the same on every run and on every machine.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ...robot.errors import DeviceError
from ...robot.interfaces import Clock
from .line import Line
from .motor import Sensed

LAG_S = 0.03  # of a motor that carries nothing
WARM_C = 30.0


class WireClock:
    """Time passes when somebody sleeps or waits for bytes; implements `Clock`.

    What `every` was given is called on time while somebody sleeps, and late by a wait for bytes otherwise.
    """

    def __init__(self, t_ns: int = 1_000_000_000) -> None:
        self._t_ns = t_ns
        self._calls: list[tuple[list[int], int, Callable[[], None]]] = []  # ([due], period, call)

    def now(self) -> int:
        return self._t_ns

    def sleep_until(self, deadline_ns: int) -> None:
        while self._calls:
            due, period_ns, call = min(self._calls, key=lambda entry: entry[0][0])
            if due[0] > deadline_ns:
                break
            self.wait_until(due[0])
            due[0] += period_ns
            call()
        self.wait_until(deadline_ns)

    def wait_until(self, t_ns: int) -> None:
        """Let time pass without calling anybody."""
        self._t_ns = max(self._t_ns, t_ns)

    def every(self, period_ns: int, call: Callable[[], None]) -> None:
        """Call `call` every `period_ns` from now on."""
        self._calls.append(([self._t_ns + period_ns], period_ns, call))


class WirePort:
    """The host's end of `line`; implements `Port`."""

    def __init__(self, line: Line, clock: WireClock) -> None:
        self._line = line
        self._clock = clock
        self._due: deque[tuple[int, bytes]] = deque()
        self._is_open = False

    def open(self) -> None:
        self._is_open = True

    def close(self) -> None:
        self._is_open = False
        self._due.clear()

    def send(self, data: bytes) -> None:
        if not self._is_open:
            raise DeviceError("wire: not open")
        self._due.extend(self._line.receive(data, self._clock.now()))

    def receive(self, deadline_ns: int) -> bytes:
        """What has arrived by now; else time passes to the next arrival, or to the deadline."""
        if not self._is_open:
            raise DeviceError("wire: not open")
        if self._due and self._due[0][0] <= max(deadline_ns, self._clock.now()):
            self._clock.wait_until(self._due[0][0])
            return self._due.popleft()[1]
        self._clock.wait_until(deadline_ns)
        return b""


@dataclass
class FreeMotor:
    """A motor that carries nothing and follows its goal with a lag; implements `Motor`."""

    clock: Clock
    turns: float = 0.5
    supply_v: float = 7.4
    _goal: float | None = None
    _speed: float = 0.0
    _t_ns: int = 0

    def sense(self) -> Sensed:
        now = self.clock.now()
        dt_s, self._t_ns = (now - self._t_ns) * 1e-9, now
        if dt_s > 0.0:
            left = 0.0 if self._goal is None else self._goal - self.turns
            moved = left * (1.0 - math.exp(-dt_s / LAG_S))
            self.turns, self._speed = self.turns + moved, moved / dt_s
        return Sensed(self.turns, self._speed, 0.0, 0.0, self.supply_v, WARM_C)

    def drive(self, turns: float | None, duty_max: float, p: int) -> None:
        self._goal = turns
