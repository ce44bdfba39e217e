"""`stack`: put the red cube on the green one."""

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
from .grasping import SQUEEZE_M, Grasp
from .placement import cube_params, home, polar, uniform
from .shapes import add_cube, place_body
from .task import Bools, View

BASE_HALF_M = 0.02


class Stack:
    """Cube on cube. Success: the red cube rests on the green one, at rest, and has been let go."""

    name = "stack"
    text = "Stack the red cube on the green cube."
    horizon_s = 12.0
    bodies = ("cube", "pedestal")

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        add_cube(spec, "cube", 0.0125, (0.85, 0.15, 0.12, 1.0), mass_kg=0.015)
        add_cube(spec, "pedestal", BASE_HALF_M, (0.2, 0.6, 0.25, 1.0), mass_kg=0.06)

    def params(self, scene: Scene) -> Sequence[Param]:
        return (
            *cube_params("cube"),
            uniform("task.cube_radius", 0.18, 0.27, "m", "distance of the red cube from the base axis"),
            uniform("task.cube_angle", 0.15, 0.8, "rad", "direction of the red cube from the base axis"),
            uniform("task.cube_yaw", -0.785, 0.785, "rad", "turn of the red cube about vertical"),
            uniform("task.pedestal_radius", 0.18, 0.24, "m", "distance of the green cube"),
            uniform("task.pedestal_angle", -0.75, -0.3, "rad", "direction of the green cube"),
            uniform("task.pedestal_yaw", -0.785, 0.785, "rad", "turn of the green cube"),
            uniform("task.start", -0.06, 0.06, "rad", "start pose, offset of each joint", size=5),
        )

    def place(self, twin: Twin, draw: Mapping[str, Any]) -> None:
        z = twin.scene.rig.table.height_m
        for body in ("cube", "pedestal"):
            half = float(twin.model.geom(body).size[0])
            at = polar(draw[f"task.{body}_radius"], draw[f"task.{body}_angle"], z + half)
            place_body(twin.model, twin.data, body, at, draw[f"task.{body}_yaw"])
        home(twin, draw)

    def success(self, view: View) -> Bools:
        cube, below = view.pos("cube"), view.pos("pedestal")
        over = np.hypot(cube[..., 0] - below[..., 0], cube[..., 1] - below[..., 1]) < BASE_HALF_M
        height = cube[..., 2] - below[..., 2]
        on_top = (height > BASE_HALF_M + 0.006) & (height < BASE_HALF_M + 0.020)
        free = np.linalg.norm(view.site("grasp") - cube, axis=-1) > 0.03
        return over & on_top & free & (view.speed("cube") < 0.03)

    def reward(self, view: View) -> F64:
        cube, below = view.pos("cube"), view.pos("pedestal")
        near = 1 - np.tanh(8 * np.linalg.norm(view.site("grasp") - cube, axis=-1))
        goal = below + np.array([0.0, 0.0, BASE_HALF_M + 0.0125])
        placed = 1 - np.tanh(6 * np.linalg.norm(cube - goal, axis=-1))
        return np.where(self.success(view), 1.0, 0.3 * near + 0.5 * placed)

    def expert(self, twin: Twin) -> Agent:
        return Expert(twin, _StackSkill())


class _StackSkill:
    def __init__(self) -> None:
        self._grasp = Grasp("cube", 0.0125)
        self._phase, self._since = "grasp", 0.0
        self._start = np.zeros(3)

    def reset(self, twin: Twin) -> None:
        self._grasp = Grasp("cube", float(twin.model.geom("cube").size[0]))
        self._phase = "grasp"

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        grasp = self._grasp
        squeeze = 2 * grasp.half_m - SQUEEZE_M
        below, _ = twin.pose("pedestal")
        cube, _ = twin.pose("cube")
        held_off = tcp_W - cube  # where the cube sits between the pads
        place = below + np.array([held_off[0], held_off[1], BASE_HALF_M + grasp.half_m + held_off[2]])
        if self._phase == "grasp":
            goal = grasp.step(twin, tcp_W, t_s)
            if goal is not None:
                self._start = tcp_W.copy()
                return goal
            self._phase = "lift"
        if self._phase in ("lift", "carry", "lower") and not grasp.held(twin, tcp_W):
            grasp.reset()
            self._phase = "grasp"
            return self.goal(twin, tcp_W, t_s)
        if self._phase == "lift":
            if tcp_W[2] > 0.085:
                self._phase = "carry"
            return Goal(np.array([*self._start[:2], 0.11]), grasp.yaw_rad, squeeze)
        if self._phase == "carry":
            over = place + np.array([0.0, 0.0, 0.045])
            if np.linalg.norm(tcp_W - over) < 0.008:
                self._phase = "lower"
            return Goal(over, None, squeeze, speed_m_s=0.18)
        if self._phase == "lower":
            if cube[2] - below[2] < BASE_HALF_M + grasp.half_m + 0.003:
                self._phase, self._since = "open", t_s
                self._start = tcp_W.copy()
            return Goal(place - np.array([0.0, 0.0, 0.004]), None, squeeze, speed_m_s=0.05)
        if self._phase == "open":
            if t_s - self._since > 0.6:
                self._phase, self._since = "away", t_s
            return Goal(self._start, None, 2 * grasp.half_m + 0.02, speed_m_s=0.03)
        if t_s - self._since > 1.2 and cube[2] < below[2] + BASE_HALF_M:
            grasp.reset()
            self._phase = "grasp"
        return Goal(self._start + np.array([0.0, 0.0, 0.06]), None, 2 * grasp.half_m + 0.02, speed_m_s=0.1)
