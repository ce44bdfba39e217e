import numpy as np
import pytest
from guard_fakes import HOME, MS, Bench, assert_limits

FAR = HOME + [1.0, 0, 0, 0, 0]


def running(**kw) -> Bench:
    bench = Bench(**kw)
    bench.go(HOME + [0.1, 0, 0, 0, 0], 0.1)
    assert bench.guard.mode == "run"
    return bench


# ------------------------------------------------------------------- state


@pytest.mark.parametrize("switch", ["silent", "nan", "stamp"])
def test_stale_state_holds_and_a_fresh_one_resumes(switch):
    bench = running()
    bench.guard.submit(bench.chunk(FAR, valid_ms=900))
    setattr(bench.arm, switch, bench.clock.now() if switch == "stamp" else True)
    bench.tick(10)
    assert bench.guard.mode == "run"  # a lost sample or two is nothing
    bench.tick(4)
    assert bench.guard.mode == "hold" and "arm" in bench.guard.reason
    assert bench.guard.limits.total["stale_state"] >= 1
    bench.tick(40)
    stopped = bench.arm.commands[-1][1]
    assert not bench.guard.submit(bench.chunk(FAR))
    bench.tick(10)
    np.testing.assert_array_equal(bench.arm.commands[-1][1], stopped)
    assert "rejected_stale_state" in bench.guard.limits.total
    setattr(bench.arm, switch, None if switch == "stamp" else False)
    bench.tick(2)
    assert bench.guard.mode == "hold" and bench.guard.submit(bench.chunk(FAR))
    assert_limits(bench.sent(), bench.arm.spec, 0.005)


def test_a_silent_gripper_holds_the_arm_as_well():
    bench = running()
    bench.gripper.silent = True
    bench.tick(15)
    assert bench.guard.mode == "hold" and bench.guard.limits.total["device"] >= 10


def test_nothing_moves_blindly_while_parking():
    bench = running()
    bench.guard.park()
    bench.seconds(0.3)
    bench.arm.silent = True
    bench.seconds(0.5)
    stopped = bench.arm.commands[-1][1]
    bench.seconds(0.3)
    np.testing.assert_array_equal(bench.arm.commands[-1][1], stopped)
    bench.arm.silent = False
    bench.seconds(5)
    assert bench.guard.parked


def test_an_arm_that_was_moved_while_it_was_silent_is_not_thrown_back():
    bench = running()
    for moved, goes_back in (
        (0.5, False),
        (0.02, True),
    ):  # the latter is sag: the goal stays, or it would droop
        before = bench.sent()[-1].copy()
        bench.arm.silent = True
        bench.seconds(0.3)
        bench.arm.q = bench.arm.q + [moved, 0, 0, 0, 0]
        bench.arm.silent = False
        bench.tick(2)
        goal = before if goes_back else bench.arm.q
        assert np.abs(bench.sent()[-1] - goal).max() < 0.01
        assert bench.guard.mode == "hold" and bench.guard.submit(bench.chunk(bench.sent()[-1]))


def test_a_deaf_device_is_counted_and_does_not_break_the_cycle():
    bench = running()
    bench.arm.deaf = True
    bench.tick(5)
    assert bench.guard.limits.total["device"] == 5


def test_a_fault_that_the_device_reports_latches():
    bench = running()
    bench.arm.faults = ("elbow_flex: overload",)
    bench.tick(2)
    assert bench.guard.mode == "fault" and "overload" in bench.guard.reason
    bench.tick(60)
    bench.guard.rearm()
    bench.tick(1)
    assert bench.guard.mode == "fault"  # still there
    bench.arm.faults = ()
    bench.guard.rearm()
    bench.tick(5)
    assert bench.guard.mode == "hold"


# ------------------------------------------------------------------- cameras


def test_a_stale_camera_holds_until_a_fresh_frame():
    bench = running(stale_camera_ms=100.0)
    bench.guard.note_frame("front", bench.clock.now())
    bench.guard.note_frame("wrist", bench.clock.now())
    for _ in range(10):
        bench.guard.note_frame("wrist", bench.clock.now())
        bench.guard.submit(bench.chunk(HOME))
        bench.tick(4)
    assert bench.guard.mode == "hold" and "front" in bench.guard.reason
    total = bench.guard.limits.total
    assert total["stale_camera"] == 1 and total["rejected_stale_camera"] >= 3
    bench.guard.note_frame("front", bench.clock.now())
    assert bench.guard.submit(bench.chunk(HOME))


def test_the_same_frame_again_and_again_is_stale():
    bench = running(stale_camera_ms=100.0)
    frozen = bench.clock.now()
    for _ in range(10):
        bench.guard.note_frame("front", frozen)
        bench.tick(4)
    assert bench.guard._unfit(bench.clock.now()) == "stale_camera"


def test_a_frame_from_the_future_is_worth_no_more_than_one_of_now():
    bench = running(stale_camera_ms=100.0)
    bench.guard.note_frame("front", bench.clock.now() + 60_000 * MS)
    bench.tick(30)
    assert bench.guard._unfit(bench.clock.now()) == "stale_camera"


def test_cameras_nobody_reads_are_not_watched():
    bench = running()
    bench.go(HOME, 1.0)
    assert bench.guard.mode == "run"


# ------------------------------------------------------------------- operator


def test_a_lost_heartbeat_holds_and_a_beat_resumes():
    bench = running(heartbeat_ms=80.0)
    bench.guard.heartbeat(bench.clock.now())
    for _ in range(5):
        bench.guard.heartbeat(bench.clock.now())
        bench.go(HOME, 0.06)
    assert bench.guard.mode == "run"
    bench.guard.submit(bench.chunk(HOME, valid_ms=500))
    bench.tick(18)
    assert bench.guard.mode == "hold" and bench.guard.limits.total["heartbeat"] == 1
    assert not bench.guard.submit(bench.chunk(HOME))
    assert bench.guard.limits.total["rejected_heartbeat"] == 1
    bench.guard.heartbeat(bench.clock.now() + 10**12)  # a future beat counts as one of now
    assert bench.guard.submit(bench.chunk(HOME))
    bench.tick(18)
    assert bench.guard.mode == "hold"
    bench.guard.disarm_heartbeat()
    bench.go(HOME, 1.0)
    assert bench.guard.mode == "run"


# ------------------------------------------------------------------- temperature


def top_speed(bench: Bench) -> float:
    start = len(bench.arm.commands)
    bench.go(HOME + [1.4, 0, 0, 0, 0], 0.5)
    bench.go(HOME, 1.5)
    return float(np.abs(np.diff(bench.sent()[start:], axis=0)).max() / 0.005)


def test_a_warm_servo_slows_the_arm_and_a_hot_one_stops_it_until_it_is_cool():
    bench = running()
    full = top_speed(bench)
    bench.arm.temperature = np.full(5, 30.0)
    bench.arm.temperature[2] = 62.5
    bench.seconds(0.2)
    bench.go(HOME, 0.2)
    slow = top_speed(bench)
    assert 0.5 * full < slow < 0.7 * full
    assert bench.guard.limits.total["temperature"] > 100 and bench.guard.mode == "run"
    bench.arm.temperature[2] = 65.5
    bench.go(HOME, 0.3)
    assert bench.guard.mode == "hold"
    bench.arm.temperature[2] = 63.0  # not cool yet
    bench.go(HOME, 0.3)
    assert bench.guard.mode == "hold" and bench.guard.limits.total["rejected_temperature"] > 5
    bench.arm.temperature[2] = 59.0
    bench.tick(40)
    assert top_speed(bench) == pytest.approx(full)


def test_a_hot_arm_can_still_be_parked():
    bench = running()
    bench.arm.temperature = np.full(5, 70.0)
    bench.seconds(0.3)
    bench.guard.park()
    bench.seconds(8)
    assert bench.guard.parked


def test_a_device_without_thermometer_is_said_to_have_none():
    bench = Bench()
    bench.arm.temperature = np.full(5, np.nan)
    bench.tick(50)
    assert not next(p for p in bench.guard.protections() if p.name == "temperature").active
    assert bench.guard._watch.speed == 1.0


# ------------------------------------------------------------------- torque, tracking, force


def test_sustained_torque_makes_the_arm_yield():
    bench = running(tracking_error_rad=9.0)
    bench.arm.blocked = True
    bench.go(HOME + [0.5, 0, 0, 0, 0], 0.3)
    bench.arm.load = np.array([-5.0, 0, 0, 0, 0])
    bench.tick(15)
    assert "torque" not in bench.guard.limits.total  # a peak is nothing
    bench.go(HOME + [0.5, 0, 0, 0, 0], 1.0)
    assert bench.guard.mode == "hold" and bench.guard.limits.total["torque"] >= 1
    assert bench.guard.limits.total["rejected_torque"] > 5
    bench.seconds(0.5)
    assert abs(bench.arm.commands[-1][1][0] - bench.arm.q[0]) < 1e-3  # it no longer pushes
    assert_limits(bench.sent(), bench.arm.spec, 0.005)
    bench.arm.load = np.zeros(5)
    bench.tick(1)
    assert bench.guard.submit(bench.chunk(HOME))


def test_what_pushes_again_and_again_has_to_wait_longer_each_time():
    bench = running(tracking_error_rad=9.0)
    running_at, begin = [], bench.clock.now()
    while bench.clock.now() - begin < 30e9:
        bench.arm.load = np.array([-5.0, 0, 0, 0, 0]) * (bench.guard.mode == "run")
        bench.go(HOME, 0.05)
        if bench.guard.mode == "run":
            running_at.append(1e-9 * (bench.clock.now() - begin))
    starts = [t for t, before in zip(running_at[1:], running_at, strict=False) if t - before > 0.1]
    waits = np.diff(starts)
    assert 5 <= len(starts) <= 8 and (np.diff(waits)[:4] > 0.3 * waits[1:5]).all() and max(waits) < 9.0
    bench.arm.load = np.zeros(5)
    bench.go(HOME, 18.0)
    assert bench.guard.mode == "run"  # and the pause is forgotten when it went well for a while
    bench.arm.load = np.array([-5.0, 0, 0, 0, 0])
    bench.go(HOME, 0.2)
    assert bench.guard.mode == "hold"
    bench.arm.load = np.zeros(5)
    bench.go(HOME, 0.3)
    assert bench.guard.mode == "run"


def test_a_blocked_arm_latches_a_tracking_fault():
    bench = running(tracking_error_rad=0.3, tracking_error_ms=200.0)
    bench.arm.blocked = True
    bench.go(HOME + [0.8, 0, 0, 0, 0], 0.9)
    assert bench.guard.mode == "fault" and "shoulder_pan" in bench.guard.reason
    assert bench.guard.limits.total["tracking"] >= 1
    bench.seconds(1.0)
    assert abs(bench.arm.commands[-1][1][0] - bench.arm.q[0]) < 1e-3
    assert_limits(bench.sent(), bench.arm.spec, 0.005)
    bench.guard.rearm()
    assert bench.guard.mode == "hold"


def test_a_short_tracking_error_is_no_fault():
    bench = running(tracking_error_rad=0.3, tracking_error_ms=500.0)
    bench.arm.blocked = True
    bench.go(HOME + [0.8, 0, 0, 0, 0], 0.5)
    bench.arm.blocked = False
    bench.go(HOME, 1.0)
    assert bench.guard.mode == "run"


def test_grip_force_is_regulated_to_its_limit_and_opening_ends_it():
    bench = running()
    bench.gripper.object_m, bench.gripper.stiffness = 0.03, 1500.0  # 45 N at width 0, limit 20 N
    bench.go(HOME, 1.0, width=0.0)
    force = bench.gripper.read().force_n
    assert 0.6 * 20.0 < force < 1.05 * 20.0
    assert bench.guard.limits.total["gripper_force"] > 100 and bench.guard.mode == "run"
    widths = np.array([w for _, w in bench.gripper.commands])
    assert np.abs(np.diff(widths)).max() <= bench.rig.grippers["gripper"].speed_m_s * 0.005 * (1 + 1e-6)
    bench.go(HOME, 1.0, width=0.06)
    assert bench.gripper.commands[-1][1] == pytest.approx(0.06, abs=1e-6)
    bench.gripper.object_m = 0.0
    bench.go(HOME, 1.0, width=0.0)
    assert bench.gripper.commands[-1][1] == pytest.approx(0.0, abs=1e-6)
