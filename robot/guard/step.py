"""A proposed step of the filter, and the way to rest from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..types import F64


@dataclass(slots=True)
class Step:
    """A proposed next state of all joints, flat (N * n,); nothing has happened until it is committed."""

    p: F64  # rad (m for grippers)
    v: F64
    a: F64
    travel: F64  # upper bound of the way each joint still goes when it stops from here
    fallback: bool = False  # the generator failed on a joint, which takes its stop trajectory


@dataclass(frozen=True, slots=True)
class StopPath:
    """Positions on the way to rest; valid until the next path is asked for."""

    recoil: F64  # (N * n,) at most this much way more than between two poses: joints that first move back
    duration_s: float
    position: Callable[[float], F64]  # of the time, s

    def at(self, share: float) -> F64:
        """Position (N * n,) after about this share of the way, 0..1 (braking at a constant rate)."""
        return self.position(self.duration_s * (1.0 - math.sqrt(1.0 - share)))
