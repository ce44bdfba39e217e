"""LeRobot 0.6.1's own loader loads, decodes, batches and resumes what we wrote."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from dataset_samples import add_rows, assert_episode, level, record, spec
from twinloop.data import Dataset, DatasetWriter
from twinloop.data.check import check
from twinloop.data.pack import pack
from twinloop.data.repair import repair

PEERS = Path(__file__).parents[2] / "benchmarks/peers"
PYTHON = Path(os.environ.get("TWINLOOP_LEROBOT_PYTHON", PEERS / ".venv-lerobot/bin/python"))

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="LeRobot's environment is not here; benchmarks/peers/lerobot_env.sh makes it"
)


def lerobot(*steps: tuple[str, Path]) -> list[dict]:
    """Let LeRobot load or resume datasets, in one process since its imports take seconds."""
    script = Path(__file__).with_name("lerobot_peer.py")
    words = [str(word) for step in steps for word in step]
    home = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(steps[0][1].parent / "hf")}
    command, environment = [str(PYTHON), str(script), *words], {**os.environ, **home}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def assert_seen(seen: dict, dataset: Dataset) -> None:
    """LeRobot sees every number and every picture that we wrote, in its row."""
    assert (seen["episodes"], seen["frames"]) == (dataset.num_episodes, dataset.num_frames)
    assert seen["fps"] == 30 and seen["robot_type"] == "so101"
    columns = {key: dataset.column(key) for key in dataset.episode(0).columns}
    for i, row in enumerate(seen["rows"]):
        for key, values in columns.items():
            np.testing.assert_allclose(row[key], np.ravel(values[i]), atol=1e-5, err_msg=f"{key} of row {i}")
    for key in columns:
        mean = np.ravel(dataset.stats[key]["mean"])
        np.testing.assert_allclose(seen["stats_mean"][key], mean, rtol=1e-5, atol=1e-6)


def test_lerobot_loads_decodes_batches_and_resumes(tmp_path):
    root = record(tmp_path / "d", (12, 9))
    seen, appended = lerobot(("load", root), ("resume", root))
    assert_seen(seen, Dataset(record(tmp_path / "same", (12, 9))).open())
    assert seen["tasks"] == ["pick", "place"]
    assert seen["features"]["action"] == [3] and seen["features"]["observation.images.front"] == [96, 96, 3]
    assert seen["batch"]["action"] == [8, 10, 3]
    assert seen["batch"]["observation.images.front"] == [8, 3, 96, 96]
    for i, k in enumerate([*range(12), *range(9)]):
        for camera in ("front", "wrist"):
            np.testing.assert_allclose(seen["rows"][i][f"observation.images.{camera}"], level(k), atol=3)

    # It goes on recording into our dataset, we go on after it, and both read the result.
    assert appended == {"episodes": 3}
    assert check(root).ok, check(root).lines()
    dataset = Dataset(root).open()
    assert dataset.episode(2).task == "what LeRobot does"
    assert dataset.episode(0).info["seed"] == 100 and dataset.spec == spec()  # LeRobot dropped none of ours
    np.testing.assert_array_equal(dataset.episode(2).columns["action"][:, 0], range(12))
    assert abs(float(dataset.frame(2, "front", 7).mean()) - 70) < 4
    with DatasetWriter(root, spec(), resume=True) as writer:
        writer.start("place")
        add_rows(writer, range(6), 3)
        assert writer.save() == 3
    dataset = Dataset(root).open()
    assert_episode(dataset, 3, 3, 6)

    # The same once it is packed, across the two encoders.
    pack(root, tmp_path / "packed")
    packed = Dataset(tmp_path / "packed").open()
    assert_episode(packed, 3, 3, 6)
    for seen in lerobot(("load", root), ("load", tmp_path / "packed")):
        assert_seen(seen, packed)


def test_lerobot_loads_what_was_repaired(tmp_path):
    root = record(tmp_path / "d", (12, 9, 15))
    (root / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1")
    writer = DatasetWriter(root, spec(), resume=True)
    writer.open()
    writer.start("pick")
    add_rows(writer, range(10), 3)
    with pytest.warns(UserWarning, match="brings it back"):
        writer.close()
    done = repair(root)
    assert done.after.ok and done.recovered == (2,), done.lines()
    assert_seen(lerobot(("load", root))[0], Dataset(root).open())
