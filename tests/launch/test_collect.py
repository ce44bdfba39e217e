"""Demonstrations and deployments as datasets: which seeds, and which action belongs to which row."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from twinloop.data import Dataset
from twinloop.launch.collect import collect
from twinloop.launch.deploy import deploy
from twinloop.launch.session import run_episode
from twinloop.launch.workers import AgentPlan, WorldPlan
from twinloop.policies.samples import Samples
from twinloop.policies.train import default_config, train
from twinloop.robot.rig import load_rig

REACH = WorldPlan(load_rig("so101"), "reach", cameras=())


def seeds(root):
    dataset = Dataset(root).open()
    return [dataset.episode(k).info["seed"] for k in range(dataset.num_episodes)]


def test_a_resumed_collection_goes_on_after_the_last_seed_whatever_its_first(tmp_path):
    root = tmp_path / "d"
    collect(REACH, root, 2, first_seed=7, workers=1)
    assert collect(REACH, root, 2, resume=True, workers=1).episodes == 2
    assert seeds(root) == [7, 8, 9, 10]
    collect(REACH, root, 1, first_seed=50, resume=True, workers=1)
    assert seeds(root)[4:] == [50]


def test_each_step_holds_what_was_meant_asked_and_sent_after_its_observation(tmp_path):
    world = REACH.open()
    result = run_episode(world, world.task.expert, 0, keep_trace=True)
    steps = [traced.step for traced in result.trace]
    assert len(steps) == result.steps - 1  # nobody saw what came of the last one
    for step, after in itertools.pairwise(steps):
        assert step.obs.t_ns < step.applied.t_ns <= after.obs.t_ns
        np.testing.assert_allclose(step.applied.asked_q["arm"], step.chunk.at(step.applied.t_ns)[0]["arm"])
        assert step.applied.source == step.chunk.source
        np.testing.assert_array_equal(step.chunk.at(step.obs.t_ns)[0]["arm"], step.chunk.q["arm"][0])


def test_noise_is_asked_and_never_meant(tmp_path):
    collect(REACH, tmp_path / "quiet", 1, noise_rad=0.0, workers=1)
    collect(REACH, tmp_path / "noisy", 1, noise_rad=0.03, workers=1)
    quiet, noisy = (Dataset(tmp_path / name).open().episode(0).columns for name in ("quiet", "noisy"))
    np.testing.assert_array_equal(quiet["action"][0], noisy["action"][0])
    joints = slice(0, 5)
    assert np.abs(noisy["action.asked"] - noisy["action"])[:, joints].std() > 0.01


@pytest.mark.slow
def test_a_deployment_is_recorded_with_the_policys_own_actions(tmp_path):
    collect(REACH, tmp_path / "d", 4, workers=1)
    samples = Samples.from_dataset(Dataset(tmp_path / "d").open(), cameras=())
    train(samples, replace(default_config("bc"), steps=30, device="cpu"), tmp_path / "p")
    list(deploy(REACH, AgentPlan(tmp_path / "p"), [3], tmp_path / "r"))
    dataset = Dataset(tmp_path / "r").open()
    rows, extra = dataset.episode(0).columns, dataset.spec.extra
    assert {extra["sources"][k].split(":")[0] for k in rows["source"]} == {"policy"}, extra["sources"]
    assert np.abs(rows["action"][0] - rows["observation.state"][0]).max() > 1e-4
    # What was asked is sampled at the end of the period, when a chunk is on its way to its second row.
    assert (rows["action"] != rows["action.asked"]).any()
