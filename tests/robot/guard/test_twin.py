"""The same guard in front of the twin: its physics, backlash, delays and gravity."""

import numpy as np
import pytest
from guard_fakes import MS, assert_limits
from twinloop.robot.loop import ControlLoop
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin, TwinRobot

COMMANDS = 3000
HUNTING_DEG = 0.3  # what an arm may move for ever before something that it cannot pass
OVERSHOOT_M = 0.02  # what docs/safety.md states for the true arm: servo lag, backlash and sag come on top


@pytest.mark.slow
def test_random_commands_on_the_twin_keep_every_limit():
    rig = load_rig("so101")
    twin = Twin(build_scene(rig))
    home = np.array(twin.scene.descriptions["arm"].home_q_rad)
    twin.set_arm("arm", home, 0.03)
    robot, sent = TwinRobot(twin), []
    guard, model = robot.guard, robot.guard._collision
    original = twin.arms["arm"].command
    twin.arms["arm"].command = lambda q: (sent.append(np.array(q)), original(q))[1]  # type: ignore[method-assign]
    robot.open()
    spec, rng = twin.arms["arm"].spec, np.random.default_rng(0)
    worst_sent = worst_true = np.inf
    aim = home
    for k in range(COMMANDS):
        if rng.random() < 0.08:
            aim = rng.uniform(spec.q_min, spec.q_max)
        rows = np.tile(aim, (3, 1)) + rng.normal(size=(3, 5)) * 0.02
        if rng.random() < 0.1:
            rows[rng.integers(3), rng.integers(5)] = rng.choice([np.nan, np.inf, 1e300, 9.0])
        now = robot.clock.now()
        robot.apply(
            ActionChunk(now, 10 * MS, {"arm": rows}, {"gripper": rng.uniform(0, 0.1, 3)}, now + 60 * MS)
        )
        if guard.mode == "fault":
            while not guard._mover.at_rest:
                robot.clock.sleep_until(robot.clock.now() + 100 * MS)
            guard.rearm()
            sent.clear()
        robot.clock.sleep_until(robot.clock.now() + 10 * MS)
        if k % 5 == 0:
            worst_sent = min(worst_sent, float((model.distances(guard._mover.p) - model.limit).min()))
            width = guard.gripper_states["gripper"].width_m
            true = np.append(twin.arms["arm"].servos.true_q(), width)
            worst_true = min(worst_true, float((model.distances(true) - model.limit).min()))
    assert_limits(np.array(sent), spec, guard.period_ns * 1e-9)
    assert worst_sent > -1e-3
    assert worst_true > -OVERSHOOT_M
    assert {"jerk", "table"} <= set(guard.limits.total)
    robot.close()
    assert "released_unparked" not in guard.limits.total


class _Constant:
    def __init__(self, q_rad):
        self.q_rad = q_rad

    def reset(self, *_args, **_options):
        pass

    def act(self, observation):
        t = observation.t_ns
        return ActionChunk(t, 33 * MS, {"arm": self.q_rad[None]}, {}, t + 90 * MS)


class _Sent:
    def __init__(self):
        self.q_rad, self.limits = [], set()

    def on_step(self, step):
        self.q_rad.append(step.applied.sent_q["arm"])
        self.limits = set(step.applied.limits)


HOME_DEG = (0, -34.4, 25.8, 74.5, -87.1)


@pytest.mark.parametrize(
    ("start_deg", "goal_deg", "width_m"),
    [
        (HOME_DEG, (-14.6, -98, 97, 70, -68), 0.0),
        (HOME_DEG, (0, -99, 96, 73, -87), 0.0),
        (HOME_DEG, (0, 60, 0, 30, 0), 0.0),
        ((-53.084, 26.896, 31.769, 87.09, -116.305), (31.464, 43.688, 95.066, 82.439, 111.781), 0.064),
    ],
)
def test_an_arm_held_off_a_constant_goal_comes_to_rest(start_deg, goal_deg, width_m):
    """Folded onto itself, pressed to the table, wedged between both: what is sent must not hunt."""
    twin = Twin(build_scene(load_rig("so101")))
    twin.set_arm("arm", np.radians(start_deg), width_m)
    robot, sent = TwinRobot(twin), _Sent()
    robot.open()
    try:
        ControlLoop(robot, _Constant(np.radians(goal_deg)), 33 * MS, (sent,)).run(12000 * MS)
    finally:
        robot.close()
    late = np.degrees(sent.q_rad)[300:]
    assert np.ptp(late, axis=0).max() < HUNTING_DEG
    assert np.abs(late[-1] - goal_deg).max() > 1.0  # held off it
    assert {"table", "self_collision"} & sent.limits  # and said why
