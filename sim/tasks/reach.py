"""`reach`: bring the grasp point to the ball."""

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
from .grasping import sideways
from .placement import START_WIDTH_M, home, radius, start, uniform
from .shapes import add_mark, place_body
from .task import Bools, View

REACHED_M = 0.015
NEAR_M = 0.05  # from here on the expert takes less noise, and slows down
SLOW_M_S = 0.04  # its speed at the ball: faster, the arm would sweep through it
FAST_M_S = 0.22
SLOWING = 2.0  # 1/s, more speed for every metre that is left
TILT_RATE = 0.5  # rad/s, how fast the hand turns to the lean that the ball's distance needs


class Reach:
    """Grasp point to a ball in the air. Success: within 15 mm of its centre."""

    name = "reach"
    text = "Move the gripper to the green ball."
    horizon_s = 5.0
    bodies = ("target",)

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        add_mark(spec, "target", 0.012, (0.1, 0.75, 0.25, 1.0), flat=False)

    def params(self, scene: Scene) -> Sequence[Param]:
        return (
            radius(scene, "task.target_radius", 0.16, 0.29, "distance of the ball from the base axis"),
            uniform("task.target_angle", -0.9, 0.9, "rad", "direction of the ball from the base axis"),
            uniform("task.target_height", 0.04, 0.16, "m", "height of the ball above the table"),
            start(scene, 0.1),
        )

    def place(self, twin: Twin, draw: Mapping[str, Any]) -> None:
        base = ArmBase.of(twin.scene.rig)
        z = twin.scene.rig.table.height_m + draw["task.target_height"]
        target = base.polar(draw["task.target_radius"], draw["task.target_angle"], z)
        place_body(twin.model, twin.data, "target", target)
        home(twin, draw)

    def success(self, view: View) -> Bools:
        return np.linalg.norm(view.site("grasp") - view.pos("target"), axis=-1) < REACHED_M

    def reward(self, view: View) -> F64:
        away = np.linalg.norm(view.site("grasp") - view.pos("target"), axis=-1)
        return np.where(away < REACHED_M, 1.0, 0.8 * (1 - np.tanh(8 * away)))

    def expert(self, twin: Twin) -> Agent:
        return Expert(twin, _ReachSkill())


class _ReachSkill:
    """Straight to the ball, slower and with less noise as it comes near; the hand turns on the way.

    Nothing jumps: a turn asked for at once, or a closing axis left free, would fling the grasp point about.
    """

    def __init__(self) -> None:
        self._tilt, self._last = 0.0, 0.0  # rad, s

    def reset(self, twin: Twin) -> None:
        _, frame = twin.site(next(iter(twin.scene.arms)), "grasp")
        self._tilt, self._last = float(np.arccos(np.clip(-frame[2, 0], -1.0, 1.0))), 0.0

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        target, _ = twin.pose("target")
        left = float(np.linalg.norm(target - tcp_W))
        rig = twin.scene.rig
        wanted = reach_tilt(ArmBase.of(rig).bearing(target)[0], Build.of(rig).scale)
        turn = TILT_RATE * (t_s - self._last)
        self._tilt += float(np.clip(wanted - self._tilt, -turn, turn))
        self._last = t_s
        return Goal(
            target,
            sideways(twin, tcp_W),
            START_WIDTH_M,
            speed_m_s=min(FAST_M_S, SLOW_M_S + SLOWING * left),
            tilt_rad=self._tilt,
            disturb=0.25 if left < NEAR_M else 1.0,
        )
