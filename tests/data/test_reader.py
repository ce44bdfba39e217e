"""Reading: our datasets, others' datasets, and damaged ones."""

import json
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_samples import add_rows, level, levels, picture, record, row, spec
from twinloop.data import Dataset, DatasetWriter
from twinloop.robot.errors import DatasetError

REAL = Path(os.environ.get("TWINLOOP_DATA", Path(__file__).parents[3] / "shared/data")) / "so101_teleop_v3"


@pytest.mark.skipif(not REAL.exists(), reason=f"real data not here ({REAL})")
def test_a_real_dataset_without_its_videos_loads():
    with pytest.warns(UserWarning, match=r"video missing: videos/observation.images.front/.* and 1 more"):
        dataset = Dataset(REAL).open()
    assert (dataset.num_episodes, dataset.num_frames) == (3, 1119)
    assert dataset.spec.fps == 30 and dataset.spec.cameras == {"front": (480, 640), "top": (480, 640)}
    assert dataset.spec.vectors["action"][-1] == "gripper.pos"
    assert dataset.tasks == ("Pick the orange cube and place it in the box",)
    action = dataset.column("action")
    assert action.shape == (1119, 6) and action.dtype == np.float32 and not action.flags.writeable
    episode = dataset.episode(1)
    start = sum(dataset.lengths[:1])
    np.testing.assert_array_equal(episode.columns["action"], action[start : start + episode.length])
    assert episode.task == dataset.tasks[0] and episode.info == {}
    assert dataset.column("timestamp")[start] == 0
    with pytest.raises(DatasetError, match=r"file-000.mp4: no such video; copy it back"):
        dataset.frames(0, "front")
    with pytest.raises(DatasetError, match="no such video"):
        dataset.cache("front")


def test_one_missing_video_leaves_the_rest(tmp_path):
    root = record(tmp_path / "d", (4, 5))
    (root / "videos/observation.images.wrist/chunk-000/file-001.mp4").unlink()
    with pytest.warns(
        UserWarning, match=r"video missing: videos/observation.images.wrist/chunk-000/file-001.mp4;"
    ):
        dataset = Dataset(root).open()
    assert dataset.episode(1).length == 5
    assert len(dataset.frames(1, "front")) == 5 and len(dataset.frames(0, "wrist")) == 4
    with pytest.raises(DatasetError, match="file-001.mp4"):
        dataset.frames(1, "wrist")


def test_an_unknown_name_gets_the_nearest_one(tmp_path):
    dataset = Dataset(record(tmp_path / "d", (4,))).open()
    with pytest.raises(DatasetError, match="no camera 'frnt'; did you mean 'front'"):
        dataset.frames(0, "frnt")
    with pytest.raises(DatasetError, match="no column 'acton'; did you mean 'action'"):
        dataset.column("acton")
    with pytest.raises(DatasetError, match="has episodes 0 to 0, not 1"):
        dataset.episode(1)


def edit_info(root: Path, **changes) -> None:
    path = root / "meta/info.json"
    info = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in info.items() if value is not None}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codebase_version": "v4.0"}, ["codebase_version 'v4.0'", "reads v3.0", "update twinloop"]),
        ({"codebase_version": "v2.1"}, ["codebase_version 'v2.1'", "convert"]),
        ({"twinloop": {"format": 99}}, ["twinloop format 99", "knows up to 1", "update twinloop"]),
        ({"features": None}, ["lacks features", "repair"]),
        ({"total_episodes": 5}, ["promises 5 episodes, meta/episodes lacks 3", "episode 2", "repair"]),
    ],
)
def test_a_dataset_of_another_version_or_with_gaps(tmp_path, changes, words):
    root = record(tmp_path / "d", (4, 5))
    edit_info(root, **changes)
    with pytest.raises(DatasetError) as error:
        Dataset(root).open()
    for word in [*words, str(root)]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["meta/info.json", "meta/tasks.parquet", "meta/episodes/chunk-000/file-001.parquet"]
)
@pytest.mark.parametrize("damage", ["cut", "gone", "garbage"])
def test_damaged_metadata_names_the_file_and_the_way_out(tmp_path, name, damage):
    root = record(tmp_path / "d", (4, 5))
    path = root / name
    if damage == "gone":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else os.urandom(200))
    with pytest.raises(DatasetError, match=r"repair|check|is this the root") as error:
        Dataset(root).open()
    assert str(root) in str(error.value) and "\n" not in str(error.value)


def test_truncated_rows_name_the_file_and_the_other_episodes_load(tmp_path):
    root = record(tmp_path / "d", (4, 5))
    path = root / "data/chunk-000/file-001.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    dataset = Dataset(root).open()
    assert dataset.episode(0).length == 4
    with pytest.raises(DatasetError, match=r"data/chunk-000/file-001.parquet: cannot be read.*repair"):
        dataset.episode(1)
    with pytest.raises(DatasetError, match=r"file-001.parquet"):
        dataset.column("action")


def test_truncated_video_names_the_file(tmp_path):
    root = record(tmp_path / "d", (4, 25))
    path = root / "videos/observation.images.front/chunk-000/file-001.mp4"
    path.write_bytes(path.read_bytes()[:-200])
    dataset = Dataset(root).open()
    with pytest.raises(DatasetError, match=r"observation.images.front/chunk-000/file-001.mp4"):
        dataset.frames(1, "front")


def test_no_dataset_at_all(tmp_path):
    with pytest.raises(DatasetError, match="no such folder; a dataset is a folder with meta/info.json"):
        Dataset(tmp_path / "nothing").open()
    with pytest.raises(DatasetError, match="no such file; is this the root of a dataset"):
        Dataset(tmp_path).open()
    with pytest.raises(DatasetError, match="is not open"):
        _ = Dataset(tmp_path).num_frames


def test_cache_is_decoded_once_and_follows_the_dataset(tmp_path, monkeypatch):
    root = record(tmp_path / "d", (4, 5))
    cache = Dataset(root).open().cache("front")
    assert cache.shape == (9, 96, 96, 3) and cache.dtype == np.uint8
    np.testing.assert_allclose(levels(cache), [level(k) for k in (0, 1, 2, 3, 0, 1, 2, 3, 4)], atol=3)
    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "frames", None)  # decoding again would fail
        again = Dataset(root).open().cache("front")
    np.testing.assert_array_equal(cache, again)
    small = Dataset(root).open().cache("front", (24, 32), tmp_path / "elsewhere")
    assert small.shape == (9, 24, 32, 3) and (tmp_path / "elsewhere/front-24x32.u8").exists()
    with DatasetWriter(root, spec(), resume=True) as writer:
        writer.start("pick")
        add_rows(writer, range(3))
        writer.save()
    assert len(Dataset(root).open().cache("front")) == 12


def test_a_cache_of_other_pictures_is_made_again(tmp_path):
    root = record(tmp_path / "d", (4,))
    Dataset(root).open().cache("front")
    other = record(tmp_path / "other", (4,), cameras={"front": (96, 96)})
    with DatasetWriter(other, spec(cameras={"front": (96, 96)}), resume=True) as writer:
        writer.start("pick")
        for k in range(4):
            writer.add(row(k), {"front": picture(k + 4, (96, 96))})
        writer.save()
    name = "videos/observation.images.front/chunk-000"
    (other / name / "file-001.mp4").replace(root / name / "file-000.mp4")
    cache = Dataset(root).open().cache("front")
    np.testing.assert_allclose(levels(cache), [level(k + 4) for k in range(4)], atol=3)


def test_a_cut_cache_is_made_again(tmp_path):
    root = record(tmp_path / "d", (4,))
    Dataset(root).open().cache("wrist")
    path = next((root / ".twinloop/cache").glob("wrist*.u8"))
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_allclose(
        levels(Dataset(root).open().cache("wrist")), [level(k) for k in range(4)], atol=3
    )


def test_pictures_inside_the_data_files(tmp_path):
    """LeRobot's dtype "image": PNG bytes in a column, here under a key without our prefix."""
    root = record(tmp_path / "d", (4,), cameras={"front": (96, 96)})
    pictures = np.stack([np.full((96, 96, 3), (level(k), 10, 200), np.uint8) for k in range(4)])
    encoded = [cv2.imencode(".png", picture[..., ::-1])[1].tobytes() for picture in pictures]
    path = root / "data/chunk-000/file-000.parquet"
    column = pa.array([{"bytes": content, "path": None} for content in encoded])
    pq.write_table(pq.read_table(path).append_column("observation.image", column), path)
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.image"] = {
        **info["features"].pop("observation.images.front"),
        "dtype": "image",
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = Dataset(root).open()
    assert list(dataset.spec.cameras) == ["observation.image"]
    np.testing.assert_array_equal(dataset.frames(0, "observation.image"), pictures)
    np.testing.assert_array_equal(dataset.frame(0, "observation.image", 2), pictures[2])
    assert "observation.image" not in dataset.episode(0).columns
    np.testing.assert_array_equal(dataset.cache("observation.image"), pictures)
