from dataclasses import replace

import numpy as np
import pytest
from guard_fakes import HOME, MS, Bench
from twinloop.robot.guard import LIMIT_NAMES, mask_names
from twinloop.robot.guard.commands import Layout, fault_of, standing
from twinloop.robot.guard.limits import LIMIT_BIT, REJECT_REASONS, LimitCounter
from twinloop.robot.types import ActionChunk

NOW = 5_000 * MS
LAYOUT = Layout({"arm": slice(0, 2)}, {"gripper": 2}, 3, np.array([-1.0, -1, 0]), np.array([1.0, 1, 0.1]))
ROWS = np.array([[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]])
GOOD = ActionChunk(NOW, 10 * MS, {"arm": ROWS}, {"gripper": np.full(3, 0.05)}, NOW + 100 * MS)


def with_cell(value: float) -> ActionChunk:
    rows = ROWS.copy()
    rows[1, 1] = value
    return replace(GOOD, q={"arm": rows})


@pytest.mark.parametrize(
    ("reason", "chunk"),
    [
        (None, GOOD),
        (None, replace(GOOD, width_m={})),
        (None, replace(GOOD, q={})),
        (None, replace(GOOD, q={"arm": ROWS.astype(np.float32)})),
        (None, replace(GOOD, t0_ns=np.int64(NOW))),
        ("names", replace(GOOD, q={}, width_m={})),
        ("names", replace(GOOD, q={"left": ROWS})),
        ("names", replace(GOOD, width_m={"jaw": np.full(3, 0.05)})),
        ("dtype", replace(GOOD, q={"arm": ROWS.astype(object)})),
        ("dtype", replace(GOOD, q={"arm": ROWS.astype(complex)})),
        ("dtype", replace(GOOD, q={"arm": ROWS > 0})),
        ("dtype", replace(GOOD, q={"arm": ROWS.tolist()})),
        ("dtype", replace(GOOD, q=None)),
        ("dtype", replace(GOOD, q={"arm": np.float64(3.0)})),
        ("shape", replace(GOOD, q={"arm": ROWS[:, :1]})),
        ("shape", replace(GOOD, q={"arm": ROWS[:0]})),
        ("shape", replace(GOOD, q={"arm": ROWS.ravel()})),
        ("shape", replace(GOOD, width_m={"gripper": np.full(2, 0.05)})),
        ("shape", replace(GOOD, width_m={"gripper": np.full((3, 1), 0.05)})),
        ("shape", replace(GOOD, q={"arm": np.zeros((3000, 2))}, width_m={})),
        ("nonfinite", with_cell(np.nan)),
        ("nonfinite", with_cell(np.inf)),
        ("nonfinite", with_cell(-np.inf)),
        ("nonfinite", replace(GOOD, width_m={"gripper": np.array([0.05, np.nan, 0.05])})),
        ("range", with_cell(9.0)),
        ("range", with_cell(-1e300)),
        ("range", replace(GOOD, width_m={"gripper": np.array([0.05, 50.0, 0.05])})),
        ("times", replace(GOOD, dt_ns=0)),
        ("times", replace(GOOD, dt_ns=-5)),
        ("times", replace(GOOD, t0_ns=1.5e9)),
        ("times", replace(GOOD, t0_ns=float("nan"))),
        ("times", replace(GOOD, expires_ns=None)),
        ("times", replace(GOOD, t0_ns=NOW - 60_000 * MS)),
        ("future", replace(GOOD, t0_ns=NOW + 5_000 * MS)),
        ("expired", replace(GOOD, expires_ns=NOW)),
    ],
)
def test_a_chunk_is_accepted_or_rejected_as_a_whole(reason, chunk):
    assert fault_of(chunk, LAYOUT, NOW) == reason


def test_every_reason_is_a_limit_and_the_bits_are_stable():
    assert {f"rejected_{r}" for r in REJECT_REASONS} <= set(LIMIT_NAMES)
    assert len(set(LIMIT_NAMES)) == len(LIMIT_NAMES) < 53  # a mask is stored as float64
    # Recorded episodes carry these bits: append names, never reorder.
    assert LIMIT_NAMES[:9] == (
        "position",
        "velocity",
        "acceleration",
        "jerk",
        "filter",
        "table",
        "workspace",
        "self_collision",
        "obstacle",
    )
    assert mask_names(LIMIT_BIT["velocity"] | LIMIT_BIT["stall"]) == ("velocity", "stall")


def test_counter_counts_ticks_not_notes():
    counter = LimitCounter()
    counter.note("jerk")
    counter.note("jerk")
    assert counter.end_tick() == LIMIT_BIT["jerk"]
    assert counter.end_tick() == 0
    counter.add(["rejected_shape"])
    assert counter.take() == {"jerk": 1, "rejected_shape": 1}
    assert counter.take() == {}
    assert counter.total == {"jerk": 1, "rejected_shape": 1}


def merged(before, chunk, held=(0, 0, 0), now=NOW):
    return before.followed_by(chunk, LAYOUT, now, 100 * MS, np.asarray(held, float))


def test_plan_interpolates_linearly_and_rests_at_the_end():
    plan = merged(standing(np.zeros(3), NOW), GOOD)
    position, velocity = plan.sample(NOW + 5 * MS)
    np.testing.assert_allclose(position, [0.1, 0.2, 0.05])
    np.testing.assert_allclose(velocity, [20.0, 20.0, 0.0])
    position, velocity = plan.sample(NOW + 20 * MS)
    np.testing.assert_allclose(position, [0.4, 0.5, 0.05])
    assert not velocity.any()


def test_expiry_is_capped_after_the_last_row():
    plan = merged(standing(np.zeros(3), NOW), replace(GOOD, expires_ns=NOW + 10_000 * MS))
    assert plan.expires_ns == NOW + 20 * MS + 100 * MS
    plan = merged(standing(np.zeros(3), NOW), replace(GOOD, expires_ns=NOW + 7 * MS))
    assert plan.expires_ns == NOW + 7 * MS


def test_a_late_chunk_is_entered_in_the_middle():
    plan = merged(standing(np.zeros(3), NOW), GOOD, now=NOW + 15 * MS)
    np.testing.assert_allclose(plan.sample(NOW + 15 * MS)[0], [0.3, 0.4, 0.05])


def test_time_until_the_first_row_follows_the_old_plan_then_a_bridge():
    old = merged(standing(np.zeros(3), NOW), GOOD)
    old.sample(NOW + 10 * MS)
    rows = np.array([[1.0, 1.0]])
    new = ActionChunk(NOW + 40 * MS, 10 * MS, {"arm": rows}, {"gripper": np.array([0.05])}, NOW + 99 * MS)
    plan = merged(old, new, now=NOW + 10 * MS)
    np.testing.assert_allclose(plan.sample(NOW + 15 * MS)[0], [0.3, 0.4, 0.05])  # the old plan
    np.testing.assert_allclose(plan.sample(NOW + 30 * MS)[0], [0.7, 0.75, 0.05])  # half of the bridge
    np.testing.assert_allclose(plan.sample(NOW + 40 * MS)[0], [1.0, 1.0, 0.05])


def test_the_newest_chunk_wins_and_unnamed_parts_stay():
    old = merged(standing(np.zeros(3), NOW), GOOD)
    new = ActionChunk(NOW, 10 * MS, {"arm": ROWS + 0.5}, {}, NOW + 99 * MS)
    plan = merged(old, new, held=[9, 9, 0.07])
    np.testing.assert_allclose(plan.sample(NOW + 20 * MS)[0], [0.9, 1.0, 0.07])


def test_three_bad_chunks_in_a_row_latch_a_fault_and_a_good_one_breaks_the_row():
    bench = Bench()
    bad, good = bench.chunk(HOME * np.nan), bench.chunk(HOME)
    assert [bench.guard.submit(c) for c in (bad, bad, good, bad, bad)] == [False, False, True, False, False]
    assert bench.guard.mode == "run"
    assert not bench.guard.submit(bad)
    assert bench.guard.mode == "fault" and "nonfinite" in bench.guard.reason
    assert not bench.guard.submit(good)
    limits = bench.guard.collect().limits
    assert limits == {"rejected_nonfinite": 5, "rejected_fault": 1}
    bench.guard.rearm()
    assert bench.guard.mode == "hold" and bench.guard.submit(bench.chunk(HOME))


def test_late_chunks_are_counted_but_nobodys_fault():
    bench = Bench()
    for _ in range(10):
        assert not bench.guard.submit(bench.chunk(HOME, valid_ms=0.0))
    assert bench.guard.mode == "hold"
    assert bench.guard.collect().limits == {"rejected_expired": 10}


def test_a_rejected_chunk_leaves_the_running_one_alone():
    bench = Bench()
    bench.guard.submit(bench.chunk(HOME + 0.2, valid_ms=1000))
    bench.tick(4)
    bench.guard.submit(bench.chunk(HOME[:3]))
    bench.tick(15)
    assert bench.guard.mode == "run"
    assert bench.arm.commands[-1][1][0] > bench.arm.commands[4][1][0] + 0.03
