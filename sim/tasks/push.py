"""`push`: push the block onto the disc, without grasping it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from ...robot.interfaces import Agent
from ...robot.types import F64
from ..randomize import Param
from ..scene import Scene
from ..twin import Twin
from .base import ArmBase
from .expert import Expert, Goal
from .grasping import PAD_OFFSET_M, sideways
from .placement import cube_params, home, uniform
from .shapes import add_cube, add_mark, place_body
from .task import Bools, View

ON_MARK_M = 0.02
OFF_M = 0.045  # between grasp point and block: the finger tips no longer touch
STAND_OFF_M = 0.045  # behind the block before pushing
PUSH_HEIGHT_M = 0.022  # of the grasp point; the finger tips reach below it
OVER_M = 0.075  # of the grasp point on the way round the block
WIDTH_M = 0.014  # of the jaw while it pushes
LIFT_RATE = 4.0  # 1/s, how fast sinking is taken out
STUCK_S = 1.2


class Push:
    """Block to disc. Success: the block rests within 2 cm of the disc's centre and the gripper is off it."""

    name = "push"
    text = "Push the red block onto the yellow disc."
    horizon_s = 12.0
    bodies = ("cube", "target")

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        add_cube(spec, "cube", 0.0125, (0.85, 0.15, 0.12, 1.0), mass_kg=0.02)
        add_mark(spec, "target", 0.035, (0.9, 0.8, 0.2, 1.0), flat=True)

    def params(self, scene: Scene) -> Sequence[Param]:
        return (
            *cube_params("cube"),
            uniform("task.cube_radius", 0.18, 0.235, "m", "distance of the block from the base axis"),
            uniform("task.cube_angle", -0.5, 0.5, "rad", "direction of the block from the base axis"),
            uniform("task.cube_yaw", -0.785, 0.785, "rad", "turn of the block about vertical"),
            uniform("task.away", 0.07, 0.11, "m", "distance from block to disc"),
            uniform("task.way", -1.9, 1.9, "rad", "direction from block to disc, 0 = away from the base"),
            uniform("task.start", -0.06, 0.06, "rad", "start pose, offset of each joint", size=5),
        )

    def place(self, twin: Twin, draw: Mapping[str, Any]) -> None:
        base = ArmBase.of(twin.scene.rig)
        z = twin.scene.rig.table.height_m
        cube = base.polar(draw["task.cube_radius"], draw["task.cube_angle"], z + 0.0125)
        cube[2] = z + float(twin.model.geom("cube").size[0])
        way = base.heading_rad + draw["task.cube_angle"] + draw["task.way"]
        target = cube + draw["task.away"] * np.array([np.cos(way), np.sin(way), 0.0])
        target[2] = z + 0.001
        place_body(twin.model, twin.data, "cube", cube, draw["task.cube_yaw"])
        place_body(twin.model, twin.data, "target", target)
        home(twin, draw)

    def success(self, view: View) -> Bools:
        cube = view.pos("cube")
        away = (cube - view.pos("target"))[..., :2]
        free = np.linalg.norm(view.site("grasp") - cube, axis=-1) > OFF_M
        return (np.linalg.norm(away, axis=-1) < ON_MARK_M) & (view.speed("cube") < 0.02) & free

    def reward(self, view: View) -> F64:
        cube, target = view.pos("cube"), view.pos("target")
        near = 1 - np.tanh(8 * np.linalg.norm(view.site("grasp") - cube, axis=-1))
        there = 1 - np.tanh(10 * np.linalg.norm((cube - target)[..., :2], axis=-1))
        return np.where(self.success(view), 1.0, 0.2 * near + 0.6 * there)

    def expert(self, twin: Twin) -> Agent:
        return Expert(twin, _PushSkill())


class _PushSkill:
    """Round the block to its far side, down, push towards the disc; again when the block drifts off.

    The jaw is a little open and both finger tips push, one on either side of the block's centre: one finger
    alone would turn the block and lose it.
    """

    def __init__(self) -> None:
        self._phase = "behind"
        self._lift = 0.0  # m, raises the goal by as much as the arm sinks while it leans on the block
        self._best, self._since, self._last = np.inf, 0.0, 0.0

    def reset(self, twin: Twin) -> None:
        self._phase, self._lift, self._last = "behind", 0.0, 0.0

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        table = twin.scene.rig.table.height_m
        cube, _ = twin.pose("cube")
        target, _ = twin.pose("target")
        way = (target - cube)[:2]
        left = float(np.linalg.norm(way))
        direction = np.append(way / max(left, 1e-6), 0.0)
        # Either of the two closing directions square to the way will do: take the wrist's nearer one.
        yaw = float(np.arctan2(way[1], way[0]) + np.pi / 2)
        yaw += np.pi * round((sideways(twin, cube) - yaw) / np.pi)
        closing = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        aside = -(PAD_OFFSET_M - WIDTH_M / 2) * closing  # brings the middle of the jaw onto the way
        behind = cube - STAND_OFF_M * direction + aside
        behind[2] = table + PUSH_HEIGHT_M
        offset = tcp_W - aside - cube
        along, across = float(offset @ direction), abs(float(offset @ closing))
        if left < 0.006:
            self._phase = "done"
        if self._phase == "done":
            if left > ON_MARK_M - 0.004:
                self._phase = "behind"
            return Goal(np.array([*(tcp_W - 0.02 * direction)[:2], table + 0.09]), None, WIDTH_M)
        if self._phase == "push" and (across > 0.015 or along > 0.0 or self._stuck(left, t_s)):
            self._phase = "behind"
        if self._phase == "behind":
            high = np.array([behind[0], behind[1], table + OVER_M])
            off = float(np.linalg.norm((tcp_W - high)[:2]))
            if off < 0.008:
                self._phase, self._since = "down", t_s
            if tcp_W[2] < table + OVER_M - 0.012 and off > 0.02:  # back off and up before going round
                return Goal(np.array([*(tcp_W - 0.02 * direction)[:2], table + OVER_M]), None, WIDTH_M)
            return Goal(high, yaw, WIDTH_M)
        if self._phase == "down":
            if tcp_W[2] < table + PUSH_HEIGHT_M + 0.006 or t_s - self._since > 1.2:
                self._phase, self._lift, self._best, self._since = "push", 0.0, left, t_s
            return Goal(behind, yaw, WIDTH_M, speed_m_s=0.15)
        sunk = PUSH_HEIGHT_M - (tcp_W[2] - table)
        self._lift = float(np.clip(self._lift + LIFT_RATE * sunk * min(t_s - self._last, 0.1), 0.0, 0.03))
        self._last = t_s
        ahead = cube + (min(left, 0.03) - 0.0125) * direction + aside
        ahead[2] = table + PUSH_HEIGHT_M + self._lift
        return Goal(ahead, yaw, WIDTH_M, speed_m_s=0.06)

    def _stuck(self, left_m: float, t_s: float) -> bool:
        """Whether the block has come no nearer for a while."""
        if left_m < self._best - 0.004:
            self._best, self._since = left_m, t_s
        return t_s - self._since > STUCK_S
