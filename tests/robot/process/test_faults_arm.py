"""Faults of the arm and its line: unplugged, garbled, silent, hot, overloaded, told a stale goal."""

import time

import numpy as np
import pytest
from emulated import MS, sway
from flight import (
    CLOCK,
    GOAL,
    RIG,
    STEP_RAD,
    TORQUE,
    Watcher,
    bus_on,
    moved,
    opened,
    park,
    register,
    until,
)

pytestmark = pytest.mark.slow


def test_an_unplugged_arm_comes_back_where_it_stands(emulator, guard):
    watcher = Watcher(guard._folder)
    moved(guard, watcher)
    emulator.unplug("arm")
    until(lambda: watcher.look() and guard.mode == "hold" and "stale" in guard.reason)
    stood = guard.status.sent[:5].copy()
    time.sleep(0.5)  # an order that is out of date when the plug is back
    emulator.plug("arm")
    until(lambda: watcher.look() and guard.status.t_ns - guard.arm_states["arm"].t_ns < 20 * MS)
    back = guard.status.t_ns
    time.sleep(0.3)
    watcher.look()
    assert {"stale_state", "device"} <= set(watcher.seen[-1].limits)
    held = next(s for s in watcher.seen if s.mode == "hold" and "stale" in s.reason)
    why = held.reason.removeprefix(
        "arm: its state is stale ("
    )  # a busy emulator is silent before it hangs up
    assert why.startswith("port ") and "gone" in why or "no answer" in why, held.reason
    returned = np.array([s.sent[:5] for s in watcher.seen if s.t_ns >= back])
    assert np.abs(np.diff(np.vstack([stood, returned]), axis=0)).max() < STEP_RAD
    watcher.flight().assert_sound()
    moved(guard, watcher)
    watcher.flight().assert_sound()
    park(guard)
    assert register(emulator, TORQUE) == [0] * 6


def test_a_bad_line_costs_nothing_but_readings(emulator, guard):
    """In real time; ten minutes of it in simulated time stand in test_bad_line.py."""
    emulator.faults("arm", damaged=0.01, lost=0.01)
    try:
        watcher = Watcher(guard._folder)
        moved(guard, watcher, 3.0)
        watcher.flight().assert_sound()
        assert watcher.seen[-1].mode == "run"
    finally:
        emulator.faults("arm", damaged=0.0, lost=0.0)
    park(guard)


def test_a_hot_servo_slows_the_arm_and_then_stops_it(emulator, guard):
    watcher = Watcher(guard._folder)
    try:
        emulator.heat("arm", 3, 63.0)
        moved(guard, watcher)
        until(lambda: watcher.look()[-1].limits.get("temperature", 0) > 0 or (moved(guard) and False))
        assert guard.arm_states["arm"].temperature_c[2] == 63.0
        emulator.heat("arm", 3, 66.0)
        for _ in sway(guard, CLOCK, 0.6):
            watcher.look()
        until(lambda: watcher.look()[-1].mode == "hold")
        assert watcher.seen[-1].limits["rejected_temperature"] > 0
        assert ("hold", "arm.elbow_flex is too hot: 66 °C") in watcher.reasons()
        emulator.heat("arm", 3, 40.0)
        moved(guard, watcher)
    finally:
        emulator.heat("arm", 3, None)
    watcher.flight().assert_sound()
    park(guard)


def test_an_overload_that_a_servo_reports_latches_and_names_it(emulator, guard):
    watcher = Watcher(guard._folder)
    moved(guard, watcher)
    emulator.overload("arm", 2)
    until(lambda: watcher.look()[-1].mode == "fault")
    assert watcher.seen[-1].reason == "arm: shoulder_lift: overload"
    watcher.flight().assert_limits()  # a servo that found an overload holds with less: the arm may give way
    guard.close(unparked=True)  # somebody holds it; torque off and on clears the servo
    again = opened(RIG, emulator.paths)
    moved(again)
    park(again)


def test_one_silent_servo_holds_the_arm(emulator, guard):
    watcher = Watcher(guard._folder)
    moved(guard, watcher)
    emulator.faults("arm", dead=frozenset((4,)))
    try:
        until(lambda: watcher.look()[-1].mode == "hold" and "stale" in watcher.seen[-1].reason)
        assert "stale_state" in watcher.seen[-1].limits
        assert "arm: its state is stale (wrist_flex: no answer" in watcher.seen[-1].reason
        time.sleep(0.5)
        watcher.look()
    finally:
        emulator.faults("arm", dead=frozenset())
    moved(guard, watcher)
    watcher.flight().assert_sound()
    park(guard)


def test_torque_comes_on_without_a_jump_over_a_goal_that_was_left_in_the_servos(emulator):
    """Goals half a turn away, as a crashed program or another tool leaves them."""
    before, bus = register(emulator, 56, 2), bus_on(emulator)
    for id, count in enumerate(before, 1):
        bus.write(id, GOAL, ((count + 1024) % 4096).to_bytes(2, "little"))
    bus.close()
    assert register(emulator, TORQUE) == [0] * 6
    guard = opened(RIG, emulator.paths)
    watcher = Watcher(guard._folder)
    first = guard.arm_states["arm"].q.copy()
    time.sleep(0.3)
    poses = np.array([s.arms["arm"].q for s in watcher.look()])
    assert np.abs(poses - first).max() < STEP_RAD
    assert guard.status.limits == {} or set(guard.status.limits) <= {"stall", "stale_state", "device"}
    park(guard)
    assert register(emulator, TORQUE) == [0] * 6
    goals = np.array(register(emulator, GOAL, 2))
    assert np.abs(goals - before).max() < 100  # of 4096: what was left there is gone
