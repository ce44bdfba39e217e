"""`JointAgent`: a person with a leader arm, as an agent: the follower's joints stand as the leader's do."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from ..robot.errors import UsageError, nearest
from ..robot.models import load_model
from ..robot.rig import Rig
from ..robot.types import F64, ActionChunk, Applied, Observation
from .cartesian import LEASH_RAD, VALID_NS
from .jog import JogDevice

SPEED_NS = 25_000_000  # over which a leader's speed is taken: one count of its servos is much in less
CLOSES = 0.3  # rad of what lies between leader and follower that goes with a rad of the leader's motion


class LedArm:
    """What the arm that a leader stands for is told, as the leader needs it."""

    def __init__(self, rig: Rig, arm: str | None = None) -> None:
        self._arm = next(iter(rig.arms)) if arm is None else arm
        self._gripper = rig.gripper_of(self._arm)
        self._widest_m = load_model(rig.arms[self._arm].model).gripper_width_max_m

    def told(self, obs: Observation, applied: Applied) -> tuple[F64, float | None]:
        """Angles (n,) rad and how far it is to open, 0..1; measured, before there was a command."""
        q = applied.sent_q.get(self._arm, obs.arms[self._arm].q)
        if self._gripper is None or self._gripper not in applied.sent_width_m:
            return np.asarray(q, np.float64), None
        return np.asarray(q, np.float64), float(applied.sent_width_m[self._gripper]) / self._widest_m


class JointAgent:
    """Moves `arm` of `rig` as `device`, which tells `q_rad`, stands. Implements `Agent` and `Continuing`.

    What lies between the two when the person takes the leader stays between them, and goes as the leader moves: taking
    hold of it never moves the follower. Raises `UsageError` for an arm that the rig does not have.
    """

    def __init__(self, device: JogDevice, rig: Rig, arm: str | None = None) -> None:
        name = next(iter(rig.arms)) if arm is None else arm
        if name not in rig.arms:
            raise UsageError(f"--arm: rig '{rig.name}' has no arm '{name}'{nearest(name, rig.arms)}")
        self.device = device
        self._arm = name
        self._gripper = rig.gripper_of(name)
        self._spec = rig.joint_spec(name)
        self._widest_m = load_model(rig.arms[name].model).gripper_width_max_m
        self._period_ns = round(1e9 / rig.control_hz)
        self._told: F64 | None = None  # (n + 1,) rad and m, commanded
        self._between: F64 | None = None  # follower less leader, (n + 1,)
        self._led: F64 = np.zeros(self._spec.n + 1)  # where the leader stood
        self._trail: deque[tuple[int, F64]] = deque()  # when the leader stood where, the newest last
        self.keys: tuple[str, ...] = ()  # episode keys of the last look

    def reset(self, seed: int) -> None:
        """Begin anew from where the arm stands."""
        self._told, self._between = None, None
        self._trail.clear()

    def begin(self, q: Mapping[str, F64], width_m: Mapping[str, float]) -> None:
        """Go on from these commands, (n,) rad by arm and m by gripper: somebody else gave the last ones."""
        width = 0.0 if self._gripper is None else width_m.get(self._gripper, 0.0)
        self._told = np.append(np.asarray(q[self._arm], np.float64), width)
        self._between = None
        self._trail.clear()

    def act(self, obs: Observation) -> ActionChunk:
        measured = obs.arms[self._arm].q
        if self._told is None:
            self.begin({self._arm: measured}, {name: s.width_m for name, s in obs.grippers.items()})
        assert self._told is not None
        jog = self.device.read(obs.t_ns)
        self.keys = jog.keys
        speed = np.zeros(self._spec.n + 1)
        if not jog.engaged or jog.q_rad is None:
            self._between = None
            self._trail.clear()
        else:
            width = self._told[-1] if jog.width_share is None else jog.width_share * self._widest_m
            leader, speed = self._now(np.append(jog.q_rad, width), obs.t_ns, jog.age_ns)
            self._follow(leader, measured)
        rows = np.stack([self._told, self._ahead(speed * (self._period_ns * 1e-9), measured)])
        q = {self._arm: rows[:, :-1]}
        widths = {} if self._gripper is None else {self._gripper: rows[:, -1]}
        return ActionChunk(
            obs.t_ns, self._period_ns, q, widths, obs.t_ns + self._period_ns + VALID_NS, "person"
        )

    def _now(self, seen: F64, now_ns: int, age_ns: int) -> tuple[F64, F64]:
        """Where the leader, that was `seen` (n + 1,) some time ago, is now, and its speed, (n + 1,) per s. A reading
        may be a guard's period old, and the next one not: taken as of now, that would look like a motion."""
        trail, at_ns = self._trail, now_ns - min(age_ns, 2 * self._period_ns)
        if not trail or at_ns > trail[-1][0]:
            trail.append((at_ns, seen))
        while len(trail) > 2 and at_ns - trail[1][0] >= SPEED_NS:
            trail.popleft()
        (begin_ns, first), (end_ns, last) = trail[0], trail[-1]
        # One count between two readings that are close would be a great speed.
        if end_ns - begin_ns < SPEED_NS // 2:
            return last, np.zeros(last.size)
        speed = (last - first) / ((end_ns - begin_ns) * 1e-9)
        return last + speed * ((now_ns - end_ns) * 1e-9), speed

    def _ahead(self, moved: F64, measured: F64) -> F64:
        """Where the leader is in a period, should it go on as it did, (n + 1,): the follower need not wait until it is
        there to go along."""
        assert self._told is not None
        ahead, told = self._told + moved, self._told[:-1]
        low = np.minimum(told, np.maximum(measured - LEASH_RAD, self._spec.q_min))
        high = np.maximum(told, np.minimum(measured + LEASH_RAD, self._spec.q_max))
        ahead[:-1] = np.clip(ahead[:-1], low, high)
        ahead[-1] = min(max(float(ahead[-1]), 0.0), self._widest_m)
        return ahead

    def _follow(self, leader: F64, measured: F64) -> None:
        assert self._told is not None
        if self._between is None:
            self._between, self._led = self._told - leader, leader
        gone = CLOSES * np.abs(leader - self._led)
        self._between -= np.clip(self._between, -gone, gone)
        self._led = leader
        wanted = leader + self._between
        # The leash holds back, it never pulls: a follower that the guard holds back is not run away from.
        leashed = np.clip(wanted[:-1], measured - LEASH_RAD, measured + LEASH_RAD)
        nearer = np.abs(leashed - self._told[:-1]) <= np.abs(wanted[:-1] - self._told[:-1])
        self._told[:-1] = np.clip(
            np.where(nearer, leashed, self._told[:-1]), self._spec.q_min, self._spec.q_max
        )
        self._told[-1] = min(max(float(wanted[-1]), 0.0), self._widest_m)
