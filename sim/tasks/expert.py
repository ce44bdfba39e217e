"""Scripted experts: a phase machine in task space that sees the true state and recovers.

A skill is a `Skill`: it names its phase, gives a goal for the grasp point and decides the next phase from
the true state on every step, so a cube that slips, rolls or is knocked away sends it back. The expert turns
the goal into joint goals by inverse kinematics, adds what gravity and calibration bias would take away,
and asks for a short chunk along its straight path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...robot.kinematics import Kinematics
from ...robot.types import F64, ActionChunk, Observation
from ..twin import Twin
from .base import ArmBase
from .build import Build

ROWS = 4  # rows of each chunk: the step asked for and what the straight path says next
CORRECTION_MAX_RAD = 0.12  # largest correction for sag and bias, a joint
CORRECTION_RATE = 3.0  # 1/s, how fast the remaining error is taken out


@dataclass(frozen=True, slots=True)
class Goal:
    """Where the grasp point shall go."""

    p_W: F64  # (3,) m
    yaw_rad: float | None  # direction of the closing axis about vertical; None = free
    width_m: float
    speed_m_s: float = 0.22
    tilt_rad: float | None = None  # approach axis from straight down, outward; None = as the reach needs
    disturb: float = 1.0  # share of the injected noise that this part of the task can bear
    settle: bool = True  # take out the remaining error at the goal; not where something is in the way


class Skill(Protocol):
    """One task's script."""

    def reset(self, twin: Twin) -> None: ...

    def goal(self, twin: Twin, tcp_W: F64, t_s: float) -> Goal:
        """Advance the phase from the true state, and return its goal."""
        ...


def reach_tilt(radius_m: float, scale: float) -> float:
    """Tilt of the approach axis, outward from straight down, at this distance from the base axis, rad.

    `scale` is the arm's `Build.scale`. Straight down reaches the table only and the heights above it not at all;
    leaning by 0.3..0.5 rad the SO-101 covers 0.12..0.30 m from the table up to 0.1 m above it (found by inverse
    kinematics).
    """
    return float(np.clip(0.3 + (radius_m / scale - 0.22) * 2.5, 0.12, 0.55))


class Expert:
    """Implements `Agent` for one arm of a live twin."""

    def __init__(self, twin: Twin, skill: Skill, arm: str | None = None, dt_s: float | None = None) -> None:
        self._twin = twin
        self.skill = skill
        self._arm = arm or next(iter(twin.scene.arms))
        self._gripper = twin.scene.rig.gripper_of(self._arm)
        self._dt = dt_s or 1.0 / twin.scene.rig.control_hz
        self._description = twin.scene.descriptions[self._arm]
        self._kinematics = Kinematics(self._description)
        self._base = ArmBase.of(twin.scene.rig, self._arm)
        self._scale = Build.of(twin.scene.rig, self._arm).scale
        self._spec = twin.arms[self._arm].spec
        index = twin.scene.arms[self._arm]
        self._dof = index.dof
        self._stiffness = np.abs(twin.model.actuator_biasprm[index.actuator, 1])
        self._correction = np.zeros(self._spec.n)
        self._q_path: F64 | None = None
        self._p_path: F64 | None = None
        self.disturb = 1.0  # share of the injected noise that the present goal can bear (see `sim.noise`)

    @property
    def arm(self) -> str:
        """The arm that it moves."""
        return self._arm

    def reset(self, seed: int) -> None:
        self.skill.reset(self._twin)
        self._correction = np.zeros(self._spec.n)
        self._q_path = None

    def act(self, obs: Observation) -> ActionChunk:
        twin = self._twin
        tcp, _ = twin.site(self._arm, self._description.grasp_site)
        goal = self.skill.goal(twin, tcp, obs.t_ns * 1e-9)
        self.disturb = goal.disturb
        q_true = twin.arms[self._arm].servos.true_q()
        if self._q_path is None or self._p_path is None:
            self._q_path, self._p_path = q_true.copy(), tcp.copy()
        # A disturbed arm: take up the path again from where the arm really is.
        if np.linalg.norm(self._p_path - tcp) > 0.06:
            self._q_path, self._p_path = q_true.copy(), tcp.copy()
        step = goal.speed_m_s * self._dt
        rows, p, q = [], self._p_path, self._q_path
        for k in range(2):
            way = goal.p_W - p
            far = float(np.linalg.norm(way))
            p = goal.p_W if far <= step else p + way * (step / far)
            q = self._inverse(q, p, goal)
            if k == 0:
                self._p_path, self._q_path = p, q
            rows.append(q)
        rows += [rows[1] + k * (rows[1] - rows[0]) for k in range(1, ROWS - 1)]
        sag = twin.data.qfrc_bias[self._dof] / self._stiffness
        error = self._q_path - q_true
        if goal.settle and np.linalg.norm(goal.p_W - self._p_path) < 1e-3 and np.abs(error).max() < 0.25:
            self._correction = np.clip(
                self._correction + CORRECTION_RATE * self._dt * error, -CORRECTION_MAX_RAD, CORRECTION_MAX_RAD
            )
        asked = np.clip(np.array(rows) + sag + self._correction, self._spec.q_min, self._spec.q_max)
        period = round(self._dt * 1e9)
        widths = {self._gripper: np.full(ROWS, goal.width_m)} if self._gripper else {}
        return ActionChunk(
            t0_ns=obs.t_ns,
            dt_ns=period,
            q={self._arm: asked},
            width_m=widths,
            expires_ns=obs.t_ns + (ROWS + 1) * period,
            source="script",
        )

    def _inverse(self, q0: F64, p_W: F64, goal: Goal) -> F64:
        """Joint angles whose grasp point is at `p_W`, leaning outward by the goal's tilt."""
        radius, bearing = self._base.bearing(p_W)
        tilt = goal.tilt_rad if goal.tilt_rad is not None else reach_tilt(radius, self._scale)
        x_axis = np.array([np.sin(tilt) * np.cos(bearing), np.sin(tilt) * np.sin(bearing), -np.cos(tilt)])
        y_axis = None
        if goal.yaw_rad is not None:
            # A five-joint arm keeps its approach axis in its own plane; the nearest closing axis that is
            # square to it is what it can reach.
            way = np.array([np.cos(goal.yaw_rad), np.sin(goal.yaw_rad), 0.0])
            y_axis = way - (way @ x_axis) * x_axis
            y_axis /= np.linalg.norm(y_axis)
        return self._kinematics.solve(
            q0,
            self._base.to_base(p_W),
            x_axis=self._base.turned(x_axis),
            y_axis=None if y_axis is None else self._base.turned(y_axis),
            restarts=0,
            iterations=12,
            position_tol_m=3e-4,
            axis_tol_rad=5e-3,
        ).q
