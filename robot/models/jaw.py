"""Width between the pads of a one-jaw gripper <-> angle of the jaw's joint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..types import F64


class GripperMap(Protocol):
    """What a gripper's geometry tells: metres between the pads <-> the joint coordinate of its motor."""

    @property
    def width_max_m(self) -> float: ...

    @property
    def lever_m(self) -> float: ...

    def width_to_angle(self, width_m: ArrayLike) -> F64: ...

    def angle_to_width(self, angle_rad: ArrayLike) -> F64: ...


@dataclass(frozen=True, slots=True)
class Jaw:
    """A flat pad on a hinged jaw facing a flat pad that is fixed.

    Width is the smallest distance of the moving pad's face from the plane of the fixed pad: that of its tip
    while the pads close towards the tip, that of its heel while they open towards it. It is the thickness of
    the thickest plate that fits between them.

    Angles rad, lengths m. With d the angle from where the pads are parallel, and L the distance of tip or
    heel along the pad's plane:  width = hinge_height + L sin d - face_offset cos d.
    """

    hinge_height_m: float  # hinge axis above the plane of the fixed pad
    face_offset_m: float  # moving pad's face below the hinge axis, seen when the pads are parallel
    heel_m: float  # from the hinge axis along the pad to its near edge
    tip_m: float  # ... and to its far edge
    parallel_rad: float  # joint angle at which the pads are parallel
    angle_min_rad: float  # joint range; angles beyond it count as its ends
    angle_max_rad: float

    @property
    def width_max_m(self) -> float:
        """Width at the end of the joint's range, m."""
        return float(self.angle_to_width(self.angle_max_rad))

    @property
    def lever_m(self) -> float:
        """Distance of the middle of the moving pad from the hinge, m: force = torque / lever."""
        return float(np.hypot(0.5 * (self.heel_m + self.tip_m), self.face_offset_m))

    def angle_to_width(self, angle_rad: ArrayLike) -> F64:
        """Width between the pads, m; any shape. Negative where the joint presses the pads together."""
        angle = np.clip(np.asarray(angle_rad, dtype=np.float64), self.angle_min_rad, self.angle_max_rad)
        d = angle - self.parallel_rad
        length = np.where(d < 0.0, self.tip_m, self.heel_m)
        return np.asarray(self.hinge_height_m + length * np.sin(d) - self.face_offset_m * np.cos(d))

    def width_to_angle(self, width_m: ArrayLike) -> F64:
        """Joint angle, rad; any shape: the inverse of `angle_to_width`. Clipped to the joint's range."""
        rise = np.asarray(width_m, dtype=np.float64) - self.hinge_height_m
        length = np.where(rise < -self.face_offset_m, self.tip_m, self.heel_m)
        reach = np.hypot(length, self.face_offset_m)
        lag = np.arctan2(self.face_offset_m, length)
        angle = self.parallel_rad + lag + np.arcsin(np.clip(rise / reach, -1.0, 1.0))
        return np.asarray(np.clip(angle, self.angle_min_rad, self.angle_max_rad))
