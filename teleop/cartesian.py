"""`CartesianAgent`: a person with a Cartesian device, as an agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from ..robot.errors import UsageError, nearest
from ..robot.models import load_model
from ..robot.rig import Rig
from ..robot.types import F64, ActionChunk, Observation
from .ik import Ik, make_ik, rotation_of, rotation_vector
from .jog import Jog, JogDevice

LEASH_RAD = 0.35  # how far a command may run ahead of the measured arm, which the guard may be holding back
LATE_NS = 100_000_000  # a cycle that comes later than this is no reason for a longer step
VALID_NS = 100_000_000
HAND_M_S, HAND_RAD_S = 0.6, 3.0  # the fastest a pose device is followed


@dataclass(frozen=True, slots=True)
class _Anchor:
    """What a hand with a pose counts from.

    Where the hand had moved already when it was first heard of (the link was lost meanwhile, or the session paused),
    that counts as nothing: the arm goes on from where it stands.
    """

    clutch: int
    position_m: F64  # (3,) of the site in B, with the hand where the clutch was closed
    rotation: F64  # (3, 3) of the site in B, then


class CartesianAgent:
    """Moves the grasp site of `arm` in `rig` as `device` asks; the other arms stay. Implements `Agent`.

    The command is what is kept, not the measured pose: opening and closing the clutch never moves the arm.
    `period_ns` is that of the loop: a command is due one period after it was thought of, so that the guard
    interpolates between them. Raises `UsageError` for an arm that the rig does not have.
    """

    def __init__(self, device: JogDevice, rig: Rig, arm: str | None = None, *, solver: str = "dls") -> None:
        name = next(iter(rig.arms)) if arm is None else arm
        if name not in rig.arms:
            raise UsageError(f"--arm: rig '{rig.name}' has no arm '{name}'{nearest(name, rig.arms)}")
        self.device = device
        self._arm = name
        self._gripper = rig.gripper_of(name)
        self._model = load_model(rig.arms[name].model)
        self._ik: Ik = make_ik(solver, self._model, rig.joint_spec(name))
        self._spec = rig.joint_spec(name)
        base = np.zeros(9)
        mujoco.mju_quat2Mat(base, np.array(rig.arms[name].base.wxyz, np.float64))
        self._to_base = base.reshape(3, 3).T  # vectors of W in B
        self._period_ns = round(1e9 / rig.control_hz)
        self._widest = 0.0 if self._gripper is None else self._model.gripper_width_max_m
        self._q: F64 | None = None  # commanded
        self._width_m = 0.0  # commanded
        self._anchor: _Anchor | None = None
        self._last_ns = 0
        self.keys: tuple[str, ...] = ()  # episode keys of the last look

    def reset(self, seed: int) -> None:
        """Begin anew from where the arm stands."""
        self._q, self._anchor = None, None

    def begin(self, q: Mapping[str, F64], width_m: Mapping[str, float]) -> None:
        """Go on from these commands, (n,) rad by arm and m by gripper: somebody else gave the last ones."""
        self._q = np.array(q[self._arm], np.float64)
        if self._gripper is not None and self._gripper in width_m:
            self._width_m = float(width_m[self._gripper])
        self._anchor = None

    def act(self, obs: Observation) -> ActionChunk:
        measured = obs.arms[self._arm].q
        if self._q is None:
            widths = {name: state.width_m for name, state in obs.grippers.items()}
            self.begin({self._arm: measured}, widths)
            self._last_ns = obs.t_ns - self._period_ns
        assert self._q is not None
        dt_s = min(obs.t_ns - self._last_ns, LATE_NS) * 1e-9
        self._last_ns = obs.t_ns
        jog = self.device.read(obs.t_ns)
        self.keys = jog.keys
        if not jog.engaged:
            self._anchor = None
        elif dt_s > 0.0:
            linear, angular = self._velocity(jog, dt_s)
            moved = self._ik.step(self._q, linear, angular, dt_s)
            leashed = np.clip(moved, measured - LEASH_RAD, measured + LEASH_RAD)
            # The leash holds back, it never pulls: an arm that sags is no reason to move.
            self._q = np.where(np.abs(leashed - self._q) <= np.abs(moved - self._q), leashed, self._q)
            self._q = np.clip(self._q, self._spec.q_min, self._spec.q_max)
            self._grip(jog, dt_s)
        due = obs.t_ns + self._period_ns
        widths = {} if self._gripper is None else {self._gripper: np.array([self._width_m])}
        return ActionChunk(
            due, self._period_ns, {self._arm: self._q[None].copy()}, widths, due + VALID_NS, "person"
        )

    def _velocity(self, jog: Jog, dt_s: float) -> tuple[F64, F64]:
        """Wanted velocity of the site in B."""
        assert self._q is not None
        if jog.moved_m is None and jog.turned_rad is None:
            self._anchor = None
            return self._to_base @ jog.linear_m_s, self._to_base @ jog.angular_rad_s
        position, rotation = self._ik.pose(self._q)
        moved = np.zeros(3) if jog.moved_m is None else self._to_base @ jog.moved_m
        turned = np.eye(3) if jog.turned_rad is None else rotation_of(self._to_base @ jog.turned_rad)
        if self._anchor is None or self._anchor.clutch != jog.clutch:
            self._anchor = _Anchor(jog.clutch, position - moved, turned.T @ rotation)
        linear, angular = np.zeros(3), np.zeros(3)
        if jog.moved_m is not None:
            linear = (self._anchor.position_m + moved - position) / dt_s
        if jog.turned_rad is not None:
            wanted = turned @ self._anchor.rotation
            angular = rotation_vector(wanted @ rotation.T) / dt_s
        return _at_most(linear, HAND_M_S), _at_most(angular, HAND_RAD_S)

    def _grip(self, jog: Jog, dt_s: float) -> None:
        wanted = self._width_m + jog.grip_m_s * dt_s
        if jog.width_share is not None:
            wanted = jog.width_share * self._widest
        self._width_m = min(max(wanted, 0.0), self._widest)


def _at_most(vector: F64, length: float) -> F64:
    norm = float(np.linalg.norm(vector))
    return vector if norm <= length else vector * (length / norm)
