"""The twin paced by the wall clock: for people, who live in real time."""

from __future__ import annotations

from ..robot.interfaces import Clock
from ..robot.types import ActionChunk, Applied, Observation
from .twin import TwinRobot


class PacedClock:
    """The twin's clock, on which sleeping steps physics, then waits until as much time has passed on `wall`.

    A machine that is too slow slows the twin's time down: `lost_ns` grows, nothing catches up.
    """

    def __init__(self, clock: Clock, wall: Clock) -> None:
        self._clock = clock
        self._wall = wall
        self._due_ns: int | None = None  # on the wall
        self.lost_ns = 0

    def now(self) -> int:
        return self._clock.now()

    def restart(self) -> None:
        """Time that passes on the wall until the next sleep does not count."""
        self._due_ns = None

    def sleep_until(self, deadline_ns: int) -> None:
        if self._due_ns is None:
            self._due_ns = self._wall.now()
        before = self._clock.now()
        self._clock.sleep_until(deadline_ns)
        self._due_ns += self._clock.now() - before
        late = self._wall.now() - self._due_ns
        if late > 0:
            self.lost_ns += late
            self._due_ns += late
        else:
            self._wall.sleep_until(self._due_ns)


class PacedRobot:
    """`robot` on a `PacedClock`; implements `Robot`."""

    def __init__(self, robot: TwinRobot, wall: Clock) -> None:
        self._robot = robot
        self._clock = PacedClock(robot.clock, wall)

    @property
    def clock(self) -> PacedClock:
        return self._clock

    def observe(self) -> Observation:
        return self._robot.observe()

    def apply(self, chunk: ActionChunk) -> Applied:
        return self._robot.apply(chunk)

    def hold(self) -> None:
        self._robot.hold()

    def close(self) -> None:
        """Parks at once: nobody waits for a twin to come to rest."""
        self._robot.close()
