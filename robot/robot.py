"""`GuardedRobot`: arms and grippers behind one guard, cameras, one clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from .errors import DeviceError, StaleData
from .guard import Guard
from .interfaces import Camera, Clock
from .process import GuardProcess
from .rig import Rig
from .types import ActionChunk, Applied, Frame, Observation

log = logging.getLogger(__name__)

PARK_TIMEOUT_NS = 20_000_000_000  # a park that takes longer is given up: the arm is released, and said so
ATTEMPT_NS = 100_000_000
BRAKE_NS = 1_000_000_000
STANDING_RAD_S = 0.05
SILENT_NS = 3_000_000_000


@runtime_checkable
class Ticker(Protocol):
    """A clock that calls back while time passes, as the twin's does."""

    def every(self, period_ns: int, callback: Callable[[], None]) -> None: ...


class TickingClock:
    """A clock whose sleeping runs `tick` every `period_ns` on absolute deadlines; implements `Clock`.

    For guards without a process of their own: between two sleeps nobody ticks, and the guard sees a stall.
    """

    def __init__(self, clock: Clock, period_ns: int, tick: Callable[[], None]) -> None:
        self._clock = clock
        self._period_ns = period_ns
        self._tick = tick
        self._due_ns: int | None = None

    def now(self) -> int:
        return self._clock.now()

    def sleep_until(self, deadline_ns: int) -> None:
        """Sleep to the deadline, ticking on the way; missed ticks are not made up for."""
        due = self._clock.now() if self._due_ns is None else self._due_ns
        while due <= deadline_ns:
            self._clock.sleep_until(due)
            self._tick()
            due += self._period_ns
            due = max(due, self._clock.now())
        self._due_ns = due
        self._clock.sleep_until(deadline_ns)


class GuardedRobot:
    """Implements `Robot`: observes through the guard and the cameras, acts through the guard alone.

    With `tick`, this process runs the guard's cycle: in lockstep on a clock that offers `every` (the
    twin's); on any other, while `robot.clock` sleeps. Without, a `GuardProcess` does.
    """

    def __init__(
        self,
        rig: Rig,
        clock: Clock,
        guard: Guard | GuardProcess,
        cameras: Mapping[str, Camera],
        *,
        tick: bool = True,
    ) -> None:
        self.rig = rig
        self.guard = guard
        self.cameras = dict(cameras)
        self._base_clock = clock
        self._lockstep = isinstance(clock, Ticker)
        self._clock: Clock = clock
        self._tick = guard.tick if tick and isinstance(guard, Guard) else None
        if self._tick is not None and not self._lockstep:
            self._clock = TickingClock(clock, guard.period_ns, self._tick)
        self._registered = False
        self._frames: dict[str, Frame] = {}
        self.ended_parked = False  # the last `close()` released the arms at their rest pose

    @property
    def clock(self) -> Clock:
        return self._clock

    def open(self) -> None:
        """Open the cameras, then the guard and its arms; all or nothing."""
        try:
            for camera in self.cameras.values():
                camera.open()
            self.guard.open()
        except BaseException:
            self._close_cameras()
            raise
        if self._tick is not None and not self._registered and isinstance(self._base_clock, Ticker):
            self._base_clock.every(self.guard.period_ns, self._tick)
            self._registered = True

    def __enter__(self) -> GuardedRobot:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def observe(self) -> Observation:
        """State of the guard's last tick and the newest frame of every camera.

        A camera that is stale or silent raises nothing: its last frame (if there was one) is handed out with
        its old time, and the guard, which is told, holds.
        """
        now = self._clock.now()
        for name, camera in self.cameras.items():
            try:
                frame = camera.read()
            except StaleData as error:
                self.guard.note_frame(name, now - error.age_ns)
            except DeviceError as error:
                log.warning("camera %s: %s", name, error)
                self.guard.note_frame(name, 0)
            else:
                self._frames[name] = frame
                self.guard.note_frame(name, frame.t_ns)
        return Observation(
            t_ns=now,
            arms=dict(self.guard.arm_states),
            grippers=dict(self.guard.gripper_states),
            frames=dict(self._frames),
        )

    def apply(self, chunk: ActionChunk) -> Applied:
        """Hand `chunk` to the guard; returns what it did since the last call, rejections included."""
        self.guard.submit(chunk)
        return self.guard.collect()

    def hold(self) -> None:
        """Drop every pending command; stop within the limits and hold."""
        self.guard.hold()

    def close(self) -> None:
        """Park at the rest pose (at most 20 s on the robot's clock), then torque off; cameras close anyway.

        After an e-stop the arm must not move: it is released where it stands, and the log says so.
        """
        try:
            if self.guard.is_open:
                try:
                    try:
                        self._park()
                    except KeyboardInterrupt:
                        self._park()  # it did not ask for letting go in mid-air; a second one does
                        raise
                finally:
                    self.ended_parked = self.guard.parked
                    if not self.ended_parked:
                        self._brake()
                    self.guard.close(unparked=not self.ended_parked)
        finally:
            self._close_cameras()

    def _park(self) -> None:
        deadline = self._clock.now() + PARK_TIMEOUT_NS
        while not self.guard.parked and self.guard.mode != "estop" and self._clock.now() < deadline:
            if not self._answers():
                log.error("no arm answers: it cannot be parked; is its cable in, its power on?")
                return
            self.guard.park()
            # A park that was broken off (a load, say) has this long to settle before the next attempt.
            self._clock.sleep_until(self._clock.now() + ATTEMPT_NS)

    def _answers(self) -> bool:
        """Whether an arm has told its state lately."""
        since = self._clock.now() - SILENT_NS
        return any(state.t_ns > since for state in self.guard.arm_states.values())

    def _brake(self) -> None:
        """Wait until the arm stands: torque off while it moves would throw it."""
        deadline = self._clock.now() + BRAKE_NS
        while self._clock.now() < deadline:
            speeds = [np.abs(state.dq).max(initial=0.0) for state in self.guard.arm_states.values()]
            if max(speeds, default=0.0) < STANDING_RAD_S:
                break
            self._clock.sleep_until(self._clock.now() + ATTEMPT_NS // 5)

    def _close_cameras(self) -> None:
        for name, camera in self.cameras.items():
            try:
                camera.close()
            except Exception as error:
                log.error("camera %s: closing failed: %s", name, error)
