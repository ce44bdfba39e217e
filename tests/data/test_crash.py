"""kill -9 at any moment loses at most the last 0.2 s of the open episode."""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_lab import OPEN, SAVED
from dataset_samples import FPS, add_rows, assert_episode, record, spec
from twinloop.data import Dataset, DatasetWriter
from twinloop.data.check import check
from twinloop.data.repair import repair
from twinloop.robot.errors import DatasetError

LAB = Path(__file__).with_name("crash_lab.py")


def lab(*arguments: object) -> list[str]:
    command = [sys.executable, str(LAB), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def killed_saves(tmp_path_factory) -> Iterator[list[Path]]:
    """Datasets with one saved episode whose writer was killed while it saved the second, each a bit later.

    The last one was not killed. In memory where that is possible: a save takes dozens of fsyncs.
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as base:
        steps = lab("steps", base, 2)
        assert len(steps) > 20  # else the lab no longer hooks the writer's steps
        yield [Path(base) / f"{int(step):03d}" for step in steps]


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.thorough)])
def test_killed_at_any_step_of_a_save(every, killed_saves, ram_path):
    finished = 0
    chosen = killed_saves[::-every]
    for origin in chosen:
        root = shutil.copytree(origin, ram_path / origin.name)
        before = Dataset(root).open()  # opens at once, whatever the moment
        assert_episode(before, 0, 0, SAVED)
        check(root, deep=False)
        done = repair(root)
        assert done.after.ok and not done.after.findings, done.lines()
        dataset = Dataset(root).open()
        assert dataset.num_episodes == 2, done.lines()
        assert_episode(dataset, 1, 1, OPEN)
        episode = dataset.episode(1)
        assert episode.info["seed"] == 7
        told = episode.info.get("said") == "yes"
        assert told == bool(episode.columns["next.success"][-1])
        finished += told
    assert finished >= len(chosen) - 4  # what save() was told is safe from its first steps on
    assert repair(ram_path / killed_saves[-1].name).actions == ()


def test_the_next_writer_finishes_a_save_that_was_decided(killed_saves, ram_path):
    """Not only `repair`: resuming after a crash in the middle of the renames must not lose or double it."""
    counts = []
    for origin in killed_saves[::4]:
        root = shutil.copytree(origin, ram_path / origin.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with DatasetWriter(root, spec(), resume=True) as writer:
                counts.append(writer.num_episodes)
                writer.start("pick")
                add_rows(writer, range(4), 2)
                index = writer.save()
        repair(root)
        dataset = Dataset(root).open()
        assert dataset.num_episodes == 3
        assert_episode(dataset, index, 2, 4)
        assert_episode(dataset, 3 - index, 1, OPEN)  # 1 or 2: before or after the new one
        assert check(root).ok
    assert sorted(counts) == counts and set(counts) == {1, 2}


def test_killed_while_recording_in_real_time(tmp_path):
    for line in lab("paced", tmp_path, 6):
        folder, added = line.split()[0], int(line.split()[1])
        root = tmp_path / folder
        report = check(root)
        assert report.ok and any("interrupted episode" in f.what for f in report.findings)
        done = repair(root)
        assert done.recovered == (0,), done.lines()
        dataset = Dataset(root).open()
        length = dataset.num_frames
        assert added - 0.2 * FPS <= length <= added + 1
        assert_episode(dataset, 0, 0, length)
        assert dataset.episode(0).info["recovered"]["rows"] == length
        assert check(root).ok


class Killed(BaseException):
    """Stands for SIGKILL where a process of its own would cost too much."""


def kill_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let the durable step of this number, and every later one, raise `Killed`."""
    count = 0

    def counted(function):
        def wrapper(*args, **kwargs):
            nonlocal count
            count += 1
            if count > step:
                raise Killed
            return function(*args, **kwargs)

        return wrapper

    for name in ("replace", "fsync", "mkdir"):
        patch.setattr(os, name, counted(getattr(os, name)))


def test_a_repair_that_is_killed_can_be_repeated(ram_path, monkeypatch):
    """Kill `repair` itself (here: an exception) at each durable step, then run it to the end."""
    record(ram_path / "base", (5, 6, 7))
    (ram_path / "base/data/chunk-000/file-001.parquet").write_bytes(b"PAR1 cut off")

    for step in range(0, 200, 4):
        root = ram_path / f"{step}"
        shutil.copytree(ram_path / "base", root)
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            try:
                repair(root)
                finished = True
            except Killed:
                finished = False
        done = repair(root)
        assert done.after.ok, (step, done.lines())
        dataset = Dataset(root).open()
        assert dataset.num_episodes == 2
        assert_episode(dataset, 0, 0, 5)
        assert_episode(dataset, 1, 2, 7)
        assert (root / ".twinloop/quarantine").exists()
        assert not done.after.findings
        if finished:
            assert step > 10
            return
    pytest.fail("repair never finished")


def test_a_rename_that_fails_loses_nothing(tmp_path, monkeypatch):
    """A disk that fails in the middle of the renames: the writer stops, and the next one finishes them."""
    replace, calls = os.replace, 0
    root = record(tmp_path / "d", (5,))

    def failing(source, target):
        nonlocal calls
        calls += str(target).endswith((".mp4", "stats.json"))
        if calls == 3:
            raise OSError(5, "Input/output error")
        replace(source, target)

    with DatasetWriter(root, spec(), resume=True) as writer:
        writer.start("place", {"seed": 7})
        add_rows(writer, range(OPEN), 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", failing)
            with pytest.raises(DatasetError, match="while putting episode 1 in its place; it is whole"):
                writer.save()
        with pytest.raises(DatasetError, match="not open"):
            writer.start("again")
    assert Dataset(root).open().num_episodes == 1
    with DatasetWriter(root, spec(), resume=True) as writer:
        assert writer.num_episodes == 2
    assert_episode(Dataset(root).open(), 1, 1, OPEN)
    assert check(root).findings == ()


def test_sources_learnt_in_the_open_episode_survive(tmp_path):
    writer = DatasetWriter(tmp_path / "d", spec())
    writer.open()
    writer.start("pick")
    writer.update_extra(sources=["person", "policy:7"])
    add_rows(writer, range(5))
    with pytest.warns(UserWarning):
        writer.close()  # the files are then as after a kill
    assert "sources" not in Dataset(tmp_path / "d").open().spec.extra
    repair(tmp_path / "d")
    assert Dataset(tmp_path / "d").open().spec.extra["sources"] == ["person", "policy:7"]


def test_repair_refuses_while_somebody_writes(tmp_path):
    with DatasetWriter(tmp_path / "d", spec()) as writer:
        writer.start("pick")
        with pytest.raises(DatasetError, match="already writes"):
            repair(tmp_path / "d")
        assert any("being recorded by this process" in f.what for f in check(tmp_path / "d").findings)
        writer.discard()
