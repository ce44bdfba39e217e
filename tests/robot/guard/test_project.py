"""The nearest motion within linear limits, against SciPy's general solver."""

import numpy as np
import pytest
from scipy.optimize import minimize
from twinloop.robot.guard.project import project

ALL = np.ones(6)


def peer(wanted, rows, least, free, low, high):
    """The same by sequential quadratic programming."""
    held = [(w, w) if f == 0.0 else (lo, hi) for w, f, lo, hi in zip(wanted, free, low, high, strict=True)]
    return minimize(
        lambda x: 0.5 * float((x - wanted) @ (x - wanted)),
        np.clip(wanted, low, high),
        jac=lambda x: x - wanted,
        bounds=held,
        constraints={"type": "ineq", "fun": lambda x: rows @ x - least, "jac": lambda x: rows},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )


def test_it_is_the_nearest_of_all_motions_within_the_limits():
    rng, solved = np.random.default_rng(0), 0
    for _ in range(200):
        wanted, rows = rng.normal(size=6) * 0.1, rng.normal(size=(rng.integers(1, 5), 6))
        least, free = rng.normal(size=len(rows)) * 0.05, ALL.copy()
        free[5] = 0.0
        low, high = np.full(6, -0.15), np.full(6, 0.15)
        low[5] = high[5] = wanted[5]
        ours, theirs = (
            project(wanted, rows, least, free, low, high),
            peer(wanted, rows, least, free, low, high),
        )
        if not theirs.success:
            continue
        solved += 1
        assert ours is not None and ours == pytest.approx(theirs.x, abs=1e-6)
    assert solved > 150


def test_a_motion_that_keeps_all_limits_is_not_touched():
    wanted = np.full(6, 0.1)
    assert project(wanted, ALL[None], np.zeros(1), ALL) is wanted


def test_limits_that_contradict_each_other_have_no_motion():
    assert project(np.zeros(6), np.stack([ALL, -ALL]), np.array([1.0, 1.0]), ALL) is None
    fixed = np.zeros(6)
    assert project(np.zeros(6), ALL[None], np.array([1.0]), fixed) is None
