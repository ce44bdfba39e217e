"""Random damage, by a seed: one line tells of it, and repair never costs an episode that is not hurt."""

from __future__ import annotations

import json
import random
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from dataset_samples import record
from twinloop.data.check import check
from twinloop.data.info import summary
from twinloop.data.pack import pack
from twinloop.data.reader import Dataset
from twinloop.data.repair import repair
from twinloop.robot.errors import DatasetError

EPISODES, DAMAGES = 3, 160
VALUES = (
    None,
    True,
    -1,
    0,
    7,
    2**70,
    0.5,
    float("nan"),
    "",
    "text",
    "../../out",
    [],
    [1, "a"],
    {},
    {"a": {"b": 1}},
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes with one small camera."""
    root = tmp_path_factory.mktemp("fuzz") / "d"
    record(root, (12, 9, 15), cameras={"wrist": (48, 64)})
    return root


def tree(root: Path) -> list[Path]:
    return sorted(p for top in ("meta", "data", "videos") for p in (root / top).rglob("*") if p.is_file())


def damage(root: Path, rng: random.Random) -> Path:
    """Hurt one file of the dataset; returns it."""
    path = rng.choice(tree(root))
    kind = rng.choice(["flip", "cut", "gone", "folder", "zeros", "value", "value", "value"])
    content = bytearray(path.read_bytes())
    if kind == "value" and path.suffix in (".json", ".jsonl"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        line = rng.randrange(len(lines))
        lines[line] = json.dumps(change(json.loads(lines[line]), rng))
        path.write_text("\n".join(lines) + "\n")
    elif kind == "cut":
        path.write_bytes(content[: rng.randrange(len(content))])
    elif kind == "gone":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        for _ in range(rng.choice([1, 3, 40])):
            at = rng.randrange(len(content))
            content[at] = 0 if kind == "zeros" else content[at] ^ (1 << rng.randrange(8))
        path.write_bytes(content)
    return path


def change(value, rng: random.Random):
    """Replace, remove or rename something inside a JSON value."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        how = rng.random()
        if how < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if how < 0.25:
            return {(k + "x" if k == key else k): v for k, v in value.items()}
        return {**value, key: change(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        at = rng.randrange(len(value))
        return [*value[:at], change(value[at], rng), *value[at + 1 :]]
    return rng.choice(VALUES)


def readable(root: Path) -> int:
    """Episodes whose rows can be read."""
    try:
        dataset = Dataset(root).open()
    except DatasetError:
        return 0
    found = 0
    for index in range(dataset.num_episodes):
        try:
            found += np.isfinite(dataset.episode(index).columns["observation.state"]).all()
        except DatasetError:
            continue
    return found


def told(action, *args) -> object:
    """What `action` gives, or its one line."""
    try:
        return action(*args)
    except DatasetError as error:
        assert "\n" not in str(error), error
        return error


@pytest.mark.parametrize("block", [0, *(pytest.param(k, marks=pytest.mark.thorough) for k in (1, 2, 3))])
def test_random_damage(sound: Path, tmp_path: Path, block: int):
    for seed in range(block, DAMAGES, 4):
        rng = random.Random(seed)
        root = tmp_path / str(seed)
        shutil.copytree(sound, root)
        hurt = damage(root, rng)
        others = EPISODES - 1 if hurt.parts[-2].startswith("chunk-") else EPISODES
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # missing videos
                before = readable(root)
                for action in (check, summary):
                    told(action, root)
                told(pack, root, tmp_path / f"{seed}-packed")
                outcome = told(repair, root)
                after = readable(root)
        except Exception as error:
            pytest.fail(f"seed {seed}, {hurt.relative_to(root)}: {type(error).__name__}: {error}")
        assert after >= min(before, others), f"seed {seed}, {hurt.relative_to(root)}: {outcome}"
        if not isinstance(outcome, DatasetError) and hurt.suffix != ".mp4":
            assert after >= others, f"seed {seed}, {hurt.relative_to(root)}: {outcome.lines()}"
        shutil.rmtree(root)
