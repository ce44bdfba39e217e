"""Learning, on a task that takes seconds: every method must solve it, and what makes it work must matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dots
import numpy as np
import pytest
import torch
from twinloop.policies.act import ACTConfig
from twinloop.policies.checkpoint import load_policy
from twinloop.policies.chunks import Ensemble
from twinloop.policies.keypoint import KeypointConfig
from twinloop.policies.policy import Policy
from twinloop.policies.samples import Samples
from twinloop.policies.train import TrainConfig, default_config, train

pytestmark = pytest.mark.slow
EPISODES, STEPS = 50, 60


def success_rate(policy: Policy) -> float:
    """Share of `EPISODES` new goals that the policy reaches, with ensembled chunks."""
    worlds = [dots.Dots.new(10_000 + k) for k in range(EPISODES)]
    plans = [Ensemble() for _ in worlds]
    for step in range(STEPS):
        states = [world.state for world in worlds]
        if len(policy.config.state_names) > 3:
            states = [np.concatenate([s, w.goal]) for s, w in zip(states, worlds, strict=True)]
        images = {}
        if policy.config.cameras:
            images["front"] = torch.from_numpy(np.stack([world.picture() for world in worlds]))
        with torch.inference_mode():
            chunks = policy.predict(torch.from_numpy(np.stack(states)), images).numpy()
        for world, plan, chunk in zip(worlds, plans, chunks, strict=True):
            plan.add(step, 1, chunk.astype(np.float64))
            world.step(plan.plan(step)[1][0].astype(np.float32))
    return sum(world.success() for world in worlds) / EPISODES


@pytest.fixture(scope="module")
def pictures() -> Samples:
    return dots.demonstrations(60, pictures=True)


def keypoint_recipe(steps: int) -> TrainConfig:
    return replace(
        default_config("keypoint"),
        steps=steps,
        batch=64,
        chunk=8,
        lr=2e-3,
        ema=0.98,
        validate_every=1000,
        keypoint=KeypointConfig((8, 16, 16), 8, hidden=(128,), aux_hidden=(64,)),
    )


def test_state_policy(tmp_path: Path) -> None:
    rows = dots.demonstrations(60, goal_in_state=True)
    config = replace(default_config("bc"), steps=500, batch=64, chunk=8, ema=0.98)
    result = train(rows, config, tmp_path / "a")
    assert result.losses[-1][1] < 0.5 * result.losses[0][1]
    assert success_rate(load_policy(result.out)) >= 0.95


def test_camera_policy(pictures: Samples, tmp_path: Path) -> None:
    result = train(pictures, keypoint_recipe(500), tmp_path / "a")
    assert result.used["aux_loss"]
    policy = load_policy(result.out)
    assert result.validation["aux_m"] < 0.06  # of a field 1.8 wide, 32 px
    assert success_rate(policy) >= 0.95


@pytest.mark.thorough
def test_act(pictures: Samples, tmp_path: Path) -> None:
    config = replace(
        default_config("act"),
        steps=500,
        batch=32,
        chunk=8,
        lr=2e-3,
        warmup=50,
        ema=0.98,
        validate_every=1000,
        act=ACTConfig(
            dim=64,
            heads=4,
            feed_forward=128,
            encoder_layers=1,
            decoder_layers=1,
            latent_layers=1,
            latent=8,
            stages=(16, 24, 32),
            dropout=0.0,
        ),
    )
    result = train(pictures, config, tmp_path / "a")
    assert success_rate(load_policy(result.out)) >= 0.95
