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
from .build import Build
from .expert import Expert, Goal
from .grasping import along, sideways
from .placement import cube_params, home, radius, start, uniform
from .shapes import add_cube, add_mark, place_body
from .task import Bools, View

ON_MARK_M = 0.02
OFF_M = 0.045  # between grasp point and block: the finger tips no longer touch
STAND_OFF_M = 0.045  # behind the block before pushing
PUSH_HEIGHT_M = 0.018  # of the grasp point; the finger tips reach below it. Higher tips the block over
AT_HEIGHT_M = 0.004
OVER_M = 0.075  # of the grasp point on the way round the block
LOW_M = 0.045  # from here down it goes at LOW_M_S: faster, the finger tips would run into the table
LOW_M_S = 0.06
DOWN_S = 1.6  # after which it pushes from whatever height it has
NEAR_M = 0.03  # of that place: from here on less noise, or the arm would not settle
CALM_M_S = 0.07  # an arm slower than this has settled
ASTRAY_M = 0.015  # off its place on the way down: it would land on the block
WIDTH_M = 0.008  # of the jaw while it pushes: too narrow for the block's corner
TURN_MIDDLE = 0.42  # rad from sideways: the middle of what the wrist can turn the jaw to, -1.2 .. 2.1
STEADY = 0.5  # share of the injected noise borne close to the block and while settling
LIFT_RATE = 4.0  # 1/s, how fast sinking is taken out
TOUCH_M = 0.02  # from the block's centre to the grasp point when they touch
ACROSS_M = 0.02  # off the way: the block would slip past the fingers
STUCK_S = 1.5
TIPPED_M = 0.0035  # a block whose centre is raised by this stands on an edge, under a finger tip
TIPPED_S = 0.4


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
            radius(scene, "task.cube_radius", 0.18, 0.235, "distance of the block from the base axis"),
            uniform("task.cube_angle", -0.5, 0.5, "rad", "direction of the block from the base axis"),
            uniform("task.cube_yaw", -0.785, 0.785, "rad", "turn of the block about vertical"),
            uniform("task.away", 0.07, 0.11, "m", "distance from block to disc"),
            uniform("task.way", -1.9, 1.9, "rad", "direction from block to disc, 0 = away from the base"),
            start(scene, 0.06),
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
    """Round the block to its far side, down, push towards the disc, up; again when the block drifts off.

    Both finger tips push, one on either side of the block's centre: one finger alone would turn the block
    and lose it.
    """

    def __init__(self) -> None:
        self._phase, self._since, self._last = "behind", 0.0, 0.0
        self._way = np.array([1.0, 0.0])  # from block to disc, unit vector in W
        self._up = np.zeros(3)  # where to go before going round
        self._lift = 0.0  # m, raises the goal by as much as the arm sinks while it leans on the block
        self._best, self._moved = np.inf, 0.0  # nearest so far, m, and when, s
        self._flat_s = 0.0  # when the block last stood flat
        self._tcp, self._t = np.zeros(3), 0.0  # where the grasp point was in the last step, and when

    def reset(self, twin: Twin) -> None:
        self._phase, self._t = "behind", 0.0

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        table = twin.scene.rig.table.height_m
        cube, _ = twin.pose("cube")
        target, _ = twin.pose("target")
        way = (target - cube)[:2]
        left = float(np.linalg.norm(way))
        if (
            left > 0.02 or self._phase == "behind"
        ):  # close by, the direction would swing with every millimetre
            self._way = way / max(left, 1e-6)
        direction = np.append(self._way, 0.0)
        # Either of the two closing directions square to the way will do: take the one the wrist can turn to.
        yaw = float(np.arctan2(direction[1], direction[0]) + np.pi / 2)
        yaw += np.pi * round((sideways(twin, cube) + TURN_MIDDLE - yaw) / np.pi)
        aside = along(
            yaw, Build.of(twin.scene.rig).aside(WIDTH_M / 2)
        )  # brings the middle of the jaw onto the way
        behind = cube - STAND_OFF_M * direction + aside
        behind[2] = table + PUSH_HEIGHT_M
        high = np.array([behind[0], behind[1], table + OVER_M])
        offset = tcp_W - aside - cube
        ahead_of, across = float(offset @ direction), abs(float(offset @ along(yaw, 1.0)))
        to_go = float(way @ self._way)
        calm = float(np.linalg.norm(tcp_W - self._tcp)) < CALM_M_S * (t_s - self._t)
        self._tcp, self._t = tcp_W.copy(), t_s
        if self._phase == "push":
            if left < self._best - 0.004:
                self._best, self._moved = left, t_s
            flat = cube[2] - table < float(twin.model.geom("cube").size[0]) + TIPPED_M
            self._flat_s = t_s if flat else self._flat_s
            stuck = t_s - self._moved > STUCK_S or t_s - self._flat_s > TIPPED_S
            lost = across > ACROSS_M or ahead_of > 0.0 or stuck
            if lost or to_go < 0.004:
                # Off the block and up: straight up would drag it along, and round it would push it.
                clear = offset[:2] / max(float(np.linalg.norm(offset[:2])), 1e-6)
                self._up = np.array([*(tcp_W[:2] + 0.015 * clear), table + OVER_M + 0.01])
                self._enter("up", t_s)
        if self._phase == "up":
            if tcp_W[2] > table + OVER_M - 0.01 and left > ON_MARK_M - 0.005:
                self._enter("behind", t_s)
            return Goal(self._up, None, WIDTH_M, disturb=STEADY)
        if self._phase == "behind":
            far = float(np.linalg.norm((tcp_W - high)[:2]))
            if far < 0.008 and calm:
                self._enter("down", t_s)
            return Goal(high, yaw, WIDTH_M, disturb=STEADY if far < NEAR_M else 1.0)
        if self._phase == "down":
            low = tcp_W[2] < table + LOW_M
            if (calm and abs(tcp_W[2] - behind[2]) < AT_HEIGHT_M) or t_s - self._since > DOWN_S:
                self._enter("push", t_s)
                self._lift, self._best, self._moved, self._flat_s = 0.0, left, t_s, t_s
            elif not low and np.linalg.norm((tcp_W - behind)[:2]) > ASTRAY_M:
                self._enter("behind", t_s)
                return Goal(high, yaw, WIDTH_M)
            return Goal(behind, yaw, WIDTH_M, speed_m_s=LOW_M_S if low else 0.15, disturb=STEADY)
        sunk = PUSH_HEIGHT_M - (tcp_W[2] - table)
        self._lift = float(np.clip(self._lift + LIFT_RATE * sunk * min(t_s - self._last, 0.1), -0.004, 0.015))
        self._last = t_s
        # A block that sticks is leaned on more and more; leaning much at once would make it jump.
        lean = 0.015 + 0.02 * (t_s - self._moved)
        goal = cube + (min(to_go, lean) - TOUCH_M) * direction + aside
        goal[2] = table + PUSH_HEIGHT_M + self._lift
        return Goal(goal, yaw, WIDTH_M, speed_m_s=0.06, disturb=STEADY, settle=False)

    def _enter(self, phase: str, t_s: float) -> None:
        self._phase, self._since, self._last = phase, t_s, t_s
