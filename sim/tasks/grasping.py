"""Picking a cube up from the table: the part that lift, pick_place and stack share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...robot.types import F64
from ..twin import Twin
from .base import ArmBase
from .build import Build
from .expert import Goal
from .shapes import yaw_of

HOVER_M = 0.07  # height of the grasp point above the cube before it goes down
OPEN_EXTRA_M = 0.03  # opening beyond the cube's width before grasping
SQUEEZE_M = 0.012  # how far below the cube's width the jaw is asked to close
CLEARANCE_M = 0.010  # kept between the fixed finger and the cube on the way down
NEAR_M = 0.075  # a body nearer than this to the cube is in the fingers' way


@dataclass(slots=True)
class Grasp:
    """Picks up the cube `cube`; `step` returns the goal until it is held, then None."""

    cube: str
    half_m: float
    phase: str = "above"
    since_s: float = 0.0
    yaw_rad: float = 0.0
    retries: int = 0
    avoid: tuple[str, ...] = ()  # bodies that the fingers must not touch on the way down
    _chosen: bool = field(default=False)

    def reset(self) -> None:
        self.phase, self.since_s, self.retries, self._chosen = "above", 0.0, 0, False

    def held(self, twin: Twin, tcp_W: F64) -> bool:
        """Whether the cube is between the pads, judged from the true state."""
        cube, _ = twin.pose(self.cube)
        return bool(np.linalg.norm(cube - tcp_W) < self.half_m + 0.018)

    def step(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal | None:
        """The next goal, or None when the cube is held and the jaw has closed on it."""
        cube, quat = twin.pose(self.cube)
        width = 2 * self.half_m + OPEN_EXTRA_M
        if not self._chosen:
            self.yaw_rad = grasp_yaw(twin, cube, quat, self.avoid)
            self._chosen = True
        if self.phase == "above":
            self.yaw_rad = nearest_face(yaw_of(quat), self.yaw_rad)
        build = Build.of(twin.scene.rig)
        aside = along(self.yaw_rad, build.aside(self.half_m, CLEARANCE_M))
        above = cube + aside + np.array([0.0, 0.0, HOVER_M])
        low = cube + aside
        if self.phase == "above":
            off = np.linalg.norm((tcp_W - above)[:2])
            if off < 0.012 and tcp_W[2] > cube[2] + 0.04:
                self._enter("down", t_s)
            return Goal(above, self.yaw_rad, width)
        if self.phase == "down":
            if np.linalg.norm((tcp_W - low)[:2]) > 0.03 or t_s - self.since_s > 2.5:
                self._again(t_s)
            elif tcp_W[2] < cube[2] + 0.006:
                self._enter("close", t_s)
            return Goal(low, self.yaw_rad, width, speed_m_s=0.14)
        centred = cube + along(self.yaw_rad, build.aside(self.half_m))
        if self.phase == "close":
            if not self.held(twin, tcp_W):
                self._again(t_s)
            elif t_s - self.since_s > 0.45:
                self._enter("held", t_s)
            return Goal(centred, self.yaw_rad, 2 * self.half_m - SQUEEZE_M, speed_m_s=0.05)
        if not self.held(twin, tcp_W):
            self._again(t_s)
            return Goal(above, self.yaw_rad, width)
        return None

    def stand_off(self, yaw_rad: float) -> F64:
        """From where the fixed pad touches the cube to where it clears it, for this closing direction, m."""
        return along(yaw_rad, CLEARANCE_M)

    def _enter(self, phase: str, t_s: float) -> None:
        self.phase, self.since_s = phase, t_s

    def _again(self, t_s: float) -> None:
        self.retries += 1
        self._chosen = False
        self._enter("above", t_s)


def grasp_yaw(twin: Twin, cube_W: F64, quat_wxyz: F64, avoid: tuple[str, ...] = ()) -> float:
    """Closing direction for a cube: the face normal nearest to the arm's own sideways direction.

    With a body of `avoid` close by, the one of the cube's two closing directions that points least at it.
    """
    side = sideways(twin, cube_W)
    yaw = nearest_face(yaw_of(quat_wxyz), side)
    for body in avoid:
        way = (twin.pose(body)[0] - cube_W)[:2]
        if np.linalg.norm(way) < NEAR_M:
            # Of the two next quarters, the one that turns the wrist less.
            turns = (yaw, yaw + np.pi / 2 if yaw < side else yaw - np.pi / 2)
            yaw = min(turns, key=lambda y: abs(float(along(y, 1.0)[:2] @ way)))
    return yaw


def along(yaw_rad: float, distance_m: float) -> F64:
    """A way of `distance_m` along a closing direction (moving pad to fixed pad), (3,) m."""
    return distance_m * np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0])


def sideways(twin: Twin, p_W: F64) -> float:
    """Closing direction at `p_W` (3,) that needs no turn of the wrist, rad about vertical in W."""
    # Seen from the base itself, not from its pan axis: that is what demonstrations so far have used.
    base = ArmBase.of(twin.scene.rig)
    p = base.to_base(p_W)
    return base.heading_rad + float(np.arctan2(p[1], p[0])) + Build.of(twin.scene.rig).side * np.pi / 2


def nearest_face(yaw_rad: float | F64, wanted_rad: float) -> float:
    """The angle yaw + k pi/2 nearest to `wanted_rad`."""
    quarter = np.pi / 2
    return float(yaw_rad + quarter * np.round((wanted_rad - yaw_rad) / quarter))
