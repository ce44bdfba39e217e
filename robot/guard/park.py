"""The way to the rest pose: a straight line in joint space, or over a raised pose when that is blocked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..models import load_model
from ..rig import Rig
from ..types import F64
from .collision import CollisionModel
from .commands import Layout, Plan

PARKED_RAD = 0.2  # measured this close to the rest pose counts as parked (servos sag under gravity)
ARRIVED_RAD = 0.02  # commanded
POSES = 24  # checked along each straight piece
SHARE = 0.8  # of the speed the filter allows, so that it can keep up with the plan


class Parking:
    """Plans the way to `rest` (M,) and says when it has been reached; `vias` (M,) are raised poses.

    `v_max` (M,) are the velocity limits; entries from `n_joints` on are grippers, which keep their grip.
    """

    def __init__(
        self, rest: F64, vias: Sequence[F64], v_max: F64, n_joints: int, collision: CollisionModel
    ) -> None:
        self._rest, self._vias = rest, tuple(vias)
        self._v_max = v_max
        self._joints = n_joints
        self._collision = collision

    def plan(self, start: F64, speed: float, now_ns: int) -> Plan:
        """Plan from `start` (M,), at rest, at `speed` (a share of the velocity limits).

        When every way is blocked it is the straight line, on which the look-ahead will slide or stop.
        """
        route = next((r for r in self._routes(start) if self._clear(r)), None)
        if route is None:
            route = next(iter(self._routes(start)))
        times, rows = [now_ns], [start]
        for row in route[1:]:
            longest_s = float((np.abs(row - rows[-1]) / (self._v_max * speed * SHARE)).max())
            times.append(times[-1] + max(1_000_000, round(longest_s * 1e9)))
            rows.append(row)
        return Plan(times, np.vstack(rows), times[-1], "park")

    def _routes(self, start: F64) -> Iterator[list[F64]]:
        """Ways to the rest pose, the best first: straight; over a raised pose; and then those that begin with
        some of the joints only (one, or those nearest to the base)."""
        n = self._joints
        rest, *vias = (np.concatenate([pose[:n], start[n:]]) for pose in (self._rest, *self._vias))
        yield [start, rest]
        for via in vias:
            yield [start, via, rest]
        for via in (*vias, rest):
            for joints in (*([k] for k in range(n)), *(list(range(k)) for k in range(2, n))):
                first = start.copy()
                first[joints] = via[joints]
                yield [start, first, rest] if via is rest else [start, first, via, rest]

    def arrived(self, sent: F64, measured: F64) -> bool:
        """Whether the commanded and the measured pose are at the rest pose."""
        n = self._joints
        off = np.abs(sent - self._rest)[:n].max(initial=0.0)
        away = np.abs(measured - self._rest)[:n].max(initial=0.0)
        return bool(off < ARRIVED_RAD and away < PARKED_RAD)

    def rest_poses(self, layout: Layout) -> list[F64]:
        """The rest pose with every gripper from closed to open."""
        return with_openings(self._rest, layout)

    def _clear(self, route: Sequence[F64]) -> bool:
        for a, b in zip(route[:-1], route[1:], strict=True):
            if not all(self._collision.clear(a + (b - a) * (k / POSES)) for k in range(POSES + 1)):
                return False
        return True


def named_poses(rig: Rig, layout: Layout) -> tuple[F64, F64]:
    """Rest and home pose of all arms, (M,) each, inside the position limits; grippers at their minimum."""
    rest, home = layout.low.copy(), layout.low.copy()
    for name, at in layout.arms.items():
        description = load_model(rig.arms[name].model)
        rest[at], home[at] = description.rest_q_rad, description.home_q_rad
    return np.clip(rest, layout.low, layout.high), np.clip(home, layout.low, layout.high)


def with_openings(pose: F64, layout: Layout, count: int = 5) -> list[F64]:
    """`pose` (M,) with all grippers from closed to open."""
    out = []
    for share in np.linspace(0.0, 1.0, count):
        row = pose.copy()
        for k in layout.grippers.values():
            row[k] = layout.low[k] + share * (layout.high[k] - layout.low[k])
        out.append(row)
    return out
