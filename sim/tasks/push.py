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
from .expert import Expert, Goal
from .placement import cube_params, home, polar, uniform
from .shapes import add_cube, add_mark, place_body
from .task import Bools, View

ON_MARK_M = 0.02
STAND_OFF_M = 0.045  # behind the block before pushing
PUSH_HEIGHT_M = 0.022  # of the grasp point; the finger tips reach below it


class Push:
    """Block to disc. Success: the block's centre is within 2 cm of the disc's and it is at rest."""

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
        z = twin.scene.rig.table.height_m
        cube = polar(draw["task.cube_radius"], draw["task.cube_angle"], z + 0.0125)
        cube[2] = z + float(twin.model.geom("cube").size[0])
        way = draw["task.cube_angle"] + draw["task.way"]
        target = cube + draw["task.away"] * np.array([np.cos(way), np.sin(way), 0.0])
        target[2] = z + 0.001
        place_body(twin.model, twin.data, "cube", cube, draw["task.cube_yaw"])
        place_body(twin.model, twin.data, "target", target)
        home(twin, draw)

    def success(self, view: View) -> Bools:
        away = (view.pos("cube") - view.pos("target"))[..., :2]
        return (np.linalg.norm(away, axis=-1) < ON_MARK_M) & (view.speed("cube") < 0.02)

    def reward(self, view: View) -> F64:
        cube, target = view.pos("cube"), view.pos("target")
        near = 1 - np.tanh(8 * np.linalg.norm(view.site("grasp") - cube, axis=-1))
        there = 1 - np.tanh(10 * np.linalg.norm((cube - target)[..., :2], axis=-1))
        return np.where(self.success(view), 1.0, 0.2 * near + 0.6 * there)

    def expert(self, twin: Twin) -> Agent:
        return Expert(twin, _PushSkill())


class _PushSkill:
    """Round the block to its far side, down, push towards the disc; again when the block drifts off."""

    def __init__(self) -> None:
        self._phase = "behind"

    def reset(self, twin: Twin) -> None:
        self._phase = "behind"

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        cube, _ = twin.pose("cube")
        target, _ = twin.pose("target")
        way = (target - cube)[:2]
        left = float(np.linalg.norm(way))
        way = way / max(left, 1e-6)
        direction = np.array([way[0], way[1], 0.0])
        yaw = float(np.arctan2(way[1], way[0]) + np.pi / 2)
        behind = cube - STAND_OFF_M * direction
        behind[2] = PUSH_HEIGHT_M
        offset = (tcp_W - cube)[:2]
        along, across = float(offset @ way), float(abs(offset[0] * way[1] - offset[1] * way[0]))
        if left < 0.006:
            self._phase = "done"
        if self._phase == "done":
            if left > ON_MARK_M - 0.004:
                self._phase = "behind"
            return Goal(np.array([tcp_W[0], tcp_W[1], 0.09]), None, 0.0)
        if self._phase == "push" and (across > 0.02 or along > 0.0):
            self._phase = "behind"
        if self._phase == "behind":
            high = np.array([behind[0], behind[1], 0.075])
            if np.linalg.norm((tcp_W - high)[:2]) < 0.008:
                self._phase = "down"
            if tcp_W[2] < 0.06 and np.linalg.norm((tcp_W - high)[:2]) > 0.02:
                return Goal(np.array([tcp_W[0], tcp_W[1], 0.08]), None, 0.0)
            return Goal(high, yaw, 0.0)
        if self._phase == "down":
            if tcp_W[2] < PUSH_HEIGHT_M + 0.006:
                self._phase = "push"
            return Goal(behind, yaw, 0.0, speed_m_s=0.15)
        ahead = cube + (min(left, 0.03) - 0.0125) * direction
        ahead[2] = PUSH_HEIGHT_M
        return Goal(ahead, yaw, 0.0, speed_m_s=0.06)
