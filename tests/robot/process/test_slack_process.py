"""A leader behind a guard of its own process, on the servos' wire protocol."""

from dataclasses import replace

from flight import RIG, TORQUE, opened, register, until

LEADER = replace(RIG, leader=True)
PUSHED_N_M = 0.9


def test_a_leader_is_let_go_of_taken_up_and_released_where_it_is(emulator):
    guard = opened(LEADER, emulator.paths)
    guard.slack()
    until(lambda: guard.mode == "slack" and guard.parked)
    at = guard.arm_states["arm"].q[0]
    emulator.push("arm", 1, PUSHED_N_M)
    until(lambda: abs(guard.arm_states["arm"].q[0] - at) > 0.3)
    emulator.push("arm", 1, 0.0)
    guard.hold("taken up")
    until(lambda: guard.mode == "hold")
    emulator.push("arm", 1, PUSHED_N_M / 3)  # it resists now
    at = guard.arm_states["arm"].q[0]
    ticks = guard.status.ticks
    until(lambda: guard.status.ticks > ticks + 100)
    assert abs(guard.arm_states["arm"].q[0] - at) < 0.1
    emulator.push("arm", 1, 0.0)
    guard.slack()
    until(lambda: guard.mode == "slack")
    guard.close()  # no need to park
    assert register(emulator, TORQUE) == [0] * 6


def test_a_follower_is_not(emulator):
    guard = opened(RIG, emulator.paths)
    guard.slack()
    ticks = guard.status.ticks
    until(lambda: guard.status.ticks > ticks + 20)
    assert guard.mode == "hold" and not guard.parked
    guard.close(unparked=True)


def test_a_leader_whose_agent_dies_is_left_to_the_hand_that_holds_it(emulator):
    guard = opened(LEADER, emulator.paths)
    guard.slack()
    until(lambda: guard.mode == "slack")
    guard._end()  # as an agent that is gone
    assert register(emulator, TORQUE) == [0] * 6
