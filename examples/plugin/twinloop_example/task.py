"""A task: wipe from one mark to the other with the closed gripper, close above the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from twinloop.robot.interfaces import Agent
from twinloop.robot.types import F64
from twinloop.sim.randomize import Param
from twinloop.sim.scene import Scene
from twinloop.sim.tasks.base import ArmBase
from twinloop.sim.tasks.expert import Expert, Goal
from twinloop.sim.tasks.placement import home, uniform
from twinloop.sim.tasks.shapes import add_mark, place_body
from twinloop.sim.tasks.task import Bools, View
from twinloop.sim.twin import Twin

HEIGHT_M = 0.03


class Wipe:
    """Success: the grasp point has come within 2 cm of the far mark, close above the table."""

    name = "wipe"
    text = "Wipe from the white mark to the black mark."
    horizon_s = 6.0
    bodies = ("near", "far")

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        add_mark(spec, "near", 0.015, (0.95, 0.95, 0.95, 1.0), flat=True)
        add_mark(spec, "far", 0.015, (0.05, 0.05, 0.05, 1.0), flat=True)

    def params(self, scene: Scene) -> Sequence[Param]:
        return (
            uniform("task.radius", 0.18, 0.26, "m", "distance of both marks from the base axis"),
            uniform("task.angle", 0.3, 0.7, "rad", "direction of the near mark; the far one is mirrored"),
        )

    def place(self, twin: Twin, draw: Mapping[str, Any]) -> None:
        base = ArmBase.of(twin.scene.rig)
        for body, sign in (("near", 1.0), ("far", -1.0)):
            at = base.polar(draw["task.radius"], sign * draw["task.angle"], 0.001)
            place_body(twin.model, twin.data, body, at)
        home(twin, draw)

    def success(self, view: View) -> Bools:
        away = view.site("grasp") - view.pos("far")
        return (np.linalg.norm(away[..., :2], axis=-1) < 0.02) & (away[..., 2] < HEIGHT_M + 0.02)

    def reward(self, view: View) -> F64:
        return 1.0 - np.tanh(5 * np.linalg.norm(view.site("grasp") - view.pos("far"), axis=-1))

    def expert(self, twin: Twin) -> Agent:
        return Expert(twin, _WipeSkill())


class _WipeSkill:
    def reset(self, twin: Twin) -> None:
        self._down = False

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        near, far = twin.pose("near")[0], twin.pose("far")[0]
        at = np.array([near[0], near[1], HEIGHT_M])
        self._down = self._down or bool(np.linalg.norm(tcp_W - at) < 0.015)
        return Goal(np.array([far[0], far[1], HEIGHT_M]) if self._down else at, None, 0.0, speed_m_s=0.15)
