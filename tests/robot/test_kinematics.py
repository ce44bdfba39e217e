"""Kinematics of the SO-101: round trips, limits, best answers where none is exact, differential steps."""

from __future__ import annotations

import time

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twinloop.robot.errors import RigError
from twinloop.robot.kinematics import Kinematics
from twinloop.robot.models import load_model

SO101 = load_model("so101")
LOW, HIGH = SO101.joint_ranges()


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(SO101)


def axes(kinematics, q, site="grasp"):
    """Position and the columns x, y of a site's rotation."""
    position, wxyz = kinematics.fk(q, site)
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, wxyz)
    matrix = matrix.reshape(3, 3)
    return position, matrix[:, 0], matrix[:, 1]


def random_poses(count, seed=7):
    return np.random.default_rng(seed).uniform(LOW, HIGH, (count, 5))


def test_round_trip_on_500_reachable_poses(kinematics):
    converged, near = 0, 0
    for q in random_poses(500):
        position, x, y = axes(kinematics, q)
        found = kinematics.solve(SO101.home_q_rad, position, x_axis=x, y_axis=y)
        assert (found.q >= LOW).all() and (found.q <= HIGH).all()
        if found.converged:
            converged += 1
            reached, x2, y2 = axes(kinematics, found.q)
            assert np.linalg.norm(reached - position) < 1e-4
            assert np.arccos(min(1.0, x @ x2)) < 5e-3 and np.arccos(min(1.0, y @ y2)) < 5e-3
        near += found.position_error_m < 1e-3
    assert converged >= 490 and near == 500


def test_positions_alone_are_always_reached(kinematics):
    for q in random_poses(300, seed=8):
        position = kinematics.fk(q, "grasp")[0]
        found = kinematics.solve(SO101.home_q_rad, position)
        assert found.converged and found.position_error_m < 1e-4 and found.axis_error_rad == 0.0


def test_from_nearby_a_solve_takes_few_iterations_and_stays_nearby(kinematics):
    rng = np.random.default_rng(9)
    taken, times = [], []
    for q in rng.uniform(0.8 * LOW, 0.8 * HIGH, (200, 5)):
        position, x, y = axes(kinematics, q)
        start = np.clip(q + rng.normal(0, 0.05, 5), LOW, HIGH)
        before = time.perf_counter()
        found = kinematics.solve(start, position, x_axis=x, y_axis=y, restarts=0)
        times.append(time.perf_counter() - before)
        taken.append(found.iterations)
        assert found.converged
    assert np.median(taken) <= 4
    assert np.median(times) < 5e-3  # 0.2 ms on an idle core; this only catches a blunder


def test_same_question_same_answer():
    one, two = Kinematics(SO101), Kinematics(SO101)
    for q in random_poses(20, seed=10):
        position, x, _ = axes(one, q)
        first = one.solve(SO101.rest_q_rad, position, x_axis=x)
        again = two.solve(SO101.rest_q_rad, position, x_axis=x)
        assert np.array_equal(first.q, again.q) and first.iterations == again.iterations


def test_yaw_is_a_horizontal_closing_axis(kinematics):
    down = [0.0, 0.0, -1.0]
    for yaw in (np.pi / 2, 1.2, -2.0):
        one = kinematics.solve(SO101.home_q_rad, [0.22, 0.05, 0.02], x_axis=down, yaw_rad=yaw)
        two = kinematics.solve(
            SO101.home_q_rad, [0.22, 0.05, 0.02], x_axis=down, y_axis=[3 * np.cos(yaw), 3 * np.sin(yaw), 0]
        )
        assert one.converged and one.q == pytest.approx(two.q)
        assert axes(kinematics, one.q)[2] == pytest.approx([np.cos(yaw), np.sin(yaw), 0], abs=5e-3)


def test_position_comes_first_where_the_direction_cannot_be_had(kinematics):
    """At 0.36 m the hand cannot point straight down; the point is reached nonetheless."""
    found = kinematics.solve(SO101.home_q_rad, [0.36, 0.0, 0.05], x_axis=[0, 0, -1])
    assert not found.converged
    assert found.position_error_m < 1e-4 and found.axis_error_rad > 0.2
    assert axes(kinematics, found.q)[0] == pytest.approx([0.36, 0.0, 0.05], abs=1e-4)


def test_out_of_reach_gives_the_nearest_and_says_so(kinematics):
    found = kinematics.solve(SO101.home_q_rad, [0.9, 0.0, 0.2])
    assert not found.converged
    reached = kinematics.fk(found.q, "grasp")[0]
    assert np.linalg.norm(reached - [0.9, 0.0, 0.2]) == pytest.approx(found.position_error_m, abs=1e-9)
    assert reached[0] > 0.38  # stretched out towards it


def test_narrower_limits_hold():
    low, high = LOW.copy(), HIGH.copy()
    low[1], high[2] = -0.5, 0.8
    kinematics = Kinematics(SO101, q_min=low, q_max=high)
    for q in random_poses(60, seed=11):
        found = kinematics.solve(SO101.home_q_rad, kinematics.fk(q, "grasp")[0], restarts=2)
        assert (found.q >= low).all() and (found.q <= high).all()


def test_jacobian_is_the_derivative(kinematics):
    for q in random_poses(10, seed=12):
        jac = kinematics.jacobian(q, "grasp")
        assert jac.shape == (6, 5)
        for j in range(5):
            ahead, behind = q.copy(), q.copy()
            ahead[j] += 1e-6
            behind[j] -= 1e-6
            (p1, x1, y1), (p0, x0, y0) = axes(kinematics, ahead), axes(kinematics, behind)
            assert (p1 - p0) / 2e-6 == pytest.approx(jac[:3, j], abs=1e-6)
            for now, then in ((x1, x0), (y1, y0)):
                spin = np.cross(jac[3:, j], 0.5 * (now + then))
                assert (now - then) / 2e-6 == pytest.approx(spin, abs=1e-5)


# --- differential steps ---------------------------------------------------------------------------------

FAST = np.full(5, 10.0)
SHARED = Kinematics(SO101)


def test_step_moves_as_asked(kinematics):
    q = SO101.home_q_rad.copy()
    start = kinematics.fk(q)[0]
    for _ in range(50):
        q = kinematics.step(q, [0.0, 0.05, 0.05], None, dt=0.02, dq_max=FAST)
    way = kinematics.fk(q)[0] - start
    assert way == pytest.approx([0.0, 0.05, 0.05], abs=4e-3)


def test_step_turns_about_the_approach(kinematics):
    q = SO101.home_q_rad.copy()
    p0, x0, _ = axes(kinematics, q, "grasp")
    moved = kinematics.step(q, np.zeros(3), 0.5 * x0, dt=0.02, dq_max=FAST, site="grasp")
    p1, x1, _ = axes(kinematics, moved, "grasp")
    assert abs(moved[4] - q[4]) == pytest.approx(0.01, rel=0.05)
    assert p1 == pytest.approx(p0, abs=1e-4) and x1 == pytest.approx(x0, abs=2e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-2.0, 2.0), min_size=3, max_size=3),
    st.lists(st.floats(-5.0, 5.0), min_size=3, max_size=3),
    st.integers(0, 10_000),
)
def test_step_keeps_every_speed_and_limit(linear, angular, seed):
    q = np.random.default_rng(seed).uniform(LOW, HIGH)
    dq_max = np.array([1.0, 2.0, 2.0, 3.0, 3.0])
    moved = SHARED.step(q, linear, angular, dt=0.02, dq_max=dq_max)
    assert (np.abs(moved - q) <= dq_max * 0.02 + 1e-9).all()
    assert (moved >= LOW).all() and (moved <= HIGH).all()


def test_step_slows_all_joints_by_the_same_factor(kinematics):
    q = SO101.home_q_rad
    free = kinematics.step(q, [0.5, 0.3, 0.1], None, dt=0.02, dq_max=np.full(5, 1e3)) - q
    slow = kinematics.step(q, [0.5, 0.3, 0.1], None, dt=0.02, dq_max=np.full(5, 0.5)) - q
    factor = np.abs(slow).max() / np.abs(free).max()
    assert factor < 0.5 and slow == pytest.approx(factor * free)
    assert np.abs(slow).max() == pytest.approx(0.01)


# --- mistakes -------------------------------------------------------------------------------------------


def test_mistakes_are_named(kinematics):
    with pytest.raises(RigError, match="no site 'grap'.*did you mean 'grasp'"):
        kinematics.solve(SO101.home_q_rad, [0.2, 0, 0.1], site="grap")
    with pytest.raises(ValueError, match="q0 must be 5 finite numbers"):
        kinematics.solve(np.zeros(6), [0.2, 0, 0.1])
    with pytest.raises(ValueError, match="p_B must be 3 finite numbers"):
        kinematics.solve(np.zeros(5), [0.2, np.nan, 0.1])
    with pytest.raises(ValueError, match="x_axis must have a direction"):
        kinematics.solve(np.zeros(5), [0.2, 0, 0.1], x_axis=[0, 0, 0])
    with pytest.raises(ValueError, match="y_axis or yaw_rad"):
        kinematics.solve(np.zeros(5), [0.2, 0, 0.1], y_axis=[0, 1, 0], yaw_rad=0.0)
