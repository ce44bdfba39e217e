"""What tasks and experts need to know of an arm's build, from its description alone."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import mujoco
import numpy as np

from ...robot.models import ArmModel, load_model
from ...robot.rig import Rig
from ...robot.types import F64

MEASURE = "so101"  # distances in tasks are written for this arm; others scale them by their length


@dataclass(frozen=True, slots=True)
class Build:
    """One arm's build. Lengths m, in the base frame."""

    pan_xy_m: tuple[float, float]  # where the first joint's axis stands, to 0.1 mm
    length_m: float  # from the second joint along all others to the grasp point
    side: float  # +1: at home it closes to the left, seen from the arm; -1: to the right
    fixed_pad_m: float | None  # from the grasp point to the pad that stands still; None where both pads move

    @classmethod
    def of(cls, rig: Rig, arm: str | None = None) -> Build:
        """The build of `arm` (None = the rig's first)."""
        return build(rig.arms[arm or next(iter(rig.arms))].model)

    @property
    def scale(self) -> float:
        """Length over that of the arm for which the tasks' distances are written."""
        return self.length_m / build(MEASURE).length_m

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
    base = data.site(description.base_site).xpos
    anchors: list[F64] = [data.joint(joint).xanchor - base for joint in description.joints]
    path = [*anchors[1:], data.site(description.grasp_site).xpos - base]
    length = sum(float(np.linalg.norm(b - a)) for a, b in zip(path, path[1:], strict=False))
    return Build(
        pan_xy_m=(round(float(anchors[0][0]), 4), round(float(anchors[0][1]), 4)),
        length_m=length,
        side=_side(description, mj, data),
        fixed_pad_m=description.fixed_pad_m,
    )


def _side(description: ArmModel, mj: mujoco.MjModel, data: mujoco.MjData) -> float:
    for joint, q in zip(description.joints, description.home_q_rad, strict=True):
        data.qpos[mj.joint(joint).qposadr[0]] = q
    mujoco.mj_kinematics(mj, data)
    closing = data.site(description.grasp_site).xmat.reshape(3, 3)[:, 1]
    return 1.0 if closing[1] >= 0.0 else -1.0
