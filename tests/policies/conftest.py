"""Shared by the tests: one torch thread, a small trained state policy, demonstrations."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import dots
import pytest
import torch
from twinloop.policies.bc import BCConfig
from twinloop.policies.samples import Samples
from twinloop.policies.train import TrainConfig, default_config, train
from twinloop.robot.rig import load_rig

torch.set_num_threads(1)  # networks this small gain nothing from a second, and suffer on a busy machine


@pytest.fixture(scope="session")
def small() -> TrainConfig:
    """A training of a second."""
    return replace(
        default_config("bc"),
        steps=40,
        batch=32,
        chunk=8,
        validate_every=20,
        save_every=10,
        report_every=5,
        bc=BCConfig((32, 32)),
    )


@pytest.fixture(scope="session")
def rows() -> Samples:
    """Twelve demonstrations of the dots, with pictures."""
    return dots.demonstrations(12, pictures=True)


@pytest.fixture(scope="session")
def so101_rows() -> Samples:
    """Random rows with the names of the shipped rig: what fits a checkpoint, not what is learnt."""
    return dots.random_rows(load_rig("so101"))


@pytest.fixture(scope="session")
def _trained(so101_rows: Samples, small: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("checkpoint") / "bc"
    train(so101_rows, small, out)
    return out


@pytest.fixture
def checkpoint(_trained: Path, tmp_path: Path) -> Path:
    """A state policy for the shipped rig, the test's own copy."""
    return Path(shutil.copytree(_trained, tmp_path / "bc"))


@pytest.fixture(scope="session")
def _trained_camera(
    so101_rows: Samples, small: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("checkpoint") / "keypoint"
    train(so101_rows, replace(small, method="keypoint", steps=4), out)
    return out


@pytest.fixture
def camera_checkpoint(_trained_camera: Path, tmp_path: Path) -> Path:
    """A camera policy for the shipped rig, the test's own copy."""
    return Path(shutil.copytree(_trained_camera, tmp_path / "keypoint"))
