"""Time is injected. This is the only module that touches the system clock."""

from __future__ import annotations

import datetime
import time

from .interfaces import Clock


class RealClock:
    """The system's monotonic clock; implements `Clock`."""

    def now(self) -> int:
        """Monotonic time, ns."""
        return time.monotonic_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        """Sleep until the absolute `deadline_ns`; return at once when it has passed."""
        while (left := deadline_ns - time.monotonic_ns()) > 0:
            time.sleep(left * 1e-9)


class Stopwatch:
    """Wall time of a piece of work, s. For progress and reports, never for control."""

    def __init__(self) -> None:
        self._start_ns = time.perf_counter_ns()

    def restart(self) -> None:
        self._start_ns = time.perf_counter_ns()

    @property
    def seconds(self) -> float:
        return (time.perf_counter_ns() - self._start_ns) * 1e-9


def perf_ns() -> int:
    """High-resolution counter, ns, for measuring how long code takes."""
    return time.perf_counter_ns()


def wall_ns() -> int:
    """The wall clock, ns since 1970: may be set at any time, so good for nothing but stamps of others that use it."""
    return time.time_ns()


def wall_time() -> str:
    """UTC date and time, ISO 8601 to the second; metadata only."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def sleep_until(clock: Clock, deadline_ns: int) -> None:
    """Sleep on any clock (in the twin, sleeping is stepping physics)."""
    clock.sleep_until(deadline_ns)
