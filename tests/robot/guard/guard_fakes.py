"""A light arm, gripper and clock for the guard's tests: first-order followers with fault switches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from twinloop.robot.errors import DeviceError, StaleData
from twinloop.robot.guard import Guard
from twinloop.robot.rig import Rig, load_rig
from twinloop.robot.types import ActionChunk, ArmState, CameraSpec, Frame, GripperSpec, GripperState

HOME = np.array([0.0, -0.75, 0.75, 1.25, -1.57])
MS = 1_000_000


class ManualClock:
    """Time moves when told to; `every` is called back on time, as on the twin's clock."""

    def __init__(self) -> None:
        self.t = 1_000_000_000
        self.events: list[list] = []

    def now(self) -> int:
        return self.t

    def every(self, period_ns: int, callback: Callable[[], None]) -> None:
        self.events.append([self.t, period_ns, callback])

    def sleep_until(self, deadline_ns: int) -> None:
        while True:
            due = min(self.events, key=lambda e: e[0], default=None)
            if due is None or due[0] >= deadline_ns:
                break
            self.t = max(self.t, due[0])
            due[0] += due[1]
            due[2]()
        self.t = max(self.t, deadline_ns)


class BareClock:
    """The same without `every`, as the system's clock."""

    def __init__(self) -> None:
        self.t = 1_000_000_000

    def now(self) -> int:
        return self.t

    def sleep_until(self, deadline_ns: int) -> None:
        self.t = max(self.t, deadline_ns)


class FakeArm:
    """Moves towards its goal with a time constant; switches: silent, nan, blocked, load, ..."""

    def __init__(self, rig: Rig, clock, name: str = "arm", q=HOME, tau_s: float = 0.03) -> None:
        self._spec = rig.joint_spec(name)
        self.clock, self.tau_s = clock, tau_s
        self.q = np.array(q, dtype=float)
        self.goal = np.full(self._spec.n, np.nan)  # what a power-up leaves in the goal register
        self.torque = False
        self.last = clock.now()
        self.stamp: int | None = None  # a frozen time of measurement
        self.silent = self.nan = self.blocked = self.deaf = False
        self.load = np.zeros(self._spec.n)
        self.temperature = np.full(self._spec.n, 30.0)
        self.faults: tuple[str, ...] = ()
        self.commands: list[tuple[int, np.ndarray]] = []
        self.jump = 0.0  # largest goal-to-position distance at the moment torque came on
        self.closed = 0

    @property
    def spec(self):
        return self._spec

    def open(self) -> None:
        self.goal = self.q.copy()
        self.torque = True
        self.jump = float(np.abs(self.goal - self.q).max())

    def _move(self) -> None:
        now = self.clock.now()
        if self.torque and not self.blocked and now > self.last:
            self.q += (self.goal - self.q) * (1.0 - math.exp(-(now - self.last) * 1e-9 / self.tau_s))
        self.last = now

    def read(self) -> ArmState:
        if self.silent:
            raise StaleData("arm", 70 * MS, 50 * MS)
        self._move()
        q = self.q.copy()
        if self.nan:
            q[0] = np.nan
        t_ns = self.clock.now() if self.stamp is None else self.stamp
        q.setflags(write=False)
        volts = np.full(q.size, 7.4)
        return ArmState(t_ns, q, np.zeros(q.size), self.load, self.temperature, volts, self.faults)

    def command(self, q) -> None:
        if self.deaf:
            raise DeviceError("arm: no answer")
        if np.shape(q) != self.goal.shape or not np.isfinite(q).all():
            raise DeviceError(f"arm: bad goal {q}")
        self._move()
        self.goal = np.array(q)
        self.commands.append((self.clock.now(), self.goal))

    def hold(self) -> None:
        self.goal = self.q.copy()

    def close(self) -> None:
        self.torque = False
        self.closed += 1


class FakeGripper:
    """A jaw that closes on an object of `object_m` with a stiffness."""

    def __init__(self, rig: Rig, clock, name: str = "gripper", width: float = 0.03) -> None:
        config = rig.grippers[name]
        self._spec = GripperSpec(
            0.0, 0.09, config.speed_m_s, config.acceleration_m_s2, config.jerk_m_s3, config.force_n
        )
        self.clock, self.width, self.goal = clock, width, width
        self.object_m, self.stiffness = 0.0, 1500.0
        self.commands: list[tuple[int, float]] = []
        self.silent = False
        self.closed = 0

    @property
    def spec(self):
        return self._spec

    def open(self) -> None:
        self.goal = self.width

    def read(self) -> GripperState:
        if self.silent:
            raise DeviceError("gripper: no answer")
        self.width = max(self.goal, self.object_m)
        return GripperState(self.clock.now(), self.width, self.stiffness * (self.width - self.goal))

    def command(self, width_m: float) -> None:
        if not math.isfinite(width_m):
            raise DeviceError(f"gripper: bad goal {width_m}")
        self.goal = float(width_m)
        self.commands.append((self.clock.now(), self.goal))

    def close(self) -> None:
        self.closed += 1


class FakeCamera:
    """Delivers a frame per `period_ms` of the clock; switches: frozen, stale, broken."""

    def __init__(self, clock, period_ms: int = 33) -> None:
        self.clock, self.period = clock, period_ms * MS
        self.frozen = self.stale = self.broken = False
        self.latest = Frame(clock.now(), 0, np.zeros((2, 2, 3), np.uint8))
        self.opened = self.closed = 0

    @property
    def spec(self) -> CameraSpec:
        return CameraSpec(2, 2, 30.0)

    def open(self) -> None:
        self.opened += 1

    def read(self) -> Frame:
        if self.broken:
            raise DeviceError("camera: unplugged")
        if self.stale:
            raise StaleData("camera", 900 * MS, 500 * MS)
        now = self.clock.now()
        if not self.frozen and now - self.latest.t_ns >= self.period:
            self.latest = Frame(now, self.latest.seq + 1, self.latest.rgb)
        return self.latest

    def close(self) -> None:
        self.closed += 1


class Bench:
    """One fake SO-101 behind an opened guard on a manual clock."""

    def __init__(
        self, q=HOME, width: float = 0.03, blackbox=None, obstacles=(), rig: Rig | None = None, **guard
    ):
        rig = rig or load_rig("so101")
        self.rig = replace(rig, guard=replace(rig.guard, **guard)) if guard else rig
        self.clock = ManualClock()
        self.arm = FakeArm(self.rig, self.clock, q=q)
        self.gripper = FakeGripper(self.rig, self.clock, width=width)
        self.guard = Guard(
            self.rig,
            {"arm": self.arm},
            {"gripper": self.gripper},
            self.clock,
            blackbox=blackbox,
            obstacles=obstacles,
        )
        self.guard.open()

    @property
    def period(self) -> int:
        return self.guard.period_ns

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock.t += self.period
            self.guard.tick()

    def seconds(self, s: float) -> None:
        self.tick(round(s * 1e9 / self.period))

    def chunk(self, q, width=None, dt_ms: float = 20.0, delay_ms: float = 0.0, valid_ms: float = 100.0, **kw):
        """A chunk of rows `q` (n,) or (H, n), starting `delay_ms` from now."""
        rows = np.atleast_2d(np.asarray(q, dtype=float))
        widths = {} if width is None else {"gripper": np.broadcast_to(np.float64(width), (len(rows),)).copy()}
        t0 = self.clock.now() + round(delay_ms * MS)
        dt = round(dt_ms * MS)
        return ActionChunk(
            t0, dt, {"arm": rows}, widths, t0 + (len(rows) - 1) * dt + round(valid_ms * MS), **kw
        )

    def go(self, q, seconds: float, width=None) -> None:
        """Ask for pose `q` for `seconds`, renewed every 20 ms."""
        for _ in range(round(seconds / 0.02)):
            self.guard.submit(self.chunk(q, width))
            self.tick(4)

    def sent(self) -> np.ndarray:
        """All arm commands, (ticks, n)."""
        return np.array([q for _, q in self.arm.commands])


def differences(sent: np.ndarray, dt_s: float) -> tuple[float, float, float]:
    """Largest |velocity|, |acceleration|, |jerk| of consecutive commands."""
    v = np.diff(sent, axis=0) / dt_s
    a = np.diff(v, axis=0) / dt_s
    j = np.diff(a, axis=0) / dt_s
    return tuple(float(np.abs(x).max(initial=0.0)) for x in (v, a, j))  # type: ignore[return-value]


def assert_limits(sent: np.ndarray, spec, dt_s: float, rel: float = 1e-6) -> None:
    """Consecutive commands keep position, velocity, acceleration and jerk (by finite differences)."""
    assert (sent >= spec.q_min - 1e-8).all()
    assert (sent <= spec.q_max + 1e-8).all()
    v = np.diff(sent, axis=0) / dt_s
    a = np.diff(v, axis=0) / dt_s
    j = np.diff(a, axis=0) / dt_s
    for values, limit in ((v, spec.dq_max), (a, spec.ddq_max), (j, spec.dddq_max)):
        assert (np.abs(values) <= limit * (1 + rel)).all(), np.abs(values / limit).max()
