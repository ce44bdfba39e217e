"""Taking the last episode out again: what is left is sound, whenever the process was killed."""

import shutil
import warnings

import numpy as np
import pytest
from crash_lab import OPEN, SAVED
from dataset_samples import add_rows, assert_episode, record, spec
from test_crash import lab
from test_recorder_process import SPEC, kept
from twinloop.data import Dataset, DatasetWriter
from twinloop.data.check import check
from twinloop.data.layout import data_files, video_files
from twinloop.data.pack import pack
from twinloop.data.recorder_process import RecorderProcess
from twinloop.data.repair import repair
from twinloop.robot.errors import DatasetError


def test_what_is_left_is_as_if_it_had_never_been(tmp_path):
    root, other = record(tmp_path / "d", (12, 9)), record(tmp_path / "o", (12,))
    with DatasetWriter(root, spec(), resume=True) as writer:
        assert writer.retract() == 1 and (writer.num_episodes, writer.num_frames) == (1, 12)
        assert check(root).ok
    assert (
        Dataset(root).open().num_episodes == 1 and len(data_files(root)) == 1 and len(video_files(root)) == 2
    )
    for name in ("meta/stats.json",):
        assert (root / name).read_bytes() == (other / name).read_bytes()
    assert not list((root / ".twinloop").glob("done-*"))


def test_recording_goes_on_behind_it(tmp_path):
    root = record(tmp_path / "d", (12, 9))
    with DatasetWriter(root, spec(), resume=True) as writer:
        writer.retract()
        writer.retract()
        assert check(root).ok and writer.num_episodes == 0
        writer.start("pick")
        add_rows(writer, range(5), 3)
        assert writer.save() == 0
    assert check(root).ok
    assert_episode(Dataset(root).open(), 0, 3, 5)


def test_what_shares_its_files_stays_and_an_empty_dataset_has_nothing(tmp_path):
    root = record(tmp_path / "d", (12, 9))
    pack(root, tmp_path / "packed")
    with DatasetWriter(tmp_path / "packed", spec(), resume=True) as writer:
        with pytest.raises(DatasetError, match="shares its files"):
            writer.retract()
        writer.start("pick")
        with pytest.raises(DatasetError, match="an episode is open"):
            writer.retract()
    assert check(tmp_path / "packed").ok
    with DatasetWriter(tmp_path / "new", spec()) as writer, pytest.raises(DatasetError, match="no episode"):
        writer.retract()


@pytest.mark.thorough
def test_killed_at_any_step(ram_path):
    steps = lab("retract", ram_path, 4)
    assert len(steps) > 5
    counts = []
    for step in steps:
        root = ram_path / f"{int(step):03d}"
        counts.append(Dataset(root).open().num_episodes)  # opens at once, whatever the moment
        assert_episode(Dataset(root).open(), 0, 0, SAVED)
        copy = shutil.copytree(root, ram_path / f"copy{step}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with DatasetWriter(copy, spec(), resume=True) as writer:
                left = writer.num_episodes
                writer.start("pick")
                add_rows(writer, range(4), 2)
                writer.save()
        assert check(copy, deep=False).ok
        assert_episode(Dataset(copy).open(), left, 2, 4)
        done = repair(root)
        assert done.after.ok, done.lines()
        assert Dataset(root).open().num_episodes == left
        if left == 2:
            assert_episode(Dataset(root).open(), 1, 1, OPEN)
    assert counts[0] == 2 and counts[-1] == 1 and sorted(counts, reverse=True) == counts


def test_the_recorder_of_another_process_does_it_too_and_tells_interventions(tmp_path):
    root = tmp_path / "d"
    with RecorderProcess(root, SPEC, intervening=("policy 1",)) as recorder:
        assert kept(recorder, 30).index == 0 and kept(recorder, 8, seed=1).index == 1
        recorder.start("pick")
        recorder.drop()
        done = recorder.retract()
        assert (done.index, done.trouble) == (1, "")
        assert kept(recorder, 5, seed=2).index == 1
        assert recorder.retract().index == 1 and recorder.retract().index == 0
        assert "no episode" in recorder.retract().trouble
        assert kept(recorder, 40).index == 0
    assert check(root).ok
    episode = Dataset(root).open().episode(0)
    np.testing.assert_array_equal(
        episode.columns["intervention"], [k // 20 == 1 for k in range(episode.length)]
    )
