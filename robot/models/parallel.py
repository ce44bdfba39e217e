"""Width between the pads of a parallel gripper <-> travel of its fingers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..types import F64


@dataclass(frozen=True, slots=True)
class ParallelJaw:
    """Two fingers that one motor moves apart by the same way; a `GripperMap`.

    The joint is the slide of one finger, in metres from where the pads meet, so width = 2 travel. In the MJCF
    the other finger follows it by a joint equality.
    """

    travel_max_m: float  # of one finger

    @property
    def width_max_m(self) -> float:
        """Width with both fingers at their ends, m."""
        return 2.0 * self.travel_max_m

    @property
    def lever_m(self) -> float:
        """Force of the motor over force between the pads, 1 (not m): it moves both fingers, so 2."""
        return 2.0

    def width_to_angle(self, width_m: ArrayLike) -> F64:
        """Travel of a finger, m; any shape. Clipped to the joint's range."""
        return np.asarray(np.clip(0.5 * np.asarray(width_m, dtype=np.float64), 0.0, self.travel_max_m))

    def angle_to_width(self, angle_rad: ArrayLike) -> F64:
        """Width between the pads, m, for the travel of a finger, m; any shape."""
        travel = np.clip(np.asarray(angle_rad, dtype=np.float64), 0.0, self.travel_max_m)
        return np.asarray(2.0 * travel)
