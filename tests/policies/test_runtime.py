"""The policy as an agent: observation in, ensembled plan out, nothing that is not finite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from twinloop.policies.checkpoint import load_policy
from twinloop.policies.runtime import PolicyAgent, RuntimeConfig
from twinloop.robot.errors import CheckpointError
from twinloop.robot.interfaces import Agent
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ArmState, Frame, GripperState, Observation, frozen

RIG = load_rig("so101")
DT = round(1e9 / RIG.control_hz)


def observation(t_ns: int = 0, q: float = 0.1, width: float = 0.03, pictures: bool = False) -> Observation:
    five = frozen([q] * 5)
    rgb = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    return Observation(
        t_ns,
        {"arm": ArmState(t_ns, five, five, five, five, five)},
        {"gripper": GripperState(t_ns, width, 0.0)},
        {name: Frame(t_ns, 0, rgb) for name in ("front", "wrist")} if pictures else {},
    )


def test_a_plan_has_times_expiry_and_source(checkpoint: Path) -> None:
    agent = PolicyAgent.load(checkpoint, "so101", RuntimeConfig(rows=5, hold_s=0.05))
    taken: Agent = agent
    taken.reset(0)
    chunk = taken.act(observation(7 * DT))
    assert chunk.t0_ns == 7 * DT and chunk.dt_ns == DT
    assert chunk.q["arm"].shape == (5, 5) and chunk.width_m["gripper"].shape == (5,)
    assert chunk.q["arm"].dtype == np.float64
    assert chunk.expires_ns == 7 * DT + 4 * DT + 50_000_000
    assert chunk.source == f"policy:{agent.policy.digest}" and len(agent.policy.digest) == 8


def test_the_first_plan_is_what_the_network_says(checkpoint: Path) -> None:
    agent = PolicyAgent.load(checkpoint, RIG, RuntimeConfig(rows=8))
    agent.reset(0)
    chunk = agent.act(observation())
    state = torch.tensor([[0.1] * 5 + [0.03]])
    wanted = load_policy(checkpoint, "cpu").predict(state, {})[0].numpy()
    np.testing.assert_allclose(chunk.q["arm"], wanted[:, :5], atol=1e-6)
    np.testing.assert_allclose(chunk.width_m["gripper"], wanted[:, 5], atol=1e-6)


def test_replanning_in_between_hands_out_the_rest(checkpoint: Path) -> None:
    agent = PolicyAgent.load(checkpoint, RIG, RuntimeConfig(blend="newest", replan=4, rows=8))
    agent.reset(0)
    first = agent.act(observation(0))
    third = [agent.act(observation(k * DT, q=0.2)) for k in (1, 2)][-1]
    np.testing.assert_allclose(third.q["arm"], first.q["arm"][2:])
    assert third.t0_ns == 2 * DT and third.expires_ns == first.expires_ns
    agent.act(observation(3 * DT))
    fresh = agent.act(observation(4 * DT, q=0.2))
    assert len(fresh.q["arm"]) == 8


def test_after_a_long_stall_it_looks_again(checkpoint: Path) -> None:
    agent = PolicyAgent.load(checkpoint, RIG, RuntimeConfig(replan=50))
    agent.reset(0)
    agent.act(observation(0))
    late = agent.act(observation(100 * DT))
    assert late.t0_ns == 100 * DT and len(late.q["arm"]) == 8


def test_reset_forgets_the_last_episode(checkpoint: Path) -> None:
    agent = PolicyAgent.load(checkpoint, RIG)
    agent.reset(0)
    first = agent.act(observation(0))
    for k in range(1, 5):
        agent.act(observation(k * DT, q=-0.4))
    agent.reset(1)
    again = agent.act(observation(0))
    np.testing.assert_array_equal(first.q["arm"], again.q["arm"])


def test_frames_are_resized_as_the_training_cache_does(camera_checkpoint: Path) -> None:
    agent = PolicyAgent.load(camera_checkpoint, RIG, RuntimeConfig(rows=8))
    agent.reset(0)
    obs = observation(pictures=True)
    small = cv2.resize(obs.frames["front"].rgb, (32, 24), interpolation=cv2.INTER_AREA)
    images = {name: torch.from_numpy(small)[None] for name in ("front", "wrist")}
    wanted = agent.policy.predict(torch.tensor([[0.1] * 5 + [0.03]]), images)[0].numpy()
    np.testing.assert_allclose(agent.act(obs).q["arm"], wanted[:, :5], atol=1e-6)


def test_a_missing_frame_is_named(camera_checkpoint: Path) -> None:
    agent = PolicyAgent.load(camera_checkpoint, RIG)
    agent.reset(0)
    with pytest.raises(CheckpointError, match="no frame from camera 'front' yet"):
        agent.act(observation())


def test_nothing_that_is_not_finite_goes_on(checkpoint: Path) -> None:
    agent = PolicyAgent.load(checkpoint, RIG)
    agent.reset(0)
    with pytest.raises(
        CheckpointError, match="predicted nan for 'shoulder_pan.pos', row 0: the observed state"
    ):
        agent.act(observation(q=float("nan")))
    with torch.no_grad():
        next(agent.policy.parameters()).fill_(float("inf"))
    with pytest.raises(CheckpointError, match="its weights are bad; nothing was sent"):
        agent.act(observation())


def test_a_checkpoint_of_another_rig_is_refused(checkpoint: Path) -> None:
    other = replace(RIG, name="so102")
    with pytest.raises(CheckpointError, match="trained on rig 'so101', this is 'so102'"):
        PolicyAgent.load(checkpoint, other)
    changed = replace(RIG, control_hz=20.0)
    with pytest.raises(CheckpointError, match="has changed since"):
        PolicyAgent.load(checkpoint, changed)
    PolicyAgent.load(checkpoint, changed, allow_changed_rig=True)
    unchecked = PolicyAgent(load_policy(checkpoint), other)
    with pytest.raises(CheckpointError, match="so102"):
        unchecked.reset(0)
