"""A scripted operator: sees the twin's truth, and moves the hand and presses the keys as a person would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ...robot.errors import UsageError
from ...robot.interfaces import Clock, Robot
from ...robot.types import F64
from ...sim.tasks import Task
from ...sim.tasks.base import ArmBase
from ...sim.tasks.build import Build
from ...sim.tasks.expert import Expert, Goal, reach_tilt
from ...sim.twin import Twin
from ...teleop.ik import rotation_vector
from ...teleop.jog import Jog
from .plan import COUNTDOWN

GAIN = 6.0  # 1/s: speed for distance; people slow down where they want to arrive
FASTEST_M_S, FASTEST_RAD_S = 0.25, 1.2
WIDTH_GAIN, FASTEST_WIDTH_M_S = 8.0, 0.12
GIVE_UP = 3.0  # horizons of the task
SETTLED = 6  # steps that it waits after the task is done


class Sight(Protocol):
    """What the operator sees: the twin as it is, whichever it is now, and what is to be done there."""

    @property
    def twin(self) -> Twin: ...

    @property
    def task(self) -> Task: ...

    @property
    def robot(self) -> Robot: ...

    def judge(self) -> tuple[bool, object] | None:
        """Whether the task is done now."""
        ...


class OperatorClock:
    """The twin's time, whichever twin it is now; implements `Clock`, without sleeping."""

    def __init__(self, cell: Sight) -> None:
        self._cell = cell

    def now(self) -> int:
        return self._cell.robot.clock.now()

    def sleep_until(self, deadline_ns: int) -> None:
        self._cell.robot.clock.sleep_until(deadline_ns)


class Operator:
    """Plays the phases of the task's expert with a Cartesian device; `hand` is the script of a `Scripted`."""

    def __init__(
        self, cell: Sight, countdown_s: float = COUNTDOWN, ready: Callable[[], bool] = lambda: True
    ) -> None:
        self.clock: Clock = OperatorClock(cell)
        self._cell = cell
        self._wait_ns = round(countdown_s * 1e9)
        self._ready = ready  # whether the scene is set up
        self._twin: Twin | None = None
        self._sat_ns = 0
        self._begun_ns: int | None = None  # of its motion
        self._done = 0
        self._ended = False

    def hand(self, now_ns: int) -> Jog:
        """What it asks for at `now_ns` of the twin's time. Raises `UsageError` for a task without phases."""
        twin = self._cell.twin
        if twin is not self._twin:
            self._sit_down(twin, now_ns)
        if self._begun_ns is None and now_ns > self._sat_ns and self._ready():  # time passes
            self._begun_ns = now_ns + self._wait_ns
            return Jog(engaged=False, keys=("start",))
        if self._begun_ns is None or now_ns < self._begun_ns:
            return Jog(engaged=False)
        judged = self._cell.judge()
        self._done = self._done + 1 if judged is not None and judged[0] else 0
        if self._ended:
            return Jog(engaged=False)
        if self._done >= SETTLED:
            return self._end("success")
        if now_ns - self._begun_ns > GIVE_UP * self._cell.task.horizon_s * 1e9:
            return self._end("failure")
        return self._towards(twin, now_ns)

    def _sit_down(self, twin: Twin, now_ns: int) -> None:
        expert = self._cell.task.expert(twin)
        if not isinstance(expert, Expert):
            raise UsageError(
                f"--device scripted: the expert of task '{self._cell.task.name}' has no phases to follow"
            )
        self._twin, self._skill, self._arm = twin, expert.skill, expert.arm
        self._skill.reset(twin)
        self._base, self._scale = (
            ArmBase.of(twin.scene.rig, self._arm),
            Build.of(twin.scene.rig, self._arm).scale,
        )
        self._site = twin.scene.descriptions[self._arm].grasp_site
        self._gripper = twin.scene.rig.gripper_of(self._arm)
        self._sat_ns, self._begun_ns, self._done, self._ended = now_ns, None, 0, False

    def _end(self, key: str) -> Jog:
        self._ended = True
        return Jog(engaged=False, keys=(key,))

    def _towards(self, twin: Twin, now_ns: int) -> Jog:
        tcp, rotation = twin.site(self._arm, self._site)
        goal = self._skill.goal(twin, tcp, now_ns * 1e-9)
        linear = _at_most(GAIN * (goal.p_W - tcp), min(goal.speed_m_s, FASTEST_M_S))
        turn = rotation_vector(self._facing(goal, rotation) @ rotation.T)
        rate = 0.0
        if self._gripper is not None:
            model = twin.scene.descriptions[self._arm]
            width = float(model.angle_to_width(twin.grippers[self._gripper].servos.true_q()[0]))
            asked = WIDTH_GAIN * (goal.width_m - width)
            rate = float(np.clip(asked, -FASTEST_WIDTH_M_S, FASTEST_WIDTH_M_S))
        return Jog(linear_m_s=linear, angular_rad_s=_at_most(GAIN * turn, FASTEST_RAD_S), grip_m_s=rate)

    def _facing(self, goal: Goal, rotation: F64) -> F64:
        """The rotation (3, 3) of the site in W that the goal wants; where it leaves the yaw free, the nearest one."""
        radius, bearing = self._base.bearing(goal.p_W)
        tilt = goal.tilt_rad if goal.tilt_rad is not None else reach_tilt(radius, self._scale)
        x = np.array([np.sin(tilt) * np.cos(bearing), np.sin(tilt) * np.sin(bearing), -np.cos(tilt)])
        way = rotation[:, 1]
        if goal.yaw_rad is not None:
            way = np.array([np.cos(goal.yaw_rad), np.sin(goal.yaw_rad), 0.0])
        y = way - (way @ x) * x
        y /= np.linalg.norm(y)
        return np.stack([x, y, np.cross(x, y)], axis=1)


def _at_most(vector: F64, length: float) -> F64:
    norm = float(np.linalg.norm(vector))
    return vector if norm <= length else vector * (length / norm)
