"""What the guard watches besides commands: age of data, torque, temperature, tracking, the operator.

A monitor only measures and says what is wrong; the guard decides what to do about it.
"""

from __future__ import annotations

from ..types import F64

SUSTAINED_NS = 100_000_000  # torque or force above its limit for this long counts
PAUSE_NS = 250_000_000  # after yielding to a load; doubled each time the load is back soon, up to:
LONGEST_PAUSE_NS = 8_000_000_000
DERATE_TO = 0.25  # share of the velocity limits left at the stop temperature


class Sustained:
    """True once a condition has been true for `limit_ns` without a break."""

    def __init__(self, limit_ns: int) -> None:
        self._limit = limit_ns
        self._since: int | None = None

    def update(self, now_ns: int, condition: bool) -> bool:
        if not condition:
            self._since = None
            return False
        if self._since is None:
            self._since = now_ns
        return now_ns - self._since >= self._limit

    def reset(self) -> None:
        self._since = None


class Pauses:
    """A pause after each event, twice as long as the one before when the next comes within `most_ns` of its end."""

    def __init__(self, first_ns: int, most_ns: int) -> None:
        self._first, self._most = first_ns, most_ns
        self._length = 0
        self._until: int | None = None

    def begin(self, now_ns: int) -> None:
        soon = self._until is not None and now_ns - self._until < self._most
        self._length = min(2 * self._length, self._most) if soon else self._first
        self._until = now_ns + self._length

    def lasts(self, now_ns: int) -> bool:
        return self._until is not None and now_ns < self._until

    def reset(self) -> None:
        self._until = None


class Freshness:
    """Newest sample time of each named source, and which of them is too old."""

    def __init__(self, limit_ns: int) -> None:
        self._limit = limit_ns
        self._newest: dict[str, int] = {}

    @property
    def watched(self) -> tuple[str, ...]:
        return tuple(self._newest)

    def note(self, name: str, t_ns: int) -> None:
        """`name` delivered a sample measured at `t_ns`; from the first on, it is watched."""
        if t_ns > self._newest.get(name, t_ns - 1):
            self._newest[name] = t_ns

    def stale(self, now_ns: int) -> str | None:
        """Name of a source whose newest sample is older than the limit."""
        for name, t_ns in self._newest.items():
            if now_ns - t_ns > self._limit:
                return name
        return None


class Heartbeat:
    """Dead-man of a remote operator: armed by the first beat, then each must follow within the limit."""

    def __init__(self, limit_ns: int) -> None:
        self._limit = limit_ns
        self._last: int | None = None

    @property
    def armed(self) -> bool:
        return self._last is not None

    def beat(self, t_ns: int) -> None:
        self._last = t_ns if self._last is None else max(self._last, t_ns)

    def disarm(self) -> None:
        self._last = None

    def lost(self, now_ns: int) -> bool:
        return self._last is not None and now_ns - self._last > self._limit


class Thermometer:
    """Speed left at a temperature: 1 below `derate_c`, falling to `DERATE_TO` at `stop_c`, 0 from there.

    After a stop it stays 0 until the hottest servo is back below `derate_c`.
    """

    def __init__(self, derate_c: float, stop_c: float) -> None:
        self._derate, self._stop = derate_c, stop_c
        self._stopped = False

    def speed(self, hottest_c: float) -> float:
        if hottest_c >= self._stop:
            self._stopped = True
        elif hottest_c < self._derate:
            self._stopped = False
        if self._stopped:
            return 0.0
        if hottest_c <= self._derate:
            return 1.0
        return 1.0 - (1.0 - DERATE_TO) * (hottest_c - self._derate) / (self._stop - self._derate)


def beyond(values: F64, limits: F64) -> bool:
    """Whether any |value| is above its limit."""
    return bool((abs(values) > limits).any())
