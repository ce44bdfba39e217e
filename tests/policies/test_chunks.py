"""Properties of the ensemble of overlapping chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twinloop.policies.chunks import Blend, Ensemble

DT = 33_333_333  # ns


def filled(blend: Blend, decay: float, steps: int, late: list[int], rows: int = 8) -> tuple[Ensemble, int]:
    """`steps` chunks of the straight line q = t, each a step after the last plus `late` ns; ends now."""
    ensemble, now = Ensemble(blend, decay), 0
    for k in range(steps):
        now = k * DT + late[k]
        t_s = np.arange(now, now + rows * DT, DT) / 1e9
        ensemble.add(now, DT, np.stack([t_s, 2 * t_s], 1))
    return ensemble, now


@given(
    value=st.floats(-3, 3),
    decay=st.floats(-1, 1),
    late=st.lists(st.integers(0, DT - 1), min_size=12, max_size=12),
    steps=st.integers(1, 12),
)
def test_a_constant_plan_stays_constant(value: float, decay: float, late: list[int], steps: int) -> None:
    ensemble = Ensemble("average", decay)
    now = 0
    for k in range(steps):
        now = k * DT + late[k]
        ensemble.add(now, DT, np.full((8, 3), value))
    t0, rows = ensemble.plan(now)
    assert t0 == now
    assert rows.shape == (8, 3)
    np.testing.assert_allclose(rows, value, atol=1e-12)


@given(
    decay=st.floats(-1, 1),
    late=st.lists(st.integers(0, DT - 1), min_size=12, max_size=12),
    steps=st.integers(1, 12),
)
def test_chunks_that_agree_in_time_give_that_motion(decay: float, late: list[int], steps: int) -> None:
    """A late control step shifts nothing: chunks are matched by time, not by counting."""
    ensemble, now = filled("average", decay, steps, late)
    _, rows = ensemble.plan(now)
    t_s = (now + DT * np.arange(len(rows))) * 1e-9
    np.testing.assert_allclose(rows, np.stack([t_s, 2 * t_s], 1), atol=1e-9)


def test_expired_rows_have_no_weight() -> None:
    ensemble = Ensemble("average", 0.0)
    ensemble.add(0, DT, np.full((4, 1), 100.0))  # covers 0..3
    ensemble.add(2 * DT, DT, np.zeros((4, 1)))  # covers 2..5
    _, rows = ensemble.plan(2 * DT)
    np.testing.assert_allclose(rows[:, 0], [50.0, 50.0, 0.0, 0.0])
    _, rows = ensemble.plan(4 * DT)
    np.testing.assert_allclose(rows[:, 0], [0.0, 0.0])


def test_weights_are_those_of_the_paper() -> None:
    """w_i = exp(-m i), i = 0 for the oldest (arXiv 2304.13705, section IV-B)."""
    ensemble = Ensemble("average", 0.5)
    for k, value in enumerate((1.0, 2.0, 4.0)):
        ensemble.add(k * DT, DT, np.full((5, 1), value))
    w = np.exp(-0.5 * np.arange(3))
    _, rows = ensemble.plan(2 * DT)
    assert rows[0, 0] == pytest.approx((w @ [1.0, 2.0, 4.0]) / w.sum())
    # Row 4, due at 6 DT, is covered by the newest chunk alone; row 3 by the last two.
    assert rows[4, 0] == pytest.approx(4.0)
    assert rows[3, 0] == pytest.approx((w[0] * 2 + w[1] * 4) / (w[0] + w[1]))


def test_newest_executes_the_last_chunk_alone() -> None:
    ensemble = Ensemble("newest")
    ensemble.add(0, DT, np.zeros((6, 1)))
    ensemble.add(DT, DT, np.arange(6.0)[:, None])
    t0, rows = ensemble.plan(3 * DT)
    assert t0 == 3 * DT
    np.testing.assert_allclose(rows[:, 0], [2.0, 3.0, 4.0, 5.0])


def test_nothing_is_left_after_the_end() -> None:
    ensemble = Ensemble()
    assert len(ensemble.plan(0)[1]) == 0
    ensemble.add(0, DT, np.zeros((4, 1)))
    assert len(ensemble.plan(3 * DT)[1]) == 1
    assert len(ensemble.plan(3 * DT + 1)[1]) == 0
    ensemble.add(0, DT, np.zeros((4, 1)))
    ensemble.reset()
    assert len(ensemble.plan(0)[1]) == 0


def test_a_plan_never_begins_before_its_newest_chunk() -> None:
    ensemble = Ensemble()
    ensemble.add(5 * DT, DT, np.ones((4, 1)))
    t0, rows = ensemble.plan(0)
    assert t0 == 5 * DT
    np.testing.assert_allclose(rows, 1.0)


def test_non_finite_chunks_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Ensemble().add(0, DT, np.array([[np.nan]]))
