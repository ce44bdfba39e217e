import logging
from dataclasses import replace

import numpy as np
import pytest
from guard_fakes import HOME, MS, Bench, FakeArm, FakeGripper, ManualClock, assert_limits
from twinloop.robot.errors import DeviceError, GuardFault, RigError
from twinloop.robot.guard import LIMIT_NAMES, Guard
from twinloop.robot.rig import load_rig
from twinloop.robot.types import frozen

SIDE = np.array([1.0, -0.5, -0.5, 0.0, 0.5])


def moving_bench(**kw) -> Bench:
    """A bench whose arm is in full motion."""
    bench = Bench(**kw)
    bench.guard.submit(bench.chunk(HOME + [1.0, 0.0, -0.3, -0.5, 1.0], valid_ms=2000))
    bench.tick(15)
    assert bench.guard.mode == "run" and not bench.guard._mover.at_rest
    return bench


def settle_ticks(bench: Bench) -> int:
    for k in range(200):
        if bench.guard._mover.at_rest:
            return k
        bench.tick()
    raise AssertionError("never came to rest")


# ------------------------------------------------------------------- start and end


def test_torque_comes_on_without_a_jump():
    pose = HOME + [0.4, 0.1, -0.1, 0.2, 0.3]
    bench = Bench(q=pose)
    assert bench.arm.torque and bench.arm.jump == 0.0
    bench.tick(5)
    for _, q in bench.arm.commands:
        np.testing.assert_allclose(q, pose, atol=1e-9)


def test_opening_is_all_or_nothing():
    rig, clock = load_rig("so101"), ManualClock()
    arm, gripper = FakeArm(rig, clock), FakeGripper(rig, clock)
    arm.silent = True
    guard = Guard(rig, {"arm": arm}, {"gripper": gripper}, clock)
    with pytest.raises(DeviceError):
        guard.open()
    assert not arm.torque and arm.closed and gripper.closed and not guard.is_open


def test_devices_must_be_those_of_the_rig():
    rig, clock = load_rig("so101"), ManualClock()
    with pytest.raises(RigError, match="grippers"):
        Guard(rig, {"arm": FakeArm(rig, clock)}, {}, clock)
    arm = FakeArm(rig, clock)
    arm._spec = replace(arm.spec, names=("a", "b", "c", "d", "e"))
    with pytest.raises(RigError, match="joints"):
        Guard(rig, {"arm": arm}, {"gripper": FakeGripper(rig, clock)}, clock)


def test_the_tighter_of_the_rigs_and_the_devices_limits_counts():
    rig, clock = load_rig("so101"), ManualClock()
    arm = FakeArm(rig, clock)
    arm._spec = replace(arm.spec, dq_max=frozen(np.full(5, 0.5)))
    guard = Guard(rig, {"arm": arm}, {"gripper": FakeGripper(rig, clock)}, clock)
    assert (guard._devices.v_max[:5] == 0.5).all()


def test_release_is_refused_above_the_rest_pose():
    bench = moving_bench()
    with pytest.raises(GuardFault, match="drop the arm"):
        bench.guard.close()
    assert bench.arm.torque and bench.guard.is_open


def test_release_above_the_rest_pose_says_so(caplog):
    bench = Bench()
    with caplog.at_level(logging.WARNING):
        bench.guard.close(unparked=True)
    assert "above the rest pose" in caplog.text
    assert bench.guard.limits.total == {"released_unparked": 1}
    assert not bench.arm.torque and bench.gripper.closed == 1
    bench.guard.close()  # twice is fine
    assert bench.arm.closed == 1


def test_park_ends_at_the_rest_pose_within_the_limits_and_releases():
    bench = moving_bench()
    bench.guard.park()
    assert not bench.guard.submit(bench.chunk(HOME))
    for _ in range(40):
        bench.seconds(0.1)
        if bench.guard.parked:
            break
    assert bench.guard.parked
    rest = bench.guard._parking._rest[:5]
    np.testing.assert_allclose(bench.arm.commands[-1][1], rest, atol=1e-6)
    share = bench.rig.guard.park_speed
    sent = bench.sent()
    assert_limits(sent, bench.arm.spec, 0.005)
    slow = np.abs(np.diff(sent[-150:], axis=0)) / 0.005
    assert (slow <= bench.arm.spec.dq_max * share * (1 + 1e-6)).all()
    bench.guard.close()
    assert not bench.arm.torque and "released_unparked" not in bench.guard.limits.total


def test_parking_from_a_folded_or_low_pose_arrives_too():
    for pose in (HOME + [1.2, 0.5, -0.4, 0.1, 1.0], HOME + [-0.8, 0.75, -0.2, -0.8, 0]):
        bench = Bench(q=pose)
        bench.guard.park()
        bench.seconds(8)
        assert bench.guard.parked, (pose, bench.guard.limits.total)


def test_a_closed_guard_takes_no_orders():
    bench = Bench()
    bench.guard.close(unparked=True)
    bench.guard.hold("later")
    with pytest.raises(GuardFault, match="not open"):
        bench.guard.park()
    with pytest.raises(GuardFault, match="not open"):
        bench.guard.submit(bench.chunk(HOME))
    assert bench.guard.reason == "closed" and bench.guard.mode == "hold"


def test_not_parked_while_the_measured_arm_is_elsewhere():
    bench = Bench(tracking_error_rad=9.0)
    bench.arm.blocked = True
    bench.guard.park()
    bench.seconds(6)
    assert bench.guard.mode == "park" and not bench.guard.parked


# ------------------------------------------------------------------- expiry, hold, e-stop


def test_a_chunk_expires_and_the_arm_stops_within_the_limits():
    bench = Bench()
    bench.guard.submit(bench.chunk(HOME + [1.5, 0, 0, 0, 0], valid_ms=100))
    bench.tick(19)
    assert bench.guard.mode == "run"
    bench.tick(2)
    assert bench.guard.mode == "hold" and bench.guard.limits.total["expired"] == 1
    ticks = settle_ticks(bench)
    spec = bench.arm.spec
    assert ticks * 0.005 <= (spec.dq_max / spec.ddq_max + 2 * spec.ddq_max / spec.dddq_max).max() + 0.005
    assert_limits(bench.sent(), spec, 0.005)
    stopped = bench.arm.commands[-1][1]
    bench.tick(50)
    np.testing.assert_array_equal(bench.arm.commands[-1][1], stopped)


def test_the_expiry_of_the_rig_caps_the_chunks_own():
    bench = Bench(expiry_ms=60.0)
    bench.guard.submit(bench.chunk(HOME + 0.5, valid_ms=5000))
    bench.tick(13)
    assert bench.guard.mode == "hold"


def test_a_fresh_chunk_resumes_after_expiry():
    bench = Bench()
    bench.go(HOME + [0.3, 0, 0, 0, 0], 0.2)
    bench.seconds(0.5)
    assert bench.guard.mode == "hold"
    bench.go(HOME, 1.0)
    assert bench.guard.mode == "run"
    np.testing.assert_allclose(bench.arm.commands[-1][1], HOME, atol=1e-6)
    assert_limits(bench.sent(), bench.arm.spec, 0.005)


def test_seams_between_chunks_hold_park_and_estop_keep_the_limits():
    bench, rng = Bench(), np.random.default_rng(0)
    low, high = bench.arm.spec.q_min, bench.arm.spec.q_max
    for k in range(150):
        rows = rng.uniform(low, high, (int(rng.integers(1, 6)), 5))
        bench.guard.submit(
            bench.chunk(rows, dt_ms=float(rng.integers(5, 50)), delay_ms=float(rng.integers(0, 40)))
        )
        bench.tick(int(rng.integers(1, 12)))
        if k % 10 == 3:
            bench.guard.hold()
            bench.tick(3)
        if k % 40 == 20:
            bench.guard.park()
            bench.tick(30)
            bench.guard.hold()
    bench.guard.estop("end")
    settle_ticks(bench)
    assert_limits(bench.sent(), bench.arm.spec, 0.005)


def test_hold_drops_the_plan():
    bench = moving_bench()
    bench.guard.hold("because")
    settle_ticks(bench)
    stopped = bench.arm.commands[-1][1]
    bench.seconds(0.5)
    np.testing.assert_array_equal(bench.arm.commands[-1][1], stopped)
    assert (bench.guard.mode, bench.guard.reason) == ("hold", "because")


def test_estop_latches_until_rearm():
    bench = moving_bench()
    bench.guard.estop("pedal")
    assert not bench.guard.submit(bench.chunk(HOME))
    with pytest.raises(GuardFault, match="still stopping"):
        bench.guard.rearm()
    assert settle_ticks(bench) < 60
    assert_limits(bench.sent(), bench.arm.spec, 0.005)
    stopped = bench.arm.commands[-1][1]
    bench.guard.hold()
    with pytest.raises(GuardFault, match="rearm"):
        bench.guard.park()
    for _ in range(20):
        assert not bench.guard.submit(bench.chunk(HOME))
        bench.tick(4)
    np.testing.assert_array_equal(bench.arm.commands[-1][1], stopped)
    assert bench.guard.mode == "estop" and bench.arm.torque
    assert bench.guard.collect().limits["rejected_estop"] == 21
    bench.guard.rearm()
    assert bench.guard.mode == "hold" and bench.guard.submit(bench.chunk(HOME))


def test_estop_brakes_from_the_next_tick_on():
    bench = moving_bench()
    f = bench.guard._mover.filter
    v, a = f.v.copy(), f.a.copy()
    bench.guard.estop("pedal")
    bench.tick()
    moving = np.abs(v[:5]) > 0.5
    change = ((f.a - a) * np.sign(v))[:5][moving]
    np.testing.assert_allclose(change, -bench.arm.spec.dddq_max[moving] * 0.005, rtol=1e-6)


def test_rearm_starts_from_the_measured_pose():
    bench = Bench()
    bench.guard.estop("pedal")
    bench.tick(3)
    bench.arm.blocked = True
    bench.arm.q = HOME + 0.25  # pushed by hand
    bench.tick(3)
    bench.guard.rearm()
    np.testing.assert_allclose(bench.arm.goal, HOME + 0.25, atol=1e-9)
    np.testing.assert_allclose(bench.guard.collect().sent_q["arm"], HOME + 0.25, atol=1e-9)


def test_rearm_of_a_running_guard_changes_nothing():
    bench = moving_bench()
    bench.guard.rearm()
    assert bench.guard.mode == "run"
    bench.tick(20)
    assert_limits(bench.sent(), bench.arm.spec, 0.005)


# ------------------------------------------------------------------- time


def test_after_a_stall_the_guard_goes_on_from_the_measured_pose():
    bench = moving_bench()
    bench.clock.t += 400 * MS
    bench.arm.read()
    bench.arm.blocked = True
    bench.arm.q = HOME + 0.1
    measured = bench.arm.q.copy()
    bench.guard.tick()
    assert bench.guard.limits.total["stall"] == 1
    first = bench.arm.commands[-1][1]
    spec = bench.arm.spec
    assert (np.abs(first - measured) <= spec.ddq_max * 0.005**2).all()  # one tick of motion from rest
    mark = len(bench.arm.commands)
    bench.tick(60)
    assert_limits(bench.sent()[mark:], spec, 0.005)


def test_a_late_tick_of_less_than_three_periods_is_no_stall():
    bench = moving_bench()
    bench.clock.t += 12 * MS
    bench.guard.tick()
    assert "stall" not in bench.guard.limits.total


def test_a_stall_without_fresh_state_keeps_the_commanded_pose():
    bench = moving_bench()
    sent = bench.arm.commands[-1][1]
    bench.arm.silent = True
    bench.clock.t += 400 * MS
    bench.guard.tick()
    np.testing.assert_array_equal(bench.arm.commands[-1][1], sent)


def test_two_ticks_in_one_period_count_once():
    bench = moving_bench()
    count = len(bench.arm.commands)
    bench.guard.tick()
    assert len(bench.arm.commands) == count


# ------------------------------------------------------------------- reports


def test_applied_tells_what_was_asked_and_what_was_sent():
    bench = Bench()
    asked = HOME + [0.5, 0, 0, 0, 0]
    bench.guard.submit(bench.chunk(asked, width=0.05, source="person"))
    bench.tick(4)
    applied = bench.guard.collect()
    np.testing.assert_array_equal(applied.asked_q["arm"], asked)
    np.testing.assert_array_equal(applied.sent_q["arm"], bench.arm.commands[-1][1])
    assert applied.asked_width_m["gripper"] == 0.05
    assert applied.sent_width_m["gripper"] == bench.gripper.commands[-1][1]
    assert applied.mode == "run" and applied.source == "person" and applied.t_ns == bench.clock.now()
    assert applied.limits["jerk"] == 4 and set(applied.limits) <= set(LIMIT_NAMES)
    with pytest.raises(ValueError, match="read-only"):
        applied.sent_q["arm"][0] = 1.0
    bench.seconds(0.08)
    bench.guard.collect()
    assert bench.guard.collect().limits == {}


def test_a_quiet_command_counts_nothing():
    bench = Bench()
    for k in range(100):
        rows = np.stack([HOME + 0.1 * np.sin(0.02 * (k + i)) * SIDE for i in range(3)])
        bench.guard.submit(bench.chunk(rows, width=0.03))
        bench.tick(4)
        if k == 5:
            bench.guard.collect()
    assert bench.guard.collect().limits == {}


def test_protections_say_what_is_active():
    bench = Bench()
    listed = {p.name: p for p in bench.guard.protections()}
    for name in (
        "commands",
        "expiry",
        "joint_limits",
        "table",
        "workspace",
        "self_collision",
        "estop",
        "stall",
    ):
        assert listed[name].active, name
    assert not listed["stale_camera"].active and not listed["heartbeat"].active
    assert not listed["own_process"].active and not listed["motor_watchdog"].active
    assert listed["temperature"].active
    bench.guard.note_frame("front", bench.clock.now())
    bench.guard.heartbeat(bench.clock.now())
    listed = {p.name: p for p in bench.guard.protections()}
    assert listed["stale_camera"].active and "front" in listed["stale_camera"].detail
    assert listed["heartbeat"].active
