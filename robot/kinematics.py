"""Forward and inverse kinematics of one arm, from its description.

Everything is in the arm's base frame `B` and in the joint order of its `ArmModel`; angles rad, lengths m,
quaternions `wxyz`. An arm of five joints cannot reach every pose: position comes first and exactly, the wanted
directions are met as well as the remaining joints allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from .errors import RigError, nearest
from .models import ArmModel
from .types import F64

DAMPING = 4e-4  # lambda^2 of damped least squares far from the goal; vanishes with the error
DAMPING_FADE_M = 0.02  # error at which half of it is left
STEP_MAX_RAD = 0.5  # longest step of one joint in one iteration


@dataclass(frozen=True, slots=True)
class IkResult:
    """What `Kinematics.solve` found; with `converged` False, the best of its tries."""

    q: F64  # (n,) rad, inside the limits
    position_error_m: float
    axis_error_rad: float  # larger of the angles by which the wanted directions are missed; 0 if none wanted
    iterations: int  # of all tries
    converged: bool


class Kinematics:
    """Kinematics of the arm that `model` describes; its gripper stays at `gripper_rad`.

    `q_min`, `q_max` (n,) rad narrow the limits; without them the description's joint ranges hold. Not for use
    by two threads at once.
    """

    def __init__(
        self,
        model: ArmModel,
        q_min: ArrayLike | None = None,
        q_max: ArrayLike | None = None,
        gripper_rad: float = 0.0,
    ) -> None:
        self.model = model
        spec = mujoco.MjSpec.from_file(str(model.mjcf))
        for geom in list(spec.geoms):
            spec.delete(geom)
        self._mj = spec.compile()
        self._data = mujoco.MjData(self._mj)
        self._qpos = np.array([int(self._mj.joint(name).qposadr[0]) for name in model.joints])
        self._dof = np.array([int(self._mj.joint(name).dofadr[0]) for name in model.joints])
        if model.gripper_joint is not None:
            self._data.qpos[int(self._mj.joint(model.gripper_joint).qposadr[0])] = gripper_rad
        lo, hi = model.joint_ranges()
        self.q_min = lo if q_min is None else np.maximum(lo, np.asarray(q_min, dtype=np.float64))
        self.q_max = hi if q_max is None else np.minimum(hi, np.asarray(q_max, dtype=np.float64))
        self._jac = np.zeros((6, self._mj.nv))
        self._seeds = np.random.default_rng(101).uniform(self.q_min, self.q_max, (32, len(model.joints)))

    @property
    def n(self) -> int:
        return len(self.model.joints)

    def fk(self, q: ArrayLike, site: str | None = None) -> tuple[F64, F64]:
        """Pose in B of `site` (default: the tool site) at `q` (n,) rad: p_B (3,) m, quat_wxyz (4,), w >= 0."""
        index = self._site(site or self.model.tool_site)
        self._place(q)
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, self._data.site_xmat[index])
        return self._data.site_xpos[index].copy(), quat if quat[0] >= 0.0 else -quat

    def jacobian(self, q: ArrayLike, site: str | None = None) -> F64:
        """Jacobian (6, n) of `site` in B at `q`: rows linear (m/rad), then angular (rad/rad)."""
        index = self._site(site or self.model.tool_site)
        self._place(q)
        return self._jacobian(index).copy()

    def solve(
        self,
        q0: ArrayLike,
        p_B: ArrayLike,
        x_axis: ArrayLike | None = None,
        y_axis: ArrayLike | None = None,
        yaw_rad: float | None = None,
        site: str | None = None,
        position_tol_m: float = 1e-4,
        axis_tol_rad: float = 2e-3,
        iterations: int = 60,
        restarts: int = 8,
    ) -> IkResult:
        """Joint angles that bring `site` (default: the grasp site) to `p_B` (3,) m, starting from `q0` (n,).

        `x_axis` (3,): wanted direction of the site's x axis, for the grasp site the approach. `y_axis` (3,):
        wanted direction of its y axis, for the grasp site the closing direction, from the moving pad to the
        fixed one; it is met as closely as the x axis allows. `yaw_rad` is short for a horizontal `y_axis` at that
        angle about B's z. Directions need not have length 1. When the first try does not converge, up to
        `restarts` more start from home, rest and fixed random poses. Raises `RigError` for an unknown site and
        `ValueError` for wrong shapes or values that are not finite.
        """
        index = self._site(site or self.model.grasp_site)
        start = _vector("q0", q0, self.n)
        goal = _vector("p_B", p_B, 3)
        x_goal = None if x_axis is None else _unit("x_axis", x_axis)
        if yaw_rad is not None:
            if y_axis is not None:
                raise ValueError("give y_axis or yaw_rad, not both")
            y_axis = [np.cos(yaw_rad), np.sin(yaw_rad), 0.0]
        y_goal = None if y_axis is None else _unit("y_axis", y_axis)

        def attempt(q: F64) -> IkResult:
            return self._descend(q, index, goal, x_goal, y_goal, position_tol_m, axis_tol_rad, iterations)

        best = attempt(start)
        used = best.iterations
        for q in [self.model.home_q_rad, self.model.rest_q_rad, *self._seeds][: max(0, restarts)]:
            if best.converged:
                break
            found = attempt(np.asarray(q))
            used += found.iterations
            if found.converged or _cost(found, position_tol_m) < _cost(best, position_tol_m):
                best = found
        return IkResult(best.q, best.position_error_m, best.axis_error_rad, used, best.converged)

    def step(
        self,
        q: ArrayLike,
        v_linear: ArrayLike,
        v_angular: ArrayLike | None,
        dt: float,
        dq_max: ArrayLike,
        site: str | None = None,
    ) -> F64:
        """One step of differential inverse kinematics: `q` (n,) rad after `dt` s.

        `v_linear` (3,) m/s and `v_angular` (3,) rad/s (None = free) are the wanted velocities of `site`
        (default: the tool site) in B. If a joint would exceed its `dq_max` (n,) rad/s, all are slowed by the same
        factor, so that the direction of motion stays. Joints at a limit stop there; the others make up for
        them.
        """
        index = self._site(site or self.model.tool_site)
        q = np.clip(_vector("q", q, self.n), self.q_min, self.q_max)
        linear = _vector("v_linear", v_linear, 3) * dt
        angular = None if v_angular is None else _vector("v_angular", v_angular, 3) * dt
        self._place(q)
        jac = self._jacobian(index)
        dq = self._within(q, lambda free: _two_tasks(jac, linear, angular, _ALL, free, DAMPING))
        most = float(np.max(np.abs(dq) / (np.broadcast_to(np.asarray(dq_max, float), q.shape) * dt)))
        return np.clip(q + dq / max(1.0, most), self.q_min, self.q_max)

    def _site(self, name: str) -> int:
        index = mujoco.mj_name2id(self._mj, mujoco.mjtObj.mjOBJ_SITE, name)
        if index < 0:
            sites = [self._mj.site(i).name for i in range(self._mj.nsite)]
            raise RigError(f"arm description '{self.model.name}' has no site '{name}'{nearest(name, sites)}")
        return index

    def _place(self, q: ArrayLike) -> None:
        self._data.qpos[self._qpos] = q
        mujoco.mj_kinematics(self._mj, self._data)
        mujoco.mj_comPos(self._mj, self._data)

    def _jacobian(self, index: int) -> F64:
        mujoco.mj_jacSite(self._mj, self._data, self._jac[:3], self._jac[3:], index)
        return self._jac[:, self._dof]

    def _descend(
        self,
        q: F64,
        index: int,
        goal: F64,
        x_goal: F64 | None,
        y_goal: F64 | None,
        position_tol_m: float,
        axis_tol_rad: float,
        iterations: int,
    ) -> IkResult:
        q = np.clip(q, self.q_min, self.q_max)
        best: tuple[float, F64, float, float] | None = None
        stuck, count = 0, 0
        for count in range(1, iterations + 1):
            self._place(q)
            error = goal - self._data.site_xpos[index]
            turn, rows, axis_error = _turn(self._data.site_xmat[index].reshape(3, 3), x_goal, y_goal)
            distance = float(np.sqrt(error @ error))
            if distance < position_tol_m and axis_error < axis_tol_rad:
                return IkResult(q, distance, axis_error, count, True)
            cost = distance + 0.01 * axis_error
            if best is None or cost < best[0] - 1e-7:
                stuck = 0
            else:
                stuck += 1
            if best is None or cost < best[0]:
                best = (cost, q, distance, axis_error)
            if stuck >= 8:
                break
            size = distance + 0.1 * axis_error
            damping = DAMPING * size / (size + DAMPING_FADE_M)
            jac = self._jacobian(index)
            dq = self._within(q, lambda free: _two_tasks(jac, error, turn, rows, free, damping))
            most = float(np.abs(dq).max())
            q = np.clip(q + dq * min(1.0, STEP_MAX_RAD / max(most, 1e-12)), self.q_min, self.q_max)
        assert best is not None
        return IkResult(best[1], best[2], best[3], count, False)

    def _within(self, q: F64, solve: Callable[[F64], F64]) -> F64:
        """`solve(free)` again and again, until no joint at a limit is asked to leave its range."""
        free = np.ones(self.n)
        dq = solve(free)
        for _ in range(self.n):
            out = ((q <= self.q_min + 1e-9) & (dq < 0.0)) | ((q >= self.q_max - 1e-9) & (dq > 0.0))
            if not out.any():
                break
            free = np.where(out, 0.0, free)
            dq = solve(free)
        return dq * free


_ALL = np.eye(3)


def _two_tasks(jac: F64, linear: F64, turn: F64 | None, rows: F64, free: F64, damping: float) -> F64:
    """Joint step (n,) for a displacement (3,) m and, with the freedom left, a turn (3,) rad.

    `rows` (k, 3) are the directions in which the turn matters, `free` (n,) is 0 for joints that may not move.
    """
    jac = jac * free
    move = jac[:3]
    gram = move @ move.T
    inverse = move.T @ np.linalg.inv(gram + damping * _ALL)
    dq = inverse @ linear
    if turn is None or not len(rows):
        return dq
    # Null space with much less damping, or the turn would disturb the position.
    null = np.eye(len(free)) - move.T @ np.linalg.solve(gram + 1e-3 * damping * _ALL + 1e-9 * _ALL, move)
    rest = rows @ jac[3:] @ null
    missing = rows @ turn - rows @ (jac[3:] @ dq)
    return dq + rest.T @ np.linalg.solve(rest @ rest.T + (damping + 1e-6) * np.eye(len(rows)), missing)


def _turn(rotation: F64, x_goal: F64 | None, y_goal: F64 | None) -> tuple[F64, F64, float]:
    """Rotation vector (3,) rad that is still to be done, the directions (k, 3) that count, and the error, rad."""
    x, y = rotation[:, 0], rotation[:, 1]
    if x_goal is None and y_goal is None:
        return np.zeros(3), np.zeros((0, 3)), 0.0
    if x_goal is None or y_goal is None:
        have, want = (x, x_goal) if x_goal is not None else (y, y_goal)
        assert want is not None
        turn = _between(have, want)
        return turn, _ALL - np.outer(have, have), float(np.sqrt(turn @ turn))
    tilt = _between(x, x_goal)
    # Closing direction as seen along the approach.
    wanted = y_goal - (y_goal @ x) * x
    roll = float(np.arctan2(x @ np.cross(y, wanted), y @ wanted))
    return tilt + roll * x, _ALL, max(float(np.sqrt(tilt @ tilt)), abs(roll))


def _between(a: F64, b: F64) -> F64:
    """Rotation vector (3,) rad that turns the unit vector `a` to `b` the short way."""
    axis = np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
    sine = float(np.sqrt(axis @ axis))
    cosine = float(a @ b)
    if sine < 1e-9:
        if cosine > 0.0:
            return np.zeros(3)
        axis = np.cross(a, np.eye(3)[int(np.argmin(np.abs(a)))])  # opposite: any axis across will do
        return np.pi * axis / np.linalg.norm(axis)
    return axis * (float(np.arctan2(sine, cosine)) / sine)


def _cost(result: IkResult, position_tol_m: float) -> float:
    return 1e3 * max(0.0, result.position_error_m - position_tol_m) + result.axis_error_rad


def _vector(name: str, values: ArrayLike, n: int) -> F64:
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (n,) or not np.isfinite(vector).all():
        raise ValueError(f"{name} must be {n} finite numbers, not {values!r}")
    return vector


def _unit(name: str, values: ArrayLike) -> F64:
    vector = _vector(name, values, 3)
    length = float(np.linalg.norm(vector))
    if length < 1e-9:
        raise ValueError(f"{name} must have a direction, not {values!r}")
    return vector / length
