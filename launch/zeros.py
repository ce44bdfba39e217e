"""The zeros of a recorded arm, from the poses at which it stood.

LeRobot's calibration takes the middle of each joint from how a person held the arm: the zeros are off by some
degrees, and no file tells by how much. But where the real arm stood there was neither table nor arm. Poses that
lie inside either, by the description's own collision shapes, are errors of the map; the least turn of the zeros
that frees them is the estimate. It says nothing about joints whose turn frees no pose: those stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.optimize import minimize

from ..robot.types import F64, frozen
from ..sim.scene import Scene
from ..sim.twin import Twin
from .recording import Recording, Source

POSES = 150  # looked at, evenly over the recording
TOUCH_M = 2e-3  # shapes may overlap by this much: pads give, a description is no mould
INSIDE_M = 3e-3  # a pose with more overlap counts as impossible
STAY_MM_PER_DEG2 = 2e-4  # what a turned zero costs, against mm of mean overlap
STEP_DEG = 8.0  # size of the first simplex
EVALUATIONS = 250


@dataclass(frozen=True, slots=True)
class Zeros:
    """Turns of the zeros and what they change."""

    offset_rad: F64  # (n,) to be added to every joint angle of the recording
    poses: int  # looked at
    inside_before: int  # of them, those more than `INSIDE_M` deep in the table or in the arm itself
    inside_after: int
    worst_before_m: float  # deepest overlap
    worst_after_m: float


def overlaps(source: Source, recordings: Sequence[Recording], scene: Scene) -> Zeros:
    """How many measured poses are impossible as they are: `Zeros` that move nothing."""
    return _judge(_Poses(source, recordings, scene), np.zeros(len(source.model.joints)))


def fit_zeros(source: Source, recordings: Sequence[Recording], scene: Scene) -> Zeros:
    """The least turn of the zeros, in rad, that takes the measured poses of `recordings` out of the table
    and of the arm itself. The first joint turns the whole arm and stays as it is."""
    poses = _Poses(source, recordings, scene)
    n = len(source.model.joints)

    def cost(degrees: F64) -> float:
        depth = poses.depth_m(np.radians(np.append(0.0, degrees)))
        return 1e3 * float(np.mean(np.maximum(depth - TOUCH_M, 0.0))) + STAY_MM_PER_DEG2 * float(
            degrees @ degrees
        )

    simplex = np.vstack([np.zeros(n - 1), -STEP_DEG * np.eye(n - 1)])
    found = minimize(
        cost,
        np.zeros(n - 1),
        method="Nelder-Mead",
        options={"maxfev": EVALUATIONS, "initial_simplex": simplex, "xatol": 0.05, "fatol": 1e-4},
    )
    best = found.x if found.fun < cost(np.zeros(n - 1)) else np.zeros(n - 1)
    return _judge(poses, np.radians(np.append(0.0, best)))


def _judge(poses: _Poses, offset_rad: F64) -> Zeros:
    before, after = poses.depth_m(np.zeros(offset_rad.size)), poses.depth_m(offset_rad)
    return Zeros(
        frozen(offset_rad),
        len(before),
        int((before > INSIDE_M).sum()),
        int((after > INSIDE_M).sum()),
        float(before.max()),
        float(after.max()),
    )


class _Poses:
    """Measured poses of a recording, and how deep they lie in the table or in themselves."""

    def __init__(self, source: Source, recordings: Sequence[Recording], scene: Scene) -> None:
        self._twin = Twin(scene)
        self._arm, self._gripper = source.arm, source.rig.gripper_of(source.arm)
        q = np.concatenate([r.real_q for r in recordings])
        every = slice(None, None, max(1, len(q) // POSES))
        self._q = q[every]
        widths = [r.real_width_m for r in recordings]
        known = [w for w in widths if w is not None]
        self._width = np.concatenate(known)[every] if len(known) == len(widths) else None

    def depth_m(self, offset_rad: F64) -> F64:
        """(N,) deepest overlap of every pose when its joints are turned by `offset_rad` (n,), m."""
        twin = self._twin
        model, data = twin.model, twin.data
        out = np.zeros(len(self._q))
        for k, q in enumerate(self._q):
            twin.set_arm(self._arm, q + offset_rad, None if self._width is None else float(self._width[k]))
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_collision(model, data)
            if data.ncon:
                out[k] = max(0.0, -float(data.contact.dist.min()))
        return out
