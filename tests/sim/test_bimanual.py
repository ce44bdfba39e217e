"""Two arms: one works while the other rests, and the guard keeps them off each other."""

import mujoco
import numpy as np
import pytest
from twinloop.launch.session import run_episode
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.scene import build_scene, prefix
from twinloop.sim.twin import Twin, TwinRobot
from twinloop.sim.world import open_world


@pytest.mark.parametrize("task", ["lift", "pick_place"])
def test_one_arm_works_and_the_other_rests(task):
    world = open_world(load_rig("so101_bimanual"), task, cameras=())
    done = []
    for seed in range(4):
        result = run_episode(world, world.task.expert, seed, keep_trace=True)
        done.append(result.success)
        idle = np.array([traced.step.obs.arms["right"].q for traced in result.trace])
        rest = world.scene.descriptions["right"].rest_q_rad
        assert np.abs(idle - rest).max() < 0.12  # the drawn bias of the encoders and the sag included
        assert np.ptp(idle, axis=0).max() < 0.1
    assert sum(done) >= 3


def touching(twin: Twin) -> bool:
    """Whether a geom of one arm touches one of the other."""
    model = twin.model
    for contact in twin.data.contact[: twin.data.ncon]:
        names = [model.body(model.geom_bodyid[g]).name for g in contact.geom]
        if {prefix("left"), prefix("right")} <= {n[: n.find("/") + 1] for n in names}:
            return True
    return False


@pytest.mark.thorough
@pytest.mark.slow
def test_arms_that_are_sent_into_each_other_stay_apart():
    """Random goals between them, as fast as they may, sometimes for one arm only while the other one stands."""
    rng = np.random.default_rng(7)
    scene = build_scene(load_rig("so101_bimanual"))
    acted = 0
    for _ in range(5):
        twin = Twin(scene)
        for arm in ("left", "right"):
            twin.set_arm(arm, np.array(scene.descriptions[arm].home_q_rad), 0.03)
        robot = TwinRobot(twin)
        robot.open()
        goals = {arm: np.zeros(5) for arm in ("left", "right")}
        for _ in range(40):
            for arm, inwards in (("left", 1.0), ("right", -1.0)):
                if rng.random() < 0.7:
                    pan = inwards * rng.uniform(-0.2, 1.9)
                    low, high = [-1.0, -1.2, -1.6, -2.7], [1.2, 1.2, 1.6, 2.7]
                    goals[arm] = np.append(pan, rng.uniform(low, high))
            some = rng.choice(["left right", "left", "right"], p=[0.6, 0.2, 0.2]).split()
            for _ in range(int(rng.integers(2, 14))):
                obs = robot.observe()
                q = {arm: goals[arm][None] for arm in some}
                applied = robot.apply(ActionChunk(obs.t_ns, 33_333_333, q, {}, obs.t_ns + 100_000_000))
                acted += applied.limits.get("self_collision", 0)
                for _ in range(4):
                    robot.clock.sleep_until(robot.clock.now() + 8_333_333)
                    assert not touching(twin)
        robot.release()
    assert acted > 500, "nothing was in the way: the test shows nothing"


def test_without_the_guard_the_same_goals_collide():
    """The proof that the test above can fail."""
    twin = Twin(build_scene(load_rig("so101_bimanual")))
    for arm in ("left", "right"):
        twin.set_arm(arm, np.array(twin.scene.descriptions[arm].home_q_rad), 0.03)
    met = False
    for arm, pan in (("left", 1.2), ("right", -1.2)):
        twin.arms[arm].command(np.array([pan, 0.4, -0.3, 0.3, 0.0]))
    for _ in range(300):
        twin.clock.sleep_until(twin.clock.now() + 5_000_000)
        met = met or touching(twin)
    assert met
    assert mujoco.mj_name2id(twin.model, mujoco.mjtObj.mjOBJ_BODY, "left/base") != 0
