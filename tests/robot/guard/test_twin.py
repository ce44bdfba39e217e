"""The same guard in front of the twin: its physics, backlash, delays and gravity."""

import numpy as np
import pytest
from guard_fakes import MS, assert_limits
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin, TwinRobot

COMMANDS = 3000
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
