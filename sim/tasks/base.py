"""Where an arm stands: between the world and the cylinder around its pan axis in which tasks place things."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from ...robot.rig import Rig
from ...robot.types import F64
from .build import build


@dataclass(frozen=True, slots=True)
class ArmBase:
    """`X_WB` of one arm. Angles are about the base's z axis, 0 = straight ahead of the arm."""

    p_W: F64  # (3,) m
    R_WB: F64  # (3, 3)
    pan_xy_m: tuple[float, float]  # where the pan axis stands, in B

    @classmethod
    def of(cls, rig: Rig, arm: str | None = None) -> ArmBase:
        """The base of `arm` (None = the rig's first)."""
        config = rig.arms[arm or next(iter(rig.arms))]
        pose = config.base
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, np.array(pose.wxyz))
        return cls(np.array(pose.xyz_m), rotation.reshape(3, 3), build(config.model).pan_xy_m)

    @property
    def heading_rad(self) -> float:
        """Direction of straight ahead in W, about vertical."""
        return float(np.arctan2(self.R_WB[1, 0], self.R_WB[0, 0]))

    def to_base(self, p_W: F64) -> F64:
        """A point of W in B, (3,) m."""
        return self.R_WB.T @ (p_W - self.p_W)

    def turned(self, v_W: F64) -> F64:
        """A direction of W in B, (3,)."""
        return self.R_WB.T @ v_W

    def polar(self, radius_m: float, angle_rad: float, z_m: float) -> F64:
        """Point in W at a distance and direction from the pan axis; `z_m` is its height in W, (3,) m."""
        x, y = self.pan_xy_m
        ahead = np.array([x + radius_m * np.cos(angle_rad), y + radius_m * np.sin(angle_rad), 0.0])
        at = self.p_W + self.R_WB @ ahead
        return np.array([at[0], at[1], z_m])

    def bearing(self, p_W: F64) -> tuple[float, float]:
        """Distance from the pan axis (m) and direction in W about vertical (rad) of a point of W."""
        p = self.to_base(p_W)
        x, y = p[0] - self.pan_xy_m[0], p[1] - self.pan_xy_m[1]
        return float(np.hypot(x, y)), self.heading_rad + float(np.arctan2(y, x))
