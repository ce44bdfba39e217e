"""Small coded episodes: row k carries k, and picture k is grey of a level that tells k."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from twinloop.data import DatasetSpec, DatasetWriter

STATE = ("shoulder.pos", "elbow.pos", "gripper.pos")
FPS = 30


def spec(**changes) -> DatasetSpec:
    """Two cameras, a vector of three and one of one, a scalar of each dtype."""
    values: dict[str, Any] = dict(
        fps=FPS,
        robot_type="so101",
        vectors={"observation.state": STATE, "action": STATE, "load": ("watts",)},
        scalars={
            "time.camera.front": "float64",
            "gain": "float32",
            "source": "int64",
            "next.success": "bool",
        },
        cameras={"front": (96, 96), "wrist": (48, 64)},
        extra={"rig": "so101", "rig_hash": "abc", "units": "SI"},
    )
    return DatasetSpec(**{**values, **changes})


def row(k: int, episode: int = 0) -> dict:
    return {
        "observation.state": np.array([k, episode, 0.5]),
        "action": np.array([k + 1, episode, 0.5]),
        "load": k / 10,
        "time.camera.front": k / FPS - 0.0125,
        "gain": 1.5,
        "source": k % 3,
        "next.success": False,
    }


def level(k: int | np.integer) -> int:
    """Grey level of picture k; neighbours differ by far more than what coding costs."""
    return 30 + (int(k) * 37) % 190


def picture(k: int, size: tuple[int, int]) -> np.ndarray:
    return np.full((*size, 3), level(k), np.uint8)


def levels(pictures: np.ndarray) -> np.ndarray:
    """Mean grey level of each picture."""
    return pictures.reshape(len(pictures), -1).mean(axis=1)


def add_rows(writer: DatasetWriter, rows: Sequence[int] | range, episode: int = 0) -> None:
    for k in rows:
        frames = {camera: picture(k, size) for camera, size in writer.spec.cameras.items()}
        writer.add(row(k, episode), frames)


def record(root: Path, lengths: Sequence[int] = (12, 9, 15), **changes) -> Path:
    """A dataset with episodes of these lengths; tasks "pick" and, for the odd ones, "place"."""
    with DatasetWriter(root, spec(**changes)) as writer:
        for episode, length in enumerate(lengths):
            writer.start("place" if episode % 2 else "pick", {"seed": 100 + episode})
            add_rows(writer, range(length), episode)
            writer.save({"note": "done"}, last={"next.success": episode != 1})
    return root


def assert_episode(dataset, index: int, episode: int, length: int) -> None:
    """Rows and pictures of `index` are the first `length` coded ones of `episode`, none shifted."""
    found = dataset.episode(index)
    assert found.length == length
    steps = np.arange(length)
    np.testing.assert_array_equal(found.columns["action"][:, 0], steps + 1)
    np.testing.assert_array_equal(found.columns["action"][:, 1], episode)
    np.testing.assert_allclose(found.columns["time.camera.front"], steps / FPS - 0.0125)
    for camera in dataset.spec.cameras:
        np.testing.assert_allclose(levels(dataset.frames(index, camera)), [level(k) for k in steps], atol=3)
