"""A full or read-only disk: saved episodes stay, the open one is closed cleanly, the message helps."""

import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dataset_samples import add_rows, assert_episode, record, row, spec
from twinloop.data import Dataset, DatasetWriter, Recorder, recorder_spec
from twinloop.data.check import check
from twinloop.data.pack import pack
from twinloop.data.repair import repair
from twinloop.robot.errors import DatasetError
from twinloop.robot.types import ActionChunk, Applied, ArmState, Frame, Observation, Step, frozen


def run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 3 MB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if not run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)):
        pytest.skip("mounting a tmpfs is not allowed here (needs root)")
    yield mount
    run("umount", "-l", str(mount))


def fill(disk: Path, leave_kb: int) -> Path:
    """A file that leaves about this much free."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            pass
    size = ballast.stat().st_size
    with ballast.open("rb+") as file:
        file.truncate(max(0, size - leave_kb * 1024))
    return ballast


def noisy_rows(writer: DatasetWriter, count: int) -> None:
    """Rows with pictures that hardly compress."""
    rng = np.random.default_rng(0)
    for k in range(count):
        frames = {
            camera: rng.integers(0, 255, (*size, 3), dtype=np.uint8)
            for camera, size in writer.spec.cameras.items()
        }
        writer.add(row(k, 1), frames)
        if k % 20 == 0:  # let the encoder keep up: this is no test of its speed
            threads_idle(writer)


def threads_idle(writer: DatasetWriter) -> None:
    deadline = time.monotonic() + 5
    assert writer._capture is not None
    while time.monotonic() < deadline and writer._capture.error is None:
        if all(video._queue.empty() for video in writer._capture._videos.values()):
            return
        time.sleep(0.005)


def test_disk_fills_while_recording(small_disk):
    root = record(small_disk / "d", (5,))
    with DatasetWriter(root, spec(), resume=True) as writer:
        writer.start("place", {"seed": 9})
        with pytest.raises(DatasetError) as error:
            noisy_rows(writer, 5000)
        for words in (
            str(root),
            "disk full while recording episode 1",
            "saved episodes are intact",
            "repair",
        ):
            assert words in str(error.value)
        assert "\n" not in str(error.value)
        assert not writer.recording
        fill(small_disk, 0)
        with pytest.raises(DatasetError, match="disk full while starting an episode"):
            writer.start("again")
    assert_episode(Dataset(root).open(), 0, 0, 5)
    with pytest.raises(DatasetError, match="disk full while repairing"):
        repair(root)
    assert_episode(Dataset(root).open(), 0, 0, 5)
    (small_disk / "ballast").unlink()
    assert any("interrupted episode" in finding.what for finding in check(root).findings)


def test_the_marked_episode_comes_back_once_there_is_room(small_disk, tmp_path):
    root = record(small_disk / "d", (5,))
    ballast = fill(small_disk, 700)
    with DatasetWriter(root, spec(), resume=True) as writer:
        writer.start("place", {"seed": 9})
        with pytest.raises(DatasetError, match="disk full while recording"):
            noisy_rows(writer, 5000)
    ballast.unlink()
    done = repair(root)
    assert done.recovered == (1,) and done.after.ok, done.lines()
    dataset = Dataset(root).open()
    episode = dataset.episode(1)
    assert episode.length > 20 and episode.info["seed"] == 9
    np.testing.assert_array_equal(episode.columns["action"][:, 0], np.arange(episode.length) + 1)
    assert len(dataset.frames(1, "front")) == episode.length
    assert check(root).ok


def test_a_full_disk_ends_the_episode_and_not_the_loop(small_disk):
    spec = recorder_spec(fps=30, robot_type="so101", arms={"arm": ("a",)}, cameras={"front": (96, 96)})
    rng = np.random.default_rng(0)
    zero = frozen([0.0])
    with DatasetWriter(small_disk / "d", spec) as writer:
        recorder = Recorder(writer)
        recorder.start("pick")
        ballast = fill(small_disk, 200)
        with pytest.warns(UserWarning, match="disk full while recording"):
            for k in range(2000):
                frame = Frame(k, k, rng.integers(0, 255, (96, 96, 3), dtype=np.uint8))
                state = ArmState(k, zero, zero, zero, zero, zero)
                limits = {f"limit {k // 4}": 1} if k < 200 else {}
                applied = Applied(k, {}, {}, {}, {}, limits)
                obs = Observation(k, {"arm": state}, {}, {"front": frame})
                recorder.on_step(Step(obs, ActionChunk(k, 1, {}, {}, k + 1), applied))
                if k % 20 == 0 and writer.recording:
                    threads_idle(writer)
        assert not recorder.recording and isinstance(recorder.error, DatasetError)
        with pytest.raises(DatasetError, match="disk full while recording episode 0"):
            recorder.save()
        ballast.unlink()
        recorder.start("pick")
        recorder.discard()
    assert repair(small_disk / "d").recovered == (0,)


def test_disk_fills_while_saving(small_disk):
    root = record(small_disk / "d", (5,))
    with DatasetWriter(root, spec(), resume=True) as writer:
        writer.start("place")
        add_rows(writer, range(12), 1)
        ballast = fill(small_disk, 60)  # enough to end the logs, not for the saved files
        with pytest.raises(DatasetError, match="disk full while saving episode 1.*intact.*repair"):
            writer.save(last={"next.success": True})
        assert not writer.recording and writer.num_episodes == 1
        assert not list(root.glob(".twinloop/capture-*/stage"))  # its room is given back
        ballast.unlink()
        writer.start("pick")  # the writer itself is still good
        add_rows(writer, range(7), 2)
        assert writer.save() == 1
    assert repair(root).recovered == (2,)
    dataset = Dataset(root).open()
    assert_episode(dataset, 1, 2, 7)
    assert_episode(dataset, 2, 1, 12)
    assert dataset.episode(2).columns["next.success"][-1]
    assert check(root).ok


def test_cache_and_pack_on_a_full_disk_leave_nothing_half_done(small_disk):
    root = record(small_disk / "d", (5, 5))
    fill(small_disk, 20)
    with pytest.raises(DatasetError, match="disk full while caching"):
        Dataset(root).open().cache("front")
    with pytest.raises(DatasetError, match="disk full while packing"):
        pack(root, small_disk / "packed")
    assert not (small_disk / "packed").exists()
    assert not list(small_disk.glob(".packed*"))
    (small_disk / "ballast").unlink()
    assert check(root).ok and not check(root).findings


def test_read_only_disk(small_disk):
    root = record(small_disk / "d", (5,))
    assert run("mount", "-o", "remount,ro", str(small_disk))
    with pytest.raises(DatasetError, match="cannot write while .*; choose a folder that you may write to"):
        DatasetWriter(root, spec(), resume=True).open()
    with pytest.raises(DatasetError, match="cannot write while .*"):
        DatasetWriter(small_disk / "new", spec()).open()
    with pytest.raises(DatasetError, match="cannot write"):
        repair(root)
    assert check(root).ok  # looking needs no writing
    assert_episode(Dataset(root).open(), 0, 0, 5)


def test_cache_of_a_read_only_dataset_goes_to_the_user(small_disk, tmp_path, monkeypatch):
    root = record(small_disk / "d", (5,))
    assert run("mount", "-o", "remount,ro", str(small_disk))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = Dataset(root).open().cache("front", (24, 24))
    assert pictures.shape == (5, 24, 24, 3)
    assert list((tmp_path / "cache/twinloop").rglob("*.u8"))
