"""Width between the pads of a gripper whose fingers a crank drives along a rail <-> angle of the crank's motor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..types import F64

TYPICAL_M = 0.025  # width at which the lever is told


@dataclass(frozen=True, slots=True)
class Crank:
    """Two opposed fingers, a rod each from a disc on the motor; a `GripperMap`.

    With the disc's radius r, the rods' length l and the motor's angle a (0 = the rods' ends square to the rail,
    + opens), a finger's carriage is  s = r sin a + sqrt(l^2 - r^2 cos^2 a)  from the middle, and by the law of
    cosines  sin a = (r^2 + s^2 - l^2) / (2 r s): what Interbotix/interbotix_ros_core computes in
    interbotix_ros_xseries/interbotix_xs_sdk/src/xs_sdk_obj.cpp. Width = 2 (s - s_closed). Angles rad, lengths m.
    """

    radius_m: float  # r
    rod_m: float  # l
    closed_m: float  # s where the pads meet
    angle_min_rad: float  # range of the motor; angles beyond it count as its ends
    angle_max_rad: float

    @property
    def width_max_m(self) -> float:
        """Width at the end of the motor's range, m."""
        return float(self.angle_to_width(self.angle_max_rad))

    @property
    def lever_m(self) -> float:
        """Torque of the motor over force between the pads, m, when they hold 25 mm: d(width) / d(angle)."""
        a = float(self.width_to_angle(TYPICAL_M))
        r, c = self.radius_m, self.radius_m * np.cos(a)
        return float(2.0 * (c + r * np.sin(a) * c / np.sqrt(self.rod_m**2 - c**2)))

    def angle_to_width(self, angle_rad: ArrayLike) -> F64:
        """Width between the pads, m; any shape."""
        a = np.clip(np.asarray(angle_rad, dtype=np.float64), self.angle_min_rad, self.angle_max_rad)
        r = self.radius_m
        s = r * np.sin(a) + np.sqrt(self.rod_m**2 - (r * np.cos(a)) ** 2)
        return np.asarray(2.0 * (s - self.closed_m))

    def width_to_angle(self, width_m: ArrayLike) -> F64:
        """Angle of the motor, rad; any shape: the inverse of `angle_to_width`. Clipped to the motor's range."""
        r = self.radius_m
        s = np.maximum(self.closed_m + 0.5 * np.asarray(width_m, dtype=np.float64), 0.1 * r)
        a = np.arcsin(np.clip((r**2 + s**2 - self.rod_m**2) / (2.0 * r * s), -1.0, 1.0))
        return np.asarray(np.clip(a, self.angle_min_rad, self.angle_max_rad))
