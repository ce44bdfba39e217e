"""The way to the rest pose: a straight line in joint space, or over a raised pose when that is blocked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import F64
from .collision import CollisionModel
from .commands import Plan

PARKED_RAD = 0.2  # measured this close to the rest pose counts as parked (servos sag under gravity)
ARRIVED_RAD = 0.02  # commanded
POSES = 24  # checked along each straight piece


def park_plan(
    start: F64, rest: F64, vias: Sequence[F64], *, pace: F64, collision: CollisionModel, now_ns: int
) -> Plan:
    """Plan from `start` to `rest` (M,) at `pace` (M,) per s; `vias` are raised poses to try on the way.

    When every way is blocked it is the straight line, on which the look-ahead will slide or stop.
    """
    route = [start, rest]
    if not _clear(route, collision):
        for via in vias:
            longer = [start, via, rest]
            if _clear(longer, collision):
                route = longer
                break
    times = [now_ns]
    rows = [start]
    for row in route[1:]:
        longest_s = float((np.abs(row - rows[-1]) / pace).max())
        times.append(times[-1] + max(1_000_000, round(longest_s * 1e9)))
        rows.append(row)
    return Plan(times, np.vstack(rows), times[-1], "park")


def _clear(route: Sequence[F64], collision: CollisionModel) -> bool:
    for a, b in zip(route[:-1], route[1:], strict=True):
        for k in range(POSES + 1):
            if not collision.clear(a + (b - a) * (k / POSES)):
                return False
    return True
