"""`gymnasium.make` finds every task by its id, alone and batched."""

import gymnasium
import numpy as np
import pytest
from twinloop.sim.env import TwinEnv
from twinloop.sim.tasks import TASKS
from twinloop.sim.vector import TwinVectorEnv


@pytest.mark.parametrize("task", sorted(TASKS))
def test_make_by_id(task):
    env = gymnasium.make(f"twinloop.sim.registration:twinloop/{task}-v0")
    assert isinstance(env.unwrapped, TwinEnv)
    observation, _ = env.reset(seed=1)
    direct = TwinEnv(task)
    for key, value in direct.reset(seed=1)[0].items():
        assert np.array_equal(observation[key], value)
    observation, reward, *_ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation) and np.isfinite(reward)
    env.close()
    direct.close()


def test_make_vec_by_id():
    env = gymnasium.make_vec(
        "twinloop.sim.registration:twinloop/lift-v0", 3, vectorization_mode="vector_entry_point"
    )
    assert isinstance(env.unwrapped, TwinVectorEnv)
    env.reset(seed=0)
    reward = env.step(env.action_space.sample())[1]
    assert reward.shape == (3,)
    env.close()
