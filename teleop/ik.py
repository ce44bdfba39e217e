"""Differential inverse kinematics for people: a hand's velocity becomes a joint step, every cycle, in microseconds.

Position comes first, the turn takes what freedom is left, posture what is left then (prioritised damped least
squares; Nakamura, Hanafusa, Yoshikawa 1987, "Task-priority based redundancy control"). Poses and velocities are in
the arm's base frame `B`, m and rad.
"""

from __future__ import annotations

import importlib.util
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg.lapack import get_lapack_funcs

from ..robot.errors import RigError, UsageError, nearest
from ..robot.models import ArmModel
from ..robot.types import F64, JointSpec

DAMPING = 4e-4  # lambda^2 of position, m2: smaller ones leave the path by centimetres near singular poses
TURN_DAMPING = 4e-3  # lambda^2 of the turn, whose Jacobian is of order 1
NULL_DAMPING = 1e-7  # of the projector: a damped one would let the turn disturb the position
POSTURE_RATE = 1.0  # 1/s: how fast idle freedom drifts to the posture
SOLVERS = ("dls", "mink")
(_posv,) = get_lapack_funcs(("posv",), (np.zeros((1, 1)),))  # a third of the time of numpy.linalg.solve


class Ik(Protocol):
    """Differential inverse kinematics of one arm. Not for two threads at once."""

    def pose(self, q: ArrayLike) -> tuple[F64, F64]:
        """Position (3,) m and rotation (3, 3) of the site in B at `q` (n,) rad."""
        ...

    def step(self, q: ArrayLike, linear: ArrayLike, angular: ArrayLike | None, dt_s: float) -> F64:
        """`q` (n,) rad after `dt_s` of the site moving at `linear` (3,) m/s and turning at `angular` (3,) rad/s
        (None: as it likes), within joint and velocity limits."""
        ...


class DampedIk:
    """Implements `Ik` for the arm of `model` within the limits of `spec`; `site` defaults to the grasp site.

    `posture` (n,) rad is where joints drift that the task leaves free; default: the description's home pose.
    A joint at its limit stops and the others make up for it; when a joint would be too fast, all are slowed by the
    same factor, so that the direction of the motion stays.
    """

    def __init__(
        self, model: ArmModel, spec: JointSpec, *, site: str | None = None, posture: ArrayLike | None = None
    ) -> None:
        arm = mujoco.MjSpec.from_file(str(model.mjcf))
        for geom in list(arm.geoms):
            arm.delete(geom)
        self._mj = arm.compile()
        self._data = mujoco.MjData(self._mj)
        self._qpos = np.array([int(self._mj.joint(name).qposadr[0]) for name in model.joints])
        self._dof = np.array([int(self._mj.joint(name).dofadr[0]) for name in model.joints])
        self._site = _site(self._mj, model, site or model.grasp_site)
        self._low, self._high, self._dq_max = spec.q_min, spec.q_max, spec.dq_max
        home = model.home_q_rad if posture is None else np.asarray(posture, np.float64)
        self._posture = np.clip(home, spec.q_min, spec.q_max)
        self._both = np.zeros((6, self._mj.nv))
        self._linear, self._turn = self._both[:3], self._both[3:]
        self._eye = np.eye(spec.n)
        self._redundant = spec.n > 6  # else both tasks leave nothing free, but at singular poses
        self._per_dq_max = 1.0 / spec.dq_max
        self._damp, self._damp_turn, self._damp_null = (
            value * np.eye(3) for value in (DAMPING, TURN_DAMPING, NULL_DAMPING)
        )

    def pose(self, q: ArrayLike) -> tuple[F64, F64]:
        self._place(q)
        return self._data.site_xpos[self._site].copy(), self._data.site_xmat[self._site].reshape(3, 3).copy()

    def step(self, q: ArrayLike, linear: ArrayLike, angular: ArrayLike | None, dt_s: float) -> F64:
        start = np.minimum(np.maximum(q, self._low), self._high)
        move = np.asarray(linear, np.float64) * dt_s
        turn = None if angular is None else np.asarray(angular, np.float64) * dt_s
        if not move.any() and (turn is None or not turn.any()):
            return start  # nobody asks for anything: posture is no reason to move
        self._place(start)
        mujoco.mj_jacSite(self._mj, self._data, self._linear, self._turn, self._site)
        jacobian = self._both[:, self._dof]
        drift = (self._posture - start) * min(1.0, POSTURE_RATE * dt_s)
        dq = self._solve(jacobian, move, turn, drift)
        after = start + dq
        inside = np.minimum(np.maximum(after, self._low), self._high)
        if (inside != after).any():
            dq = self._within(start, dq, jacobian, move, turn, drift)
        share = float((np.abs(dq) * self._per_dq_max).max()) / dt_s
        if share > 1.0:
            dq = dq / share
        return np.minimum(np.maximum(start + dq, self._low), self._high)

    def _within(self, start: F64, dq: F64, jacobian: F64, move: F64, turn: F64 | None, drift: F64) -> F64:
        """The step again and again, without the joints that it would take out of their range."""
        free = np.ones(len(start), bool)
        for _ in range(len(start)):
            out = (start + dq < self._low) & (dq < 0.0) | (start + dq > self._high) & (dq > 0.0)
            if not (out & free).any():
                break
            free &= ~out
            dq = self._solve(jacobian * free, move, turn, drift * free)
        return dq * free

    def _place(self, q: ArrayLike) -> None:
        self._data.qpos[self._qpos] = q
        mujoco.mj_kinematics(self._mj, self._data)
        mujoco.mj_comPos(self._mj, self._data)

    def _solve(self, jacobian: F64, move: F64, turn: F64 | None, drift: F64) -> F64:
        """Joint step (n,) for a displacement (3,) m, then a turn (3,) rad, then a drift (n,) rad."""
        first = jacobian[:3]
        gram = first @ first.T
        back = first.T
        dq = back @ _solved(gram + self._damp, move)
        null = self._eye - back @ _solved(gram + self._damp_null, first)
        if turn is None:
            return dq + null @ drift
        second = jacobian[3:]
        rest = second @ null
        gram = rest @ rest.T
        dq += rest.T @ _solved(gram + self._damp_turn, turn - second @ dq)
        if self._redundant:
            dq += (null - rest.T @ _solved(gram + self._damp_null, rest)) @ drift
        return dq


class MinkIk:
    """Implements `Ik` with mink's quadratic programme (extra `mink`): limits inside the problem, slower."""

    def __init__(self, model: ArmModel, spec: JointSpec, *, site: str | None = None) -> None:
        check_solver("mink")
        import mink

        arm = mujoco.MjSpec.from_file(str(model.mjcf))
        for geom in list(arm.geoms):
            arm.delete(geom)
        for name, low, high in zip(spec.names, spec.q_min, spec.q_max, strict=True):
            arm.joint(name).range = [low, high]
        self._mj = arm.compile()
        name = site or model.grasp_site
        _site(self._mj, model, name)
        self._name = name
        self._qpos = np.array([int(self._mj.joint(joint).qposadr[0]) for joint in model.joints])
        self._configuration = mink.Configuration(self._mj)
        self._task = mink.FrameTask(name, "site", position_cost=1.0, orientation_cost=0.05)
        fastest = dict(zip(spec.names, spec.dq_max.tolist(), strict=True))
        self._limits = [mink.ConfigurationLimit(self._mj), mink.VelocityLimit(self._mj, fastest)]
        self._se3, self._solve = mink.SE3, mink.solve_ik
        self._low, self._high = spec.q_min, spec.q_max

    def pose(self, q: ArrayLike) -> tuple[F64, F64]:
        self._place(q)
        frame = self._configuration.get_transform_frame_to_world(self._name, "site").as_matrix()
        return frame[:3, 3].copy(), frame[:3, :3].copy()

    def step(self, q: ArrayLike, linear: ArrayLike, angular: ArrayLike | None, dt_s: float) -> F64:
        start = np.clip(q, self._low, self._high)
        position, rotation = self.pose(start)
        move, turn = (
            np.asarray(linear, np.float64),
            np.asarray(0.0 if angular is None else angular, np.float64),
        )
        if not move.any() and not turn.any():
            return start
        goal = np.eye(4)
        goal[:3, 3] = position + move * dt_s
        goal[:3, :3] = rotation if angular is None else rotation_of(turn * dt_s) @ rotation
        self._task.set_orientation_cost(0.0 if angular is None else 0.05)
        self._task.set_target(self._se3.from_matrix(goal))
        speed = self._solve(
            self._configuration, [self._task], dt_s, "daqp", damping=DAMPING, limits=self._limits
        )
        after = self._configuration.integrate(speed, dt_s)[self._qpos]
        return np.clip(after, self._low, self._high)

    def _place(self, q: ArrayLike) -> None:
        whole = self._configuration.q.copy()
        whole[self._qpos] = q
        self._configuration.update(whole)


def check_solver(name: str) -> None:
    """Raises `UsageError` unless `name` is one of `SOLVERS`, and installed."""
    if name not in SOLVERS:
        raise UsageError(f"--ik: unknown solver '{name}'{nearest(name, SOLVERS)}")
    if name == "mink" and importlib.util.find_spec("mink") is None:
        raise UsageError("--ik mink: mink is not installed; pip install 'twinloop[mink]'")


def make_ik(solver: str, model: ArmModel, spec: JointSpec, *, site: str | None = None) -> Ik:
    """The `Ik` called `solver`. Raises as `check_solver` does."""
    check_solver(solver)
    kind = DampedIk if solver == "dls" else MinkIk
    return kind(model, spec, site=site)


def rotation_of(vector: ArrayLike) -> F64:
    """Rotation matrix (3, 3) of a rotation vector (3,) rad."""
    quat, matrix = np.zeros(4), np.zeros(9)
    given = np.asarray(vector, np.float64)
    angle = float(np.linalg.norm(given))
    axis = given / angle if angle > 0.0 else np.array([1.0, 0.0, 0.0])
    mujoco.mju_axisAngle2Quat(quat, axis, angle)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)


def rotation_vector(rotation: F64) -> F64:
    """Rotation vector (3,) rad, shorter than pi, of a rotation matrix (3, 3)."""
    quat, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(rotation).ravel())
    mujoco.mju_quat2Vel(vector, quat, 1.0)
    return vector


def _solved(matrix: F64, right: F64) -> F64:
    """matrix^-1 right for a symmetric positive definite matrix."""
    return _posv(matrix, right)[1]


def _site(mj: mujoco.MjModel, model: ArmModel, name: str) -> int:
    index = mujoco.mj_name2id(mj, mujoco.mjtObj.mjOBJ_SITE, name)
    if index < 0:
        sites = [mj.site(k).name for k in range(mj.nsite)]
        raise RigError(f"arm description '{model.name}' has no site '{name}'{nearest(name, sites)}")
    return index
