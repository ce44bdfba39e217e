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
from .base import ArmBase
from .build import Build
from .expert import Expert, Goal, reach_tilt
from .grasping import SQUEEZE_M, Grasp
from .placement import cube_params, home, radius, start, uniform
from .shapes import add_cube, place_body
from .task import Bools, View

BASE_HALF_M = 0.02
LOWEST_M = 0.01  # of the grasp point above the green cube's top while it carries; lower, it lifts first
CAREFUL = 0.25  # share of the injected noise borne while one cube is set on the other


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
            radius(scene, "task.cube_radius", 0.18, 0.27, "distance of the red cube from the base axis"),
            uniform("task.cube_angle", 0.15, 0.8, "rad", "direction of the red cube from the base axis"),
            uniform("task.cube_yaw", -0.785, 0.785, "rad", "turn of the red cube about vertical"),
            radius(scene, "task.pedestal_radius", 0.18, 0.24, "distance of the green cube"),
            uniform("task.pedestal_angle", -0.75, -0.3, "rad", "direction of the green cube"),
            uniform("task.pedestal_yaw", -0.785, 0.785, "rad", "turn of the green cube"),
            start(scene, 0.06),
        )

    def place(self, twin: Twin, draw: Mapping[str, Any]) -> None:
        base = ArmBase.of(twin.scene.rig)
        z = twin.scene.rig.table.height_m
        for body in ("cube", "pedestal"):
            half = float(twin.model.geom(body).size[0])
            at = base.polar(draw[f"task.{body}_radius"], draw[f"task.{body}_angle"], z + half)
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
    """grasp -> lift -> carry -> lower -> open -> off the cube -> away; back to the grasp whenever it is lost.

    The cube is set down with the gripper leaning and turned as it was when it grasped, seen from the arm:
    then the cube stands as flat as it lay.
    """

    def __init__(self) -> None:
        self._grasp = Grasp("cube", 0.0125)
        self._phase, self._since = "grasp", 0.0
        self._at = np.zeros(3)
        self._tilt, self._turn, self._yaw, self._low = 0.0, 0.0, 0.0, 0.0

    def reset(self, twin: Twin) -> None:
        self._grasp = Grasp("cube", float(twin.model.geom("cube").size[0]), avoid=("pedestal",))
        self._phase = "grasp"

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        grasp = self._grasp
        squeeze = 2 * grasp.half_m - SQUEEZE_M
        below, _ = twin.pose("pedestal")
        cube, _ = twin.pose("cube")
        base = ArmBase.of(twin.scene.rig)
        top = twin.scene.rig.table.height_m + 2 * BASE_HALF_M
        if self._phase == "grasp":
            goal = grasp.step(twin, tcp_W, t_s)
            if goal is not None:
                self._at = tcp_W.copy()
                return goal
            radius, bearing = base.bearing(tcp_W)
            self._tilt, self._turn = (
                reach_tilt(radius, Build.of(twin.scene.rig).scale),
                grasp.yaw_rad - bearing,
            )
            self._enter("lift", t_s)
        if self._phase in ("lift", "carry", "lower") and not grasp.held(twin, tcp_W):
            over = np.hypot(*(cube - below)[:2]) < BASE_HALF_M
            if (
                self._phase == "lower" and over and cube[2] > below[2] + BASE_HALF_M
            ):  # slipped, but stands there
                self._at = tcp_W.copy()
                self._enter("open", t_s)
                return self.goal(twin, tcp_W, t_s)
            grasp.reset()
            self._enter("grasp", t_s)
            return self.goal(twin, tcp_W, t_s)
        if self._phase == "lift":
            if tcp_W[2] > top + 0.045:
                self._enter("carry", t_s)
            return Goal(np.array([*self._at[:2], top + 0.07]), grasp.yaw_rad, squeeze, tilt_rad=self._tilt)
        held_off = tcp_W - cube  # where the cube sits between the pads
        place = np.array([*(below + held_off)[:2], top + grasp.half_m + held_off[2]])
        if self._phase in ("carry", "lower"):
            self._yaw = base.bearing(place)[1] + self._turn
        if self._phase == "carry":
            over = place + np.array([0.0, 0.0, 0.03])
            if np.linalg.norm((tcp_W - over)[:2]) < 0.005 and abs(tcp_W[2] - over[2]) < 0.012:
                self._enter("lower", t_s)
                self._low = tcp_W[2]
            near = np.linalg.norm(tcp_W - over) < 0.04
            if tcp_W[2] < top + LOWEST_M and not near:  # it would push the green cube along
                self._at = tcp_W.copy()
                self._enter("lift", t_s)
            speed, disturb = (0.08, CAREFUL) if near else (0.18, 1.0)
            return Goal(over, self._yaw, squeeze, speed, self._tilt, disturb)
        if self._phase == "lower":
            if tcp_W[2] < self._low - 0.001:
                self._low, self._since = tcp_W[2], t_s
            landed = cube[2] < top + grasp.half_m + 0.0015
            # A cube that hangs askew comes to rest on an edge: it stands once it is let go.
            if landed or (t_s - self._since > 0.4 and cube[2] < top + grasp.half_m + 0.008):
                self._enter("open", t_s)
                self._at = tcp_W.copy()
            elif np.hypot(*(cube - below)[:2]) > 0.014:
                self._enter("carry", t_s)
            down = place - np.array([0.0, 0.0, 0.004])
            return Goal(down, self._yaw, squeeze, 0.05, self._tilt, CAREFUL)
        width = 2 * grasp.half_m + 0.02
        if self._phase == "open":
            if t_s - self._since > 0.4:
                self._enter("off", t_s)
                self._at = self._at + grasp.stand_off(self._yaw)
            return Goal(self._at, self._yaw, width, 0.03, self._tilt, CAREFUL)
        if self._phase == "off":  # the fixed finger still touches the cube: off it before going up
            if t_s - self._since > 0.4:
                self._enter("away", t_s)
                _, frame = twin.site(next(iter(twin.scene.arms)), "grasp")
                self._at = self._at - 0.05 * frame[:, 0]
            return Goal(self._at, self._yaw, width, 0.03, self._tilt, CAREFUL)
        if t_s - self._since > 1.2 and cube[2] < below[2] + BASE_HALF_M:
            grasp.reset()
            self._enter("grasp", t_s)
        return Goal(self._at, self._yaw, width, 0.1, self._tilt, CAREFUL)

    def _enter(self, phase: str, t_s: float) -> None:
        self._phase, self._since = phase, t_s
