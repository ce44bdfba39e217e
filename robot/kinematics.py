"""Forward and inverse kinematics of one arm, from its description.

Everything is in the arm's base frame `B` and in the joint order of its `ArmModel`; angles rad, lengths m,
quaternions `wxyz`. An arm of five joints cannot reach every pose: position comes first and exactly, the
wanted directions are met as well as the remaining joints allow.
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
PATIENCE = 3  # iterations without progress after which steps get smaller
STUCK = 9  # iterations without progress after which a try ends
SEEDS = 600  # poses from which restarts are chosen


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
        self._bank: dict[int, tuple[F64, F64]] = {}  # site -> poses to restart from, and their frames

    @property
    def n(self) -> int:
        return len(self.model.joints)

    def fk(self, q: ArrayLike, site: str | None = None) -> tuple[F64, F64]:
        """Pose in B of `site` (default: the tool site) at `q` (n,) rad: p_B (3,) m, quat_wxyz (4,)."""
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
        *,
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
        fixed one; it is met as closely as the x axis allows. `yaw_rad` is short for a horizontal `y_axis` at
        that angle about B's z. Directions need not have length 1. When the first try does not converge, up to
        `restarts` more start from those of a fixed set of poses that are nearest to the goal; with 0 the
        answer stays near `q0`. Raises `RigError` for an unknown site and `ValueError` for wrong shapes or
        values that are not finite.
        """
        index = self._site(site or self.model.grasp_site)
        start = _vector("q0", q0, self.n)
        if yaw_rad is not None:
            if y_axis is not None:
                raise ValueError("give y_axis or yaw_rad, not both")
            y_axis = [np.cos(yaw_rad), np.sin(yaw_rad), 0.0]
        goal = _Goal(
            _vector("p_B", p_B, 3),
            None if x_axis is None else _unit("x_axis", x_axis),
            None if y_axis is None else _unit("y_axis", y_axis),
            position_tol_m,
            axis_tol_rad,
        )
        best = self._descend(start, index, goal, iterations)
        used = best.iterations
        if not best.converged and restarts > 0:
            for seed in self._nearest(index, goal, restarts):
                found = self._descend(seed, index, goal, iterations)
                used += found.iterations
                if found.converged or goal.cost(found) < goal.cost(best):
                    best = found
                if best.converged:
                    break
        return IkResult(best.q, best.position_error_m, best.axis_error_rad, used, best.converged)

    def step(
        self,
        q: ArrayLike,
        v_linear: ArrayLike,
        v_angular: ArrayLike | None,
        *,
        dt: float,
        dq_max: ArrayLike,
        site: str | None = None,
    ) -> F64:
        """One step of differential inverse kinematics: `q` (n,) rad after `dt` s.

        `v_linear` (3,) m/s and `v_angular` (3,) rad/s (None = free) are the wanted velocities of `site`
        (default: the tool site) in B; the linear one comes first. If a joint would exceed its `dq_max` (n,)
        rad/s, all are slowed by the same factor, so that the direction of motion stays. Joints at a limit
        stop there; the others make up for them as well as they can.
        """
        index = self._site(site or self.model.tool_site)
        q = np.clip(_vector("q", q, self.n), self.q_min, self.q_max)
        linear = _vector("v_linear", v_linear, 3) * dt
        turn = _NO_TURN if v_angular is None else _Turn(_vector("v_angular", v_angular, 3) * dt, _ALL)
        self._place(q)
        jac = self._jacobian(index)
        dq = self._within(q, lambda free: _two_tasks(jac * free, linear, turn, (DAMPING, DAMPING)))
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

    def _descend(self, q: F64, index: int, goal: _Goal, iterations: int) -> IkResult:
        q = np.clip(q, self.q_min, self.q_max)
        best = IkResult(q, np.inf, np.inf, 0, False)
        best_cost, stuck, count, reach = np.inf, 0, 0, STEP_MAX_RAD
        for count in range(1, iterations + 1):
            self._place(q)
            error = goal.p - self._data.site_xpos[index]
            turn, axis_error = goal.turn(self._data.site_xmat[index].reshape(3, 3))
            distance = _norm(error)
            found = IkResult(q, distance, axis_error, count, goal.met(distance, axis_error))
            if found.converged:
                return found
            cost = distance + 0.01 * axis_error
            stuck = 0 if cost < best_cost - 1e-6 else stuck + 1
            if cost < best_cost:
                best, best_cost = found, cost
            if stuck >= STUCK:
                break
            if stuck and stuck % PATIENCE == 0:  # swinging about a singular pose: back, and smaller steps
                q, reach = best.q, 0.2 * reach
                self._place(q)
                error = goal.p - self._data.site_xpos[index]
                turn = goal.turn(self._data.site_xmat[index].reshape(3, 3))[0]
            q = self._move(q, index, error, turn, reach)
        # The directions cannot be met; the position may.
        for _ in range(STUCK):
            if best.position_error_m < 0.1 * goal.position_tol_m:
                break
            self._place(best.q)
            q = self._move(best.q, index, goal.p - self._data.site_xpos[index], _NO_TURN, STEP_MAX_RAD)
            self._place(q)
            distance = float(np.linalg.norm(goal.p - self._data.site_xpos[index]))
            if distance >= best.position_error_m:
                break
            axis_error = goal.turn(self._data.site_xmat[index].reshape(3, 3))[1]
            best = IkResult(q, distance, axis_error, count, goal.met(distance, axis_error))
            count += 1
        return IkResult(best.q, best.position_error_m, best.axis_error_rad, count, best.converged)

    def _move(self, q: F64, index: int, error: F64, turn: _Turn, reach: float) -> F64:
        """One damped step from the placed pose `q` towards `error` (3,) m and, less so, `turn`."""
        jac = self._jacobian(index)
        damping = (_fade(_norm(error)), _fade(0.1 * _norm(turn.vector)))
        dq = self._within(q, lambda free: _two_tasks(jac * free, error, turn, damping))
        most = float(np.abs(dq).max())
        return np.clip(q + dq * min(1.0, reach / max(most, 1e-12)), self.q_min, self.q_max)

    def _nearest(self, index: int, goal: _Goal, count: int) -> F64:
        """The `count` poses of a fixed random set (SEEDS, n) that bring the site nearest to the goal."""
        if index not in self._bank:
            seeds = np.random.default_rng(101).uniform(self.q_min, self.q_max, (SEEDS, self.n))
            frames = np.empty((SEEDS, 12))
            for k, q in enumerate(seeds):
                self._place(q)
                frames[k, :3], frames[k, 3:] = self._data.site_xpos[index], self._data.site_xmat[index]
            self._bank[index] = seeds, frames
        seeds, frames = self._bank[index]
        cost = np.linalg.norm(frames[:, :3] - goal.p, axis=1)
        for want, first in ((goal.x, 3), (goal.y, 4)):
            if want is not None:
                cost = cost + 0.1 * np.arccos(np.clip(frames[:, first::3] @ want, -1.0, 1.0))
        return seeds[np.argsort(cost, kind="stable")[:count]]

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


@dataclass(frozen=True, slots=True)
class _Goal:
    p: F64  # (3,) m
    x: F64 | None  # (3,) unit
    y: F64 | None  # (3,) unit
    position_tol_m: float
    axis_tol_rad: float

    def met(self, distance_m: float, axis_error_rad: float) -> bool:
        return distance_m < self.position_tol_m and axis_error_rad < self.axis_tol_rad

    def cost(self, result: IkResult) -> float:
        return 1e3 * max(0.0, result.position_error_m - self.position_tol_m) + result.axis_error_rad

    def turn(self, rotation: F64) -> tuple[_Turn, float]:
        """The turn still to be done from `rotation` (3, 3), and the largest angle missed, rad."""
        x, y = rotation[:, 0], rotation[:, 1]
        if self.x is None and self.y is None:
            return _NO_TURN, 0.0
        if self.x is None or self.y is None:
            have, want = (y, self.y) if self.x is None else (x, self.x)
            assert want is not None
            turn = _between(have, want)
            return _Turn(turn, _ALL - np.outer(have, have)), _norm(turn)
        tilt = _between(x, self.x)
        wanted = self.y - (self.y @ x) * x  # closing direction as seen along the approach
        roll = float(np.arctan2(x @ _cross(y, wanted), y @ wanted))
        return _Turn(tilt + roll * x, _ALL), max(_norm(tilt), abs(roll))


@dataclass(frozen=True, slots=True)
class _Turn:
    vector: F64  # (3,) rad, rotation vector in B
    rows: F64  # (k, 3) directions in which it matters; k = 0: the site may turn as it likes


_ALL = np.eye(3)
_NO_TURN = _Turn(np.zeros(3), _ALL[:0])


def _cross(a: F64, b: F64) -> F64:
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _norm(vector: F64) -> float:
    return float(np.sqrt(vector @ vector))


def _fade(error_m: float) -> float:
    return DAMPING * error_m / (error_m + DAMPING_FADE_M)


def _two_tasks(jac: F64, linear: F64, turn: _Turn, damping: tuple[float, float]) -> F64:
    """Joint step (n,) for a displacement (3,) m and, with the freedom left, a turn; lambda^2 of either."""
    move = jac[:3]
    gram = move @ move.T
    dq = move.T @ np.linalg.solve(gram + (damping[0] + 1e-9) * _ALL, linear)
    if not len(turn.rows):
        return dq
    # Null space with hardly any damping, or the turn would disturb the position.
    null = np.eye(len(dq)) - move.T @ np.linalg.solve(gram + 1e-6 * _ALL, move)
    rest = turn.rows @ jac[3:] @ null
    missing = turn.rows @ (turn.vector - jac[3:] @ dq)
    eye = np.eye(len(missing))
    return dq + rest.T @ np.linalg.solve(rest @ rest.T + (damping[1] + 1e-6) * eye, missing)


def _between(a: F64, b: F64) -> F64:
    """Rotation vector (3,) rad that turns the unit vector `a` to `b` the short way."""
    axis = _cross(a, b)
    sine = _norm(axis)
    cosine = float(a @ b)
    if sine < 1e-9:
        if cosine > 0.0:
            return np.zeros(3)
        axis = _cross(a, _ALL[int(np.argmin(np.abs(a)))])  # opposite: any axis across will do
        return axis * (np.pi / _norm(axis))
    return axis * (float(np.arctan2(sine, cosine)) / sine)


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
