"""`pick_place`: put the cube into the box."""

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
from .grasping import Grasp
from .placement import cube_params, home, radius, start, uniform
from .shapes import add_box, add_cube, place_body
from .task import Bools, View

BOX_INNER_M = (0.10, 0.10)
BOX_WALL_M = 0.035
CUBE_HALF_M = 0.0125


class PickPlace:
    """Cube into box. Success: the cube rests inside the box and the gripper has let go of it."""

    name = "pick_place"
    text = "Pick up the red cube and place it in the blue box."
    horizon_s = 10.0
    bodies = ("cube", "box")

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        add_cube(spec, "cube", CUBE_HALF_M, (0.85, 0.15, 0.12, 1.0), mass_kg=0.015)
        add_box(spec, "box", BOX_INNER_M, BOX_WALL_M)

    def params(self, scene: Scene) -> Sequence[Param]:
        return (
            *cube_params("cube"),
            radius(scene, "task.cube_radius", 0.17, 0.29, "distance of the cube from the base axis"),
            uniform("task.cube_angle", -0.25, 0.95, "rad", "direction of the cube from the base axis"),
            uniform("task.cube_yaw", -0.35, 0.35, "rad", "turn of the cube from square to the arm"),
            radius(scene, "task.box_radius", 0.205, 0.235, "distance of the box from the base axis"),
            uniform("task.box_angle", -0.95, -0.8, "rad", "direction of the box from the base axis"),
            start(scene, 0.06),
        )

    def place(self, twin: Twin, draw: Mapping[str, Any]) -> None:
        base = ArmBase.of(twin.scene.rig)
        z = twin.scene.rig.table.height_m
        half = float(twin.model.geom("cube").size[0])
        cube = base.polar(draw["task.cube_radius"], draw["task.cube_angle"], z + half)
        box = base.polar(draw["task.box_radius"], draw["task.box_angle"], z)
        yaw = base.heading_rad + draw["task.cube_angle"] + draw["task.cube_yaw"]
        place_body(twin.model, twin.data, "cube", cube, yaw)
        place_body(twin.model, twin.data, "box", box, base.heading_rad + draw["task.box_angle"])
        home(twin, draw)

    def success(self, view: View) -> Bools:
        cube, box = view.pos("cube"), view.pos("box")
        away = np.abs(cube - box)
        inside = (np.hypot(away[..., 0], away[..., 1]) < BOX_INNER_M[0] / 2) & (away[..., 2] < BOX_WALL_M)
        free = np.linalg.norm(view.site("grasp") - cube, axis=-1) > 0.03
        return inside & free & (view.speed("cube") < 0.05)

    def reward(self, view: View) -> F64:
        cube, box, tcp = view.pos("cube"), view.pos("box"), view.site("grasp")
        near = 1 - np.tanh(8 * np.linalg.norm(tcp - cube, axis=-1))
        placed = 1 - np.tanh(5 * np.linalg.norm(cube - box, axis=-1))
        return np.where(self.success(view), 1.0, 0.3 * near + 0.5 * placed)

    def expert(self, twin: Twin) -> Agent:
        return Expert(twin, _PickPlaceSkill(CUBE_HALF_M))


class _PickPlaceSkill:
    """grasp -> lift -> over the box -> open -> back off; back to the grasp whenever the cube is lost."""

    def __init__(self, half_m: float) -> None:
        self._grasp = Grasp("cube", half_m)
        self._phase = "grasp"
        self._since = 0.0

    def reset(self, twin: Twin) -> None:
        self._grasp = Grasp("cube", float(twin.model.geom("cube").size[0]))
        self._phase = "grasp"

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        grasp = self._grasp
        squeeze = 2 * grasp.half_m - 0.012
        box, _ = twin.pose("box")
        over = box + np.array([0.0, 0.0, 0.10])
        if self._phase == "grasp":
            goal = grasp.step(twin, tcp_W, t_s)
            if goal is not None:
                self._start = tcp_W.copy()
                return goal
            self._phase = "lift"
        if self._phase in ("lift", "carry") and not grasp.held(twin, tcp_W):
            grasp.reset()
            self._phase = "grasp"
            return self.goal(twin, tcp_W, t_s)
        if self._phase == "lift":
            if tcp_W[2] > 0.075:
                self._phase = "carry"
            return Goal(np.array([*self._start[:2], 0.10]), grasp.yaw_rad, squeeze)
        if self._phase == "carry":
            if np.linalg.norm((tcp_W - over)[:2]) < 0.015:
                self._phase, self._since = "open", t_s
            return Goal(over, None, squeeze, speed_m_s=0.28)
        low = box + np.array([0.0, 0.0, 0.065])
        if self._phase == "open":
            if t_s - self._since > 0.9:
                self._phase, self._since = "away", t_s
            near = t_s - self._since > 0.4
            return Goal(low, None, 2 * grasp.half_m + 0.03 if near else squeeze, speed_m_s=0.15)
        cube, _ = twin.pose("cube")
        away = np.abs(cube - box)
        if t_s - self._since > 0.8 and (max(away[0], away[1]) > BOX_INNER_M[0] / 2 or away[2] > 0.04):
            grasp.reset()
            self._phase = "grasp"
        return Goal(over + np.array([0.0, 0.0, 0.03]), None, 2 * grasp.half_m + 0.03)
