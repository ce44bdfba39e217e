"""`lift`: pick the cube up and hold it."""

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
from .grasping import SQUEEZE_M, Grasp
from .placement import cube_params, home, radius, start, uniform
from .shapes import add_cube, place_body
from .task import Bools, View

LIFTED_M = 0.06


class Lift:
    """Cube off the table. Success: its centre is 6 cm above the table, between the pads."""

    name = "lift"
    text = "Lift the red cube."
    horizon_s = 7.0
    bodies = ("cube",)

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        add_cube(spec, "cube", 0.0125, (0.85, 0.15, 0.12, 1.0), mass_kg=0.015)

    def params(self, scene: Scene) -> Sequence[Param]:
        return (
            *cube_params("cube"),
            radius(scene, "task.cube_radius", 0.17, 0.29, "distance of the cube from the base axis"),
            uniform("task.cube_angle", -0.7, 0.7, "rad", "direction of the cube from the base axis"),
            uniform("task.cube_yaw", -0.785, 0.785, "rad", "turn of the cube about vertical"),
            start(scene, 0.06),
        )

    def place(self, twin: Twin, draw: Mapping[str, Any]) -> None:
        base = ArmBase.of(twin.scene.rig)
        z = twin.scene.rig.table.height_m + float(twin.model.geom("cube").size[0])
        cube = base.polar(draw["task.cube_radius"], draw["task.cube_angle"], z)
        place_body(
            twin.model,
            twin.data,
            "cube",
            cube,
            base.heading_rad + draw["task.cube_angle"] + draw["task.cube_yaw"],
        )
        home(twin, draw)

    def success(self, view: View) -> Bools:
        cube = view.pos("cube")
        held = np.linalg.norm(view.site("grasp") - cube, axis=-1) < 0.035
        return (cube[..., 2] > LIFTED_M) & held

    def reward(self, view: View) -> F64:
        cube = view.pos("cube")
        near = 1 - np.tanh(8 * np.linalg.norm(view.site("grasp") - cube, axis=-1))
        high = np.clip((cube[..., 2] - 0.0125) / LIFTED_M, 0.0, 1.0)
        return np.where(self.success(view), 1.0, 0.4 * near + 0.5 * high)

    def expert(self, twin: Twin) -> Agent:
        return Expert(twin, _LiftSkill())


class _LiftSkill:
    def __init__(self) -> None:
        self._grasp = Grasp("cube", 0.0125)
        self._up: F64 | None = None

    def reset(self, twin: Twin) -> None:
        self._grasp = Grasp("cube", float(twin.model.geom("cube").size[0]))
        self._up = None

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        goal = self._grasp.step(twin, tcp_W, t_s)
        if goal is not None:
            self._up = None
            return goal
        if self._up is None:
            self._up = np.array([tcp_W[0], tcp_W[1], twin.scene.rig.table.height_m + 0.12])
        return Goal(self._up, self._grasp.yaw_rad, 2 * self._grasp.half_m - SQUEEZE_M)
