"""How a camera's lens maps directions onto pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Pinhole with distortion, for pictures of `width` by `height` px; the principal point counts from the middle of
    the first pixel."""

    width: int
    height: int
    fx: float  # px
    fy: float  # px
    cx: float  # px
    cy: float  # px
    model: str = "none"  # as the device names its distortion
    coefficients: tuple[float, ...] = ()
