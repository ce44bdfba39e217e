import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twinloop.robot.guard.stop import stop_extent, stop_profile, stop_state


@given(
    v=st.floats(-5, 5),
    a_share=st.floats(-1, 1),
    a_max=st.floats(0.5, 60),
    j_max=st.floats(20, 5000),
)
def test_stop_comes_to_rest_inside_the_limits(v, a_share, a_max, j_max):
    a = a_share * a_max
    profile = stop_profile(v, a, a_max, j_max)
    assert min(profile[:3]) >= -1e-12
    total = sum(profile[:3])
    p, v_end, a_end = stop_state(0.0, v, a, j_max=j_max, profile=profile, t=total + 1e-12)
    assert (v_end, a_end) == (0.0, 0.0)
    states = np.array(
        [stop_state(0.0, v, a, j_max=j_max, profile=profile, t=total * k / 100) for k in range(101)]
    )
    assert np.abs(states[:, 2]).max() <= a_max * (1 + 1e-9)
    just_before = stop_state(0.0, v, a, j_max=j_max, profile=profile, t=total - 1e-9)
    assert abs(just_before[1]) < 1e-6 * (1 + j_max) and abs(just_before[2]) < 1e-8 * j_max + 1e-9
    low, high = stop_extent(0.0, v, a, j_max, profile)
    assert low <= states[:, 0].min() + 1e-9 and high >= states[:, 0].max() - 1e-9
    assert min(abs(low - p), abs(high - p)) < 1e-9 or low <= p <= high


@given(v=st.floats(-5, 5), a_share=st.floats(-1, 1), t=st.floats(0, 0.2))
def test_position_is_the_integral_of_velocity(v, a_share, t):
    a_max, j_max = 30.0, 1500.0
    profile = stop_profile(v, a_share * a_max, a_max, j_max)
    fine = np.linspace(0, t, 2001)
    speeds = [stop_state(0.0, v, a_share * a_max, j_max=j_max, profile=profile, t=x)[1] for x in fine]
    p = stop_state(0.0, v, a_share * a_max, j_max=j_max, profile=profile, t=t)[0]
    assert p == pytest.approx(np.trapezoid(speeds, fine), abs=1e-4)


def test_stop_of_a_joint_at_rest_stays():
    profile = stop_profile(0.0, 0.0, 30.0, 1500.0)
    assert sum(profile[:3]) == 0.0
    assert stop_state(0.7, 0.0, 0.0, j_max=1500.0, profile=profile, t=1.0) == (0.7, 0.0, 0.0)
