from types import SimpleNamespace

import numpy as np
import pytest
from guard_fakes import assert_limits
from hypothesis import given, settings
from hypothesis import strategies as st
from twinloop.robot.errors import UsageError
from twinloop.robot.guard import LimitFilter
from twinloop.robot.guard.stop import stop_extent, stop_profile

DT = 0.005
LIMITS = {
    "q_min": [-1.9, -1.7, -1.6, 0.0],
    "q_max": [1.9, 1.7, 1.6, 0.09],
    "dq_max": [3.5, 2.0, 3.5, 0.25],
    "ddq_max": [30.0, 12.0, 30.0, 2.5],
    "dddq_max": [1500.0, 600.0, 1500.0, 120.0],
}
LO, HI, V, A, J = (np.array(x) for x in LIMITS.values())
SPEC = SimpleNamespace(q_min=LO, q_max=HI, dq_max=V, ddq_max=A, dddq_max=J)


def make(n_envs: int = 1) -> LimitFilter:
    f = LimitFilter(**LIMITS, dt_s=DT, n_envs=n_envs)
    f.reset((LO + HI) / 2)
    return f


def assert_viable(f: LimitFilter) -> None:
    """The invariant: a stop from the committed state stays inside all limits."""
    for k in range(f.p.size):
        i = k % 4
        p, v, a = float(f.p[k]), float(f.v[k]), float(f.a[k])
        assert abs(v) <= V[i] + 1e-8 and abs(a) <= A[i] + 1e-8
        assert abs(v + a * abs(a) / (2 * J[i])) <= V[i] + 1e-8
        low, high = stop_extent(p, v, a, J[i], stop_profile(v, a, A[i], J[i]))
        assert low >= LO[i] - 1e-8 and high <= HI[i] + 1e-8


def wild_targets(rng: np.random.Generator, ticks: int):
    """Targets of every kind that a broken, hostile or fine sender comes up with."""
    target, velocity, kind = (LO + HI) / 2, np.zeros(4), 0
    for _ in range(ticks):
        if rng.random() < 0.06:
            kind = rng.integers(6)
        if kind == 0:
            target, velocity = rng.uniform(LO - 1, HI + 1), np.zeros(4)
        elif kind == 1:
            target, velocity = rng.uniform(LO, HI), rng.normal(size=4) * V * 3
        elif kind == 2:
            target = target + velocity * DT
        elif kind == 3:
            target, velocity = np.where(rng.random(4) < 0.5, LO, HI), rng.normal(size=4) * V
        elif kind == 4:
            target, velocity = target + rng.normal(size=4) * 1e-3, np.zeros(4)
        elif kind == 5:
            target = np.where(rng.random(4) < 0.5, -1e6, 1e6)
        yield target, velocity


@pytest.mark.parametrize("seed", range(4))
def test_no_limit_is_exceeded_and_every_state_can_stop(seed):
    rng = np.random.default_rng(seed)
    f, sent = make(), []
    for k, (target, velocity) in enumerate(wild_targets(rng, 8000)):
        speed = (1.0, 0.3, 0.7)[k // 500 % 3]
        step = f.stop() if rng.random() < 0.03 else f.propose(target, velocity, speed)
        f.commit(step)
        sent.append(f.p)
        if k % 5 == 0:
            assert_viable(f)
    assert_limits(np.array(sent), SPEC, DT)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_invariant_holds_for_arbitrary_targets(data):
    f, sent = make(), []
    number = st.floats(-1e3, 1e3)
    for _ in range(25):
        target = np.array([data.draw(number) for _ in range(4)])
        velocity = np.array([data.draw(st.floats(-50, 50)) for _ in range(4)])
        for _ in range(data.draw(st.integers(1, 20))):
            f.commit(f.propose(target, velocity))
            sent.append(f.p)
            assert_viable(f)
    assert_limits(np.array(sent), SPEC, DT)


def test_batch_gives_the_same_as_single_filters():
    rng = np.random.default_rng(5)
    batch, singles = make(3), [make() for _ in range(3)]
    streams = [wild_targets(np.random.default_rng(s), 1500) for s in range(3)]
    for rows in zip(*streams, strict=True):
        targets, speeds = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
        out = batch.step(targets, speeds)
        for f, t, v, row in zip(singles, targets, speeds, out, strict=True):
            np.testing.assert_array_equal(f.step(t[None], v[None])[0], row)
        if rng.random() < 0.01:
            where = rng.random(3) < 0.5
            batch.reset(rng.uniform(LO, HI, (3, 4)), where)
            for k in np.flatnonzero(where):
                singles[k].reset(batch.p.reshape(3, 4)[k])


def test_a_smooth_target_is_followed_without_lag():
    f = make()
    mid = (LO + HI) / 2
    for k in range(400):
        t = k * DT
        target = mid + 0.2 * (HI - mid) * np.sin(2 * t)
        velocity = 0.4 * (HI - mid) * np.cos(2 * t)
        out = f.step(target[None], velocity[None])[0]
        if t > 0.5:
            assert np.abs(out - target).max() < 1e-4


def test_step_arrives_at_once_and_stays():
    f = make()
    target = np.array([1.0, -1.0, 0.5, 0.09])
    for _ in range(300):
        f.step(target[None])
    np.testing.assert_array_equal(f.p, target)
    assert f.at_rest


def test_target_at_the_end_of_the_range_with_speed_towards_it_does_not_overshoot():
    f = make()
    for _ in range(300):
        out = f.step(HI[None], V[None])
        assert (out <= HI + 1e-8).all()
    np.testing.assert_allclose(f.p, HI, atol=1e-8)


def test_start_outside_the_range_only_comes_in():
    f = make()
    start = np.array([2.1, -1.9, 0.0, 0.01])
    f.reset(start)
    before = f.p
    for _ in range(300):
        f.step(np.array([[2.5, -2.5, 0.0, 0.01]]))
        assert f.p[0] <= before[0] + 1e-9 and f.p[1] >= before[1] - 1e-9
        before = f.p
    for _ in range(300):
        f.step(np.array([[0.0, 0.0, 0.0, 0.01]]))
    for _ in range(300):
        f.step(np.array([[2.5, -2.5, 0.0, 0.01]]))
    np.testing.assert_allclose(f.p[:2], [HI[0], LO[1]], atol=1e-8)


def test_generator_failure_falls_back_to_the_stop_of_that_joint(monkeypatch):
    f = make()
    for _ in range(30):
        f.step(np.array([[1.5, 1.0, 1.0, 0.08]]))
    sent = [f.p]
    monkeypatch.setattr("twinloop.robot.guard.filter._update", lambda *a: False)
    for _ in range(200):
        step = f.propose(np.array([1.5, 1.0, 1.0, 0.08]))
        assert step.fallback and "filter" in f.acting(step, np.array([1.5, 1.0, 1.0, 0.08]))
        f.commit(step)
        sent.append(f.p)
    assert f.at_rest
    assert_limits(np.array(sent), SPEC, DT)


def test_acting_names_the_limit():
    f = make()
    far = np.array([9.0, 0.0, 0.0, 0.05])
    seen = set()
    for _ in range(200):
        step = f.propose(far)
        seen |= set(f.acting(step, far))
        f.commit(step)
    assert seen == {"position", "velocity", "acceleration", "jerk"}
    inside = f.p.copy()
    assert f.acting(f.propose(inside), inside) == []


def test_bad_limits_are_refused():
    with pytest.raises(UsageError, match="dq_max"):
        LimitFilter(**{**LIMITS, "dq_max": [1, 1, np.inf, 1]}, dt_s=DT)
    with pytest.raises(UsageError, match="q_min"):
        LimitFilter(**{**LIMITS, "q_min": LIMITS["q_max"]}, dt_s=DT)
    with pytest.raises(UsageError, match="not finite"):
        make().reset([np.nan, 0, 0, 0])
