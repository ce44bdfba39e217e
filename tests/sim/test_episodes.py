"""Episodes of the twin: experts succeed, a seed is the same twice, a logged draw replays bit for bit."""

import hashlib
import json

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from twinloop.launch.session import run_episode
from twinloop.robot.rig import load_rig
from twinloop.sim.env import TwinEnv
from twinloop.sim.noise import NoisyAgent
from twinloop.sim.tasks import TASKS
from twinloop.sim.vector import TwinVectorEnv
from twinloop.sim.world import open_world


class Hash:
    """An observer that hashes every state and command."""

    def __init__(self):
        self.sha = hashlib.sha256()

    def on_step(self, step):
        for arm in step.obs.arms.values():
            self.sha.update(arm.q.tobytes() + arm.dq.tobytes() + arm.tau.tobytes())
        for sent in step.applied.sent_q.values():
            self.sha.update(np.asarray(sent).tobytes())


def episode(world, seed, noise=0.03):
    log = Hash()
    result = run_episode(
        world, lambda twin: NoisyAgent(world.task.expert(twin), noise), seed, observers=[log], keep_trace=True
    )
    return result, log.sha.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, marks=pytest.mark.thorough if task in ("push", "stack") else ())
        for task in sorted(TASKS)
    ],
)
def test_expert_succeeds_under_full_randomisation_and_noise(task):
    """The claim is 95 %; of 8 seeds at least 7 keeps chance out of the suite."""
    world = open_world(load_rig("so101"), task, cameras=())
    results = [episode(world, seed)[0].success for seed in range(8)]
    assert sum(results) >= 7, results


def test_same_seed_same_bits_and_other_seed_others():
    world = open_world(load_rig("so101"), "lift", cameras=())
    (first, a), (_, b), (_, c) = episode(world, 5), episode(world, 5), episode(world, 6)
    assert a == b and a != c
    assert first.steps > 20


def test_a_new_process_worth_of_state_makes_no_difference():
    """A world that has run other episodes gives the same bits as a fresh one."""
    used, fresh = (open_world(load_rig("so101"), "lift", cameras=()) for _ in range(2))
    episode(used, 3)
    assert episode(used, 9)[1] == episode(fresh, 9)[1]


def test_logged_draw_replays_after_a_round_trip_through_json():
    world = open_world(load_rig("so101"), "reach", cameras=())
    result, _ = episode(world, 11, noise=0.0)
    draw = json.loads(json.dumps(result.draw))
    robot, _ = world.start_from(draw, 11)
    assert np.array_equal(robot.twin.data.qpos, world.start(11)[0].twin.data.qpos)
    assert len(draw) >= 30


def test_pictures_of_an_episode_are_the_same_twice():
    world = open_world(load_rig("so101"), "reach", size=(64, 48))

    def pictures():
        result = run_episode(world, world.task.expert, 2, keep_trace=True)
        return np.stack([traced.step.obs.frames["wrist"].rgb for traced in result.trace[:10]])

    assert np.array_equal(pictures(), pictures())
    world.close()


@pytest.mark.parametrize("cameras", [(), ("wrist",)])
def test_gymnasium_environment_passes_check_env(cameras):
    env = TwinEnv("reach", cameras=cameras, size=(64, 48))
    check_env(env, skip_render_check=True)
    env.close()


def test_environment_stays_within_the_guards_limits():
    """Random actions at full scale: no joint leaves its range by more than servo overshoot (docs/safety.md)."""
    env = TwinEnv("reach", randomize=())
    env.reset(seed=0)
    spec = load_rig("so101").joint_spec("arm")
    rng = np.random.default_rng(0)
    acted = set()
    for _ in range(90):
        obs, _, _, _, info = env.step(rng.choice([-1.0, 1.0], size=6))
        acted |= {name for name, ticks in info["limits"].items() if ticks}
        q = obs["state"][:5]
        assert (q >= spec.q_min - 0.05).all() and (q <= spec.q_max + 0.05).all()
    assert acted, "actions at full scale must meet some limit, and the guard must say so"
    env.close()


def test_vector_environment_agrees_with_its_own_seeds():
    """The same seeds and actions give the same observations, whatever the neighbours do."""
    first, second = TwinVectorEnv(4, "reach"), TwinVectorEnv(2, "reach")
    a, _ = first.reset(seed=[1, 2, 3, 4])
    b, _ = second.reset(seed=[1, 2])
    assert np.array_equal(a["state"][:2], b["state"])
    rng = np.random.default_rng(0)
    for _ in range(10):
        action = rng.uniform(-1, 1, (4, 6))
        a = first.step(action)[0]
        b = second.step(action[:2])[0]
    assert np.array_equal(a["state"][:2], b["state"])
    assert np.isfinite(a["state"]).all()
    first.close()
    second.close()
