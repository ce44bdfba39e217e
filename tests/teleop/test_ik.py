"""Differential inverse kinematics: the hand goes where it is asked, within limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twinloop.robot.errors import UsageError
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.teleop.ik import SOLVERS, make_ik, rotation_of, rotation_vector

RIG = load_rig("so101")
MODEL, SPEC = load_model("so101"), RIG.joint_spec("arm")
HOME = np.array(MODEL.home_q_rad)
DT = 0.02


@pytest.fixture(params=SOLVERS)
def ik(request):
    if request.param == "mink":
        pytest.importorskip("mink")
    return make_ik(request.param, MODEL, SPEC)


def test_the_hand_moves_as_asked_and_keeps_its_direction(ik):
    start, facing = ik.pose(HOME)
    q = HOME
    for _ in range(50):
        q = ik.step(q, [0.05, 0.02, -0.01], [0.0, 0.0, 0.0], DT)
    moved, now = ik.pose(q)
    assert np.abs(moved - start - [0.05, 0.02, -0.01]).max() < 3e-3
    assert np.linalg.norm(rotation_vector(now @ facing.T)) < 0.1, "five joints keep what they can"


def test_it_turns_about_what_five_joints_can_and_stays_in_place(ik):
    start, facing = ik.pose(HOME)
    approach, q = facing[:, 0], HOME
    for _ in range(50):
        q = ik.step(q, [0.0, 0.0, 0.0], 0.5 * approach, DT)
    place, now = ik.pose(q)
    assert np.linalg.norm(place - start) < 3e-3
    assert rotation_vector(now @ facing.T) @ approach > 0.35


def test_nobody_asks_nothing_moves(ik):
    assert np.array_equal(ik.step(HOME, np.zeros(3), np.zeros(3), DT), HOME)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(-1.0, 1.0), min_size=5, max_size=5),
    st.lists(st.floats(-5.0, 5.0), min_size=3, max_size=3),
    st.lists(st.floats(-20.0, 20.0), min_size=3, max_size=3),
)
def test_no_joint_leaves_its_range_or_is_too_fast(shares, linear, angular):
    middle, half = (SPEC.q_min + SPEC.q_max) / 2.0, (SPEC.q_max - SPEC.q_min) / 2.0
    q = middle + np.array(shares) * half
    after = make_ik("dls", MODEL, SPEC).step(q, linear, angular, DT)
    assert ((after >= SPEC.q_min) & (after <= SPEC.q_max)).all()
    assert (np.abs(after - q) <= SPEC.dq_max * DT * (1 + 1e-9)).all()


def test_at_a_joint_limit_the_others_make_up_for_it():
    ik = make_ik("dls", MODEL, SPEC)
    q = HOME.copy()
    q[1] = SPEC.q_min[1]  # the shoulder leans back as far as it may
    start, _ = ik.pose(q)
    for _ in range(25):
        q = ik.step(q, [-0.04, 0.0, 0.0], None, DT)
    moved, _ = ik.pose(q)
    assert moved[0] - start[0] < -0.01 and abs(moved[2] - start[2]) < 0.01


def test_rotation_vectors_and_matrices_are_inverse():
    for vector in ([0.3, -0.2, 0.9], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]):
        assert np.allclose(rotation_vector(rotation_of(vector)), vector, atol=1e-9)


def test_an_unknown_solver_is_refused_by_name():
    with pytest.raises(UsageError, match="dls"):
        make_ik("dsl", MODEL, SPEC)
