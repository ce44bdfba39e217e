"""What tasks and experts need to know of an arm's build, from its description alone."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import mujoco
import numpy as np

from ...robot.kinematics import Kinematics
from ...robot.models import ArmModel, load_model
from ...robot.rig import Rig

MEASURE = "so101"  # distances in tasks are written for this arm; others scale them by their reach
HIGH_M = 0.13  # height above the base's plane at which reach counts: tasks lift things to there
LEAN_RAD = 0.5  # of the approach axis there, outward from straight down
STEP_M = 0.005


@dataclass(frozen=True, slots=True)
class Build:
    """One arm's build. Lengths m, in the base frame."""

    pan_xy_m: tuple[float, float]  # where the first joint's axis stands, to 0.1 mm
    reach_m: float  # how far from that axis the grasp point comes, leaning by `LEAN_RAD`, `HIGH_M` high
    side: float  # +1: at home it closes to the left, seen from the arm; -1: to the right
    fixed_pad_m: float | None  # from the grasp point to the pad that stands still; None where both pads move

    @classmethod
    def of(cls, rig: Rig, arm: str | None = None) -> Build:
        """The build of `arm` (None = the rig's first)."""
        return build(rig.arms[arm or next(iter(rig.arms))].model)

    @property
    def scale(self) -> float:
        """Reach over that of the arm for which the tasks' distances are written."""
        return self.reach_m / build(MEASURE).reach_m

    def aside(self, half_m: float, clearance_m: float = 0.0) -> float:
        """How far along the closing direction from the middle of an object, `half_m` wide to each side, the grasp
        point stands when the fixed pad is `clearance_m` off that object; 0 where both pads move."""
        return 0.0 if self.fixed_pad_m is None else clearance_m + half_m - self.fixed_pad_m


@functools.cache
def build(model: str) -> Build:
    """The build of the arm description called `model`."""
    description = load_model(model)
    mj = mujoco.MjModel.from_xml_path(str(description.mjcf))
    data = mujoco.MjData(mj)
    mujoco.mj_forward(mj, data)
    anchor = data.joint(description.joints[0]).xanchor - data.site(description.base_site).xpos
    side = _side(description, mj, data)
    pan = (round(float(anchor[0]), 4), round(float(anchor[1]), 4))
    return Build(pan, _reach(description, pan, side), side, description.fixed_pad_m)


def _reach(description: ArmModel, pan: tuple[float, float], side: float) -> float:
    """Outward from above the home pose, in steps, as far as inverse kinematics follows."""
    kinematics = Kinematics(description)
    q = np.array(description.home_q_rad)
    lean = [np.sin(LEAN_RAD), 0.0, -np.cos(LEAN_RAD)]
    reach = float(kinematics.fk(q, description.grasp_site)[0][0]) - pan[0]
    while True:
        goal = [pan[0] + reach + STEP_M, pan[1], HIGH_M]
        found = kinematics.solve(q, goal, x_axis=lean, y_axis=[0.0, side, 0.0], restarts=0)
        if found.position_error_m > 1e-3 or found.axis_error_rad > 0.1:
            return reach
        q, reach = found.q, reach + STEP_M


def _side(description: ArmModel, mj: mujoco.MjModel, data: mujoco.MjData) -> float:
    for joint, q in zip(description.joints, description.home_q_rad, strict=True):
        data.qpos[mj.joint(joint).qposadr[0]] = q
    mujoco.mj_kinematics(mj, data)
    closing = data.site(description.grasp_site).xmat.reshape(3, 3)[:, 1]
    return 1.0 if closing[1] >= 0.0 else -1.0
