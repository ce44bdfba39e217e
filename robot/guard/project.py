"""The nearest motion to the one wanted that keeps linear limits."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from ..types import F64

INFEASIBLE = 1e-9  # what is left of the dual problem where no motion keeps all limits


def project(
    wanted: F64, rows: F64, least: F64, free: F64, low: F64 | None = None, high: F64 | None = None
) -> F64 | None:
    """The vector (M,) nearest to `wanted` with rows (k, M) @ it >= `least` (k,), within `low`..`high` (M,).

    `free` (M,) is 1, or 0 for components that stay as wanted; None for `low` and `high` is no bound. Returns
    None where there is no such vector. Solved exactly, as a least distance problem by non-negative least
    squares: Lawson and Hanson, Solving Least Squares Problems (1974), chapter 23.
    """
    sides, need = rows * free, least - rows @ wanted
    moving = free > 0.0
    bounds = np.diag(free)[moving]
    if low is not None:
        sides, need = np.vstack([sides, bounds]), np.concatenate([need, (low - wanted)[moving]])
    if high is not None:
        sides, need = np.vstack([sides, -bounds]), np.concatenate([need, (wanted - high)[moving]])
    if need.max() <= 0.0:
        return wanted
    matrix = np.vstack([sides.T, need])
    goal = np.zeros(wanted.size + 1)
    goal[-1] = 1.0
    try:
        multipliers, _ = nnls(matrix, goal)
    except RuntimeError:  # no convergence
        return None
    rest = matrix @ multipliers - goal
    if -rest[-1] < INFEASIBLE:
        return None
    return wanted - rest[:-1] / rest[-1]
