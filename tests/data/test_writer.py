"""Recording: what goes in comes out; what does not fit is refused in one clear line."""

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from dataset_samples import STATE, add_rows, assert_episode, level, levels, picture, record, row, spec
from twinloop.data import Dataset, DatasetSpec, DatasetWriter, VideoCodec
from twinloop.data.check import check
from twinloop.data.video_log import VideoLog
from twinloop.robot.errors import DatasetError


def test_round_trip(tmp_path):
    dataset = Dataset(record(tmp_path / "d")).open()
    assert (dataset.num_episodes, dataset.num_frames) == (3, 36)
    assert dataset.tasks == ("pick", "place")
    assert dataset.spec == spec()
    for index, length in enumerate((12, 9, 15)):
        assert_episode(dataset, index, index, length)
    episode = dataset.episode(1)
    assert episode.task == "place"
    assert episode.info == {"seed": 101, "note": "done"}
    assert episode.columns["load"].shape == (9, 1)
    assert episode.columns["observation.state"].dtype == np.float32
    assert episode.columns["next.success"].dtype == bool
    assert not dataset.column("next.success")[20] and dataset.column("next.success")[11]
    np.testing.assert_array_equal(dataset.column("episode_index"), [0] * 12 + [1] * 9 + [2] * 15)
    np.testing.assert_array_equal(dataset.column("index"), np.arange(36))
    assert check(tmp_path / "d").ok


def test_one_call_of_frame_is_the_row_of_that_number(tmp_path):
    dataset = Dataset(record(tmp_path / "d")).open()
    assert abs(float(dataset.frame(2, "wrist", 7).mean()) - level(7)) < 3
    with pytest.raises(DatasetError, match="rows 0 to 14, not 15"):
        dataset.frame(2, "wrist", 15)


def test_dropped_frame_is_recorded_and_shifts_nothing(tmp_path):
    with DatasetWriter(tmp_path / "d", spec()) as writer:
        writer.start("pick")
        for k in range(12):
            front = None if k in (0, 5, 6) else picture(k, (96, 96))
            writer.add(row(k), {"front": front, "wrist": picture(k, (48, 64))})
        writer.save()
    dataset = Dataset(tmp_path / "d").open()
    np.testing.assert_array_equal(np.flatnonzero(dataset.column("camera.front.dropped")), [0, 5, 6])
    assert not dataset.column("camera.wrist.dropped").any()
    shown = [0, *(level(k) for k in (1, 2, 3, 4, 4, 4, 7, 8, 9, 10, 11))]
    np.testing.assert_allclose(levels(dataset.frames(0, "front")), shown, atol=3)


def test_add_never_waits_for_a_slow_encoder(tmp_path, monkeypatch):
    gate = threading.Event()
    encode = VideoLog._encode
    monkeypatch.setattr(VideoLog, "_encode", lambda *a: (gate.wait(20), encode(*a))[1])
    with DatasetWriter(tmp_path / "d", spec(), queue_s=0.2) as writer:  # room for 6 pictures
        writer.start("pick")
        add_rows(writer, range(30))
        assert writer.dropped["front"] >= 20
        gate.set()
        writer.save()
    dataset = Dataset(tmp_path / "d").open()
    dropped = dataset.column("camera.front.dropped").astype(bool)
    shown = levels(dataset.frames(0, "front"))
    fresh = np.flatnonzero(~dropped)
    assert 0 < len(fresh) <= 10
    np.testing.assert_allclose(shown[fresh], [level(k) for k in fresh], atol=3)
    assert check(tmp_path / "d").ok


def test_a_simulation_faster_than_real_time_can_wait(tmp_path, monkeypatch):
    encode = VideoLog._encode
    monkeypatch.setattr(VideoLog, "_encode", lambda *a: (time.sleep(0.005), encode(*a))[1])
    with DatasetWriter(tmp_path / "d", spec(), queue_s=0.1, wait=True) as writer:
        writer.start("pick")
        add_rows(writer, range(60))  # far faster than the encoder
        assert not any(writer.dropped.values())
        writer.save()
    assert_episode(Dataset(tmp_path / "d").open(), 0, 0, 60)


def test_the_picture_is_taken_when_it_is_added(tmp_path):
    buffer = picture(0, (96, 96))
    with DatasetWriter(tmp_path / "d", spec(cameras={"front": (96, 96)})) as writer:
        writer.start("pick")
        for k in range(10):
            buffer[:] = level(k)  # a camera that reuses its memory
            writer.add(row(k), {"front": buffer})
        writer.save()
    np.testing.assert_allclose(
        levels(Dataset(tmp_path / "d").open().frames(0, "front")), [level(k) for k in range(10)], atol=3
    )


def test_resume_appends(tmp_path):
    record(tmp_path / "d", (5,))
    with DatasetWriter(tmp_path / "d", spec(extra={**spec().extra, "sources": ["b"]}), resume=True) as writer:
        assert writer.start("place") == 1
        writer.update_extra(sources=["c"])
        add_rows(writer, range(7), 1)
        assert writer.save() == 1
        assert (writer.num_episodes, writer.num_frames) == (2, 12)
    with DatasetWriter(
        tmp_path / "d", spec(extra={**spec().extra, "sources": ["a", "b"]}), resume=True
    ) as writer:
        assert writer.spec.extra["sources"] == ["b", "c", "a"]  # numbers given once stay
    dataset = Dataset(tmp_path / "d").open()
    assert_episode(dataset, 1, 1, 7)
    assert dataset.spec.extra["sources"] == ["b", "c"]
    assert check(tmp_path / "d").ok


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fps": 25}, "fps: dataset 30, now 25"),
        ({"cameras": {"front": (96, 128), "wrist": (48, 64)}}, "camera front: dataset 96x96, now 96x128"),
        ({"cameras": {"front": (96, 96)}}, "camera wrist: dataset 48x64, now (none)"),
        (
            {"vectors": {**spec().vectors, "action": ("a", "b", "c")}},
            "action: dataset [shoulder.pos, ",
        ),
        ({"extra": {**spec().extra, "rig": "koch"}}, "rig: dataset 'so101', now 'koch'"),
        ({"extra": {**spec().extra, "rig_hash": "x"}}, "rig_hash: dataset 'abc', now 'x'"),
        ({"robot_type": "koch"}, "robot type: dataset 'so101', now 'koch'"),
    ],
)
def test_resume_with_something_else_is_refused(tmp_path, changes, words):
    record(tmp_path / "d", (3,))
    with pytest.raises(DatasetError) as error:
        DatasetWriter(tmp_path / "d", spec(**changes), resume=True).open()
    assert words in str(error.value) and str(tmp_path) in str(error.value)
    assert "new folder" in str(error.value) and "\n" not in str(error.value)
    assert check(tmp_path / "d").ok


def test_a_row_that_does_not_fit_is_refused_and_the_episode_goes_on(tmp_path):
    with DatasetWriter(tmp_path / "d", spec()) as writer:
        writer.start("pick")
        add_rows(writer, range(2))
        frames = {camera: picture(2, size) for camera, size in writer.spec.cameras.items()}
        with pytest.raises(DatasetError, match=r"row 2: lacks gain and has unknown gian"):
            writer.add({("gian" if k == "gain" else k): v for k, v in row(2).items()}, frames)
        with pytest.raises(DatasetError, match=r"action has 2 values, the dataset has 3 \(shoulder.pos"):
            writer.add({**row(2), "action": [1, 2]}, frames)
        with pytest.raises(DatasetError, match=r"camera front gave uint8 \(48, 48, 3\).*96x96"):
            writer.add(row(2), {**frames, "front": picture(2, (48, 48))})
        with pytest.raises(DatasetError, match=r"cameras: lacks wrist"):
            writer.add(row(2), {"front": frames["front"]})
        add_rows(writer, range(2, 5))
        writer.save()
    assert_episode(Dataset(tmp_path / "d").open(), 0, 0, 5)


def test_a_wrong_spec_lists_every_mistake(tmp_path):
    wrong = DatasetSpec(
        fps=0,
        robot_type="x",
        vectors={"a/b": ("x",), "timestamp": ("t",), "v": ("n", "n")},
        scalars={"s": "float16"},
        cameras={"front": (97, 96)},
    )
    with pytest.raises(DatasetError) as error:
        DatasetWriter(tmp_path / "d", wrong).open()
    for words in ("fps 0", "a/b", "timestamp", "distinct component names", "float16", "97x96", "96x96"):
        assert words in str(error.value)
    assert not (tmp_path / "d").exists()


def test_an_unknown_codec_names_those_there_are(tmp_path):
    with pytest.raises(DatasetError, match="video codec 'h265x' is not in this FFmpeg.*h264"):
        DatasetWriter(tmp_path / "d", spec(), codec=VideoCodec("h265x")).open()


def test_another_codec(tmp_path):
    with DatasetWriter(
        tmp_path / "d", spec(), codec=VideoCodec("libsvtav1", options={"preset": "12"})
    ) as writer:
        writer.start("pick")
        add_rows(writer, range(12))
        writer.save()
    assert_episode(Dataset(tmp_path / "d").open(), 0, 0, 12)
    assert check(tmp_path / "d").ok


def test_an_existing_folder_is_never_taken_over(tmp_path):
    record(tmp_path / "d", (3,))
    with pytest.raises(DatasetError, match="a dataset is there; pass resume=True"):
        DatasetWriter(tmp_path / "d", spec()).open()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(DatasetError, match="not empty and no dataset"):
        DatasetWriter(tmp_path / "photos", spec(), resume=True).open()


def test_the_second_writer_is_refused_and_a_stale_lock_is_not(tmp_path):
    code = (
        "import sys; from pathlib import Path; from twinloop.data.lock import RootLock\n"
        "RootLock(Path(sys.argv[1])).acquire(); print('locked', flush=True); sys.stdin.read()"
    )
    record(tmp_path / "d", (3,))
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "d")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None and other.stdout.readline() == "locked\n"
        with pytest.raises(DatasetError, match=f"is being written by process {other.pid} on "):
            DatasetWriter(tmp_path / "d", spec(), resume=True).open()
    finally:
        other.kill()
        other.wait()
    writer = DatasetWriter(tmp_path / "d", spec(), resume=True)
    writer.open()  # the killed process left its lock file, and holds nobody out
    with pytest.raises(DatasetError, match="this process already writes this dataset"):
        DatasetWriter(tmp_path / "d", spec(), resume=True).open()
    writer.close()


def test_discard_and_empty_episodes_leave_nothing(tmp_path):
    with DatasetWriter(tmp_path / "d", spec()) as writer:
        writer.start("pick")
        with pytest.raises(DatasetError, match="has no rows"):
            writer.save()
        add_rows(writer, range(3))
        writer.discard()
        assert not writer.recording
        writer.start("pick")
        add_rows(writer, range(4))
        assert writer.save() == 0
        writer.start("nothing comes")
    assert Dataset(tmp_path / "d").open().num_episodes == 1
    assert check(tmp_path / "d").lines()[0].endswith("s)")  # not one finding


def test_closing_an_open_episode_says_so_and_keeps_it(tmp_path):
    writer = DatasetWriter(tmp_path / "d", spec())
    writer.open()
    writer.start("pick")
    add_rows(writer, range(6))
    with pytest.warns(UserWarning, match="an episode of 6 rows was open; .*repair"):
        writer.close()
    writer.close()
    with pytest.raises(DatasetError, match="not open"):
        writer.start("pick")
    with pytest.warns(UserWarning, match="an interrupted episode of 0.2 s"):
        DatasetWriter(tmp_path / "d", spec(), resume=True).open()


def test_misuse_is_told(tmp_path):
    with DatasetWriter(tmp_path / "d", spec()) as writer:
        with pytest.raises(DatasetError, match="no episode is open; call start"):
            writer.add(row(0), {})
        with pytest.raises(DatasetError, match="task: empty"):
            writer.start(" ")
        with pytest.raises(DatasetError, match="JSON-able"):
            writer.start("pick", {"what": object()})
        writer.start("pick", {"draw": np.float32(0.5), "gains": np.arange(3)})
        with pytest.raises(DatasetError, match="an episode is open; save"):
            writer.start("pick")
        add_rows(writer, range(2))
        with pytest.raises(DatasetError, match="no scalar 'next.succes'; did you mean 'next.success'"):
            writer.save(last={"next.succes": True})
        writer.save(last={"next.success": np.bool_(True)})  # the episode was still open
    assert Dataset(tmp_path / "d").open().episode(0).info == {"draw": 0.5, "gains": [0, 1, 2]}


def test_info_json_says_what_lerobot_needs(tmp_path):
    record(tmp_path / "d", (3,))
    info = json.loads((tmp_path / "d/meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert info["features"]["action"] == {"dtype": "float32", "shape": [3], "names": list(STATE)}
    assert info["features"]["observation.images.front"]["shape"] == [96, 96, 3]
    assert info["features"]["camera.front.dropped"]["dtype"] == "int64"
    assert info["splits"] == {"train": "0:1"}
    assert info["twinloop"]["rig_hash"] == "abc"
