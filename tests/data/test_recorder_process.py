"""The recorder in a process of its own: the same dataset, and whatever becomes of it, the loop goes on."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from test_full_disk import fill, small_disk
from twinloop.data import Dataset, DatasetWriter, Recorder, recorder_spec
from twinloop.data.check import check
from twinloop.data.recorder_process import RecorderProcess
from twinloop.data.repair import repair
from twinloop.data.steps import decode_step, encode_step
from twinloop.robot.errors import DatasetError
from twinloop.robot.types import (
    ActionChunk,
    Applied,
    ArmState,
    Frame,
    GripperState,
    Observation,
    Step,
    frozen,
)

assert small_disk
SIZE, MS = (48, 64), 1_000_000
SPEC = recorder_spec(
    fps=30, robot_type="so101", arms={"arm": ("a", "b")}, grippers=("jaw",), cameras={"front": SIZE}
)


def step(k, seed=0):
    """A step whose every number is another."""
    rng = np.random.default_rng([seed, k])
    t = 10**9 + 33 * MS * k
    arm = ArmState(t - MS, *(frozen(rng.normal(size=2)) for _ in range(5)), faults=("a: hot",) * (k % 7 == 3))
    frame = Frame(t - 5 * MS, 2 * k, rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8))
    obs = Observation(t, {"arm": arm}, {"jaw": GripperState(t, 0.03, 1.5)}, {"front": frame} if k % 5 else {})
    rows = rng.normal(size=(4, 2))
    if k == 6:
        rows = rows.astype(object)
        rows[0, 0] = "left"  # an agent may answer anything
    chunk = ActionChunk(t, 20 * MS, {"arm": rows}, {"jaw": rng.random(4)}, t + 100 * MS)
    q = {"arm": frozen(rng.normal(size=2))}
    limits = {"velocity": k % 4, "jerk": k % 3}
    return Step(
        obs, chunk, Applied(t, q, q, {"jaw": 0.02}, {"jaw": 0.021}, limits, "run", f"policy {k // 20}")
    )


def feed(recorder, count, seed=0, pause_s=0.001):
    for k in range(count):
        recorder.on_step(step(k, seed))
        time.sleep(pause_s)


def kept(recorder, count, success=True, seed=0):
    recorder.start("pick", {"seed": seed})
    feed(recorder, count, seed)
    recorder.end(success)
    return recorder.finish()


def test_a_step_goes_through_bytes_as_far_as_a_recorder_looks():
    there = decode_step(b"".join(encode_step(step(4))))
    here = step(4)
    assert there.obs.t_ns == here.obs.t_ns and there.applied.limits == here.applied.limits
    for name in ("q", "dq", "tau", "temperature_c", "voltage_v"):
        np.testing.assert_array_equal(
            getattr(there.obs.arms["arm"], name), getattr(here.obs.arms["arm"], name)
        )
    np.testing.assert_array_equal(there.obs.frames["front"].rgb, here.obs.frames["front"].rgb)
    assert there.obs.frames["front"].seq == 8 and there.obs.grippers == here.obs.grippers
    np.testing.assert_array_equal(there.chunk.at(there.obs.t_ns)[0]["arm"], here.chunk.q["arm"][0])
    assert not decode_step(b"".join(encode_step(here, pictures=False))).obs.frames


def test_it_writes_what_a_recorder_in_the_loop_writes(tmp_path):
    writer = DatasetWriter(tmp_path / "here", SPEC, wait=True)
    with writer:
        recorder = Recorder(writer, camera_fps={"front": 60.0})
        for seed in (0, 1):
            recorder.start("pick", {"seed": seed})
            feed(recorder, 40, seed, 0.0)
            recorder.save(success=seed == 1)
    with RecorderProcess(tmp_path / "there", SPEC, camera_fps={"front": 60.0}) as recorder:
        for seed in (0, 1):
            done = kept(recorder, 40, seed == 1, seed)
            assert (done.index, done.rows, done.trouble) == (seed, 40, "")
    assert check(tmp_path / "there").ok
    here, there = Dataset(tmp_path / "here").open(), Dataset(tmp_path / "there").open()
    assert here.spec == there.spec
    for index in (0, 1):
        mine, its = here.episode(index), there.episode(index)
        assert mine.info == its.info
        for key, column in mine.columns.items():
            np.testing.assert_array_equal(column, its.columns[key], err_msg=key)
        np.testing.assert_array_equal(here.frames(index, "front"), there.frames(index, "front"))


def test_a_recorder_that_stands_still_costs_pictures_then_the_rest_and_never_a_wait(tmp_path):
    with RecorderProcess(tmp_path / "d", SPEC, queue_s=2.0) as recorder:
        recorder.start("pick")
        feed(recorder, 10)
        time.sleep(0.3)
        assert recorder.pid is not None
        os.kill(recorder.pid, signal.SIGSTOP)
        feed(recorder, 2000, pause_s=0.0)
        assert recorder.thinned > 10 and "too slow" in recorder.trouble
        recorder.end(True)
        os.kill(recorder.pid, signal.SIGCONT)
        done = recorder.finish()
        assert done.index == 0 and 30 < done.rows < 2000 and "too slow" in done.trouble
        assert kept(recorder, 12).trouble == ""
    assert check(tmp_path / "d").ok
    episode = Dataset(tmp_path / "d").open().episode(0)
    assert "too slow" in episode.info["ended"] and episode.info["cameras"]["front"]["dropped"] > 10
    times = episode.columns[
        "time.observation"
    ].ravel()  # what is there is whole: no row is missing before the cut
    # steps were fed twice from the beginning
    np.testing.assert_allclose(np.diff(times[10:]), 0.033, atol=1e-9)


def test_a_killed_recorder_is_started_anew_and_repair_brings_back_what_it_had(tmp_path):
    with RecorderProcess(tmp_path / "d", SPEC) as recorder:
        recorder.start("pick")
        feed(recorder, 60, pause_s=0.005)
        time.sleep(0.3)
        assert recorder.pid is not None
        os.kill(recorder.pid, signal.SIGKILL)
        feed(recorder, 20)
        recorder.end(True)
        done = recorder.finish()
        assert done.index is None and "died" in done.trouble and "repair" in done.trouble
        assert kept(recorder, 15).index == 0  # the next one
    assert repair(tmp_path / "d").recovered == (1,) and check(tmp_path / "d").ok
    assert 40 < Dataset(tmp_path / "d").open().episode(1).length <= 60


AGENT = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_recorder_process import *
recorder = RecorderProcess(Path(sys.argv[1]), SPEC)
recorder.open()
recorder.start("pick")
feed(recorder, 50)
print(recorder._folder, flush=True)
time.sleep(60)
"""


def test_the_episode_of_a_killed_agent_is_saved_and_marked(tmp_path):
    command = [sys.executable, "-c", AGENT, str(tmp_path / "d"), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not folder.exists() and check(tmp_path / "d").ok
    episode = Dataset(tmp_path / "d").open().episode(0)
    assert episode.length == 50 and episode.info["ended"] == "the agent's process died"


def test_closing_saves_what_is_open_as_interrupted(tmp_path):
    recorder = RecorderProcess(tmp_path / "d", SPEC)
    recorder.open()
    recorder.start("pick")
    feed(recorder, 20)
    recorder.close()
    recorder.close()
    episode = Dataset(tmp_path / "d").open().episode(0)
    assert episode.length == 20 and episode.info["ended"] == "interrupted" and "success" not in episode.info


def test_a_full_disk_is_told_and_the_next_episode_tries_again(small_disk):
    root = small_disk / "d"
    with RecorderProcess(root, SPEC) as recorder:
        assert kept(recorder, 10).index == 0
        recorder.start("pick")
        ballast = fill(small_disk, 100)
        for k in range(3000):
            recorder.on_step(step(k))
            if recorder.trouble:
                break
            time.sleep(0.002)
        recorder.end(True)
        done = recorder.finish()
        assert done.index is None and "disk full while recording episode 1" in done.trouble
        assert "repair" in done.trouble and "\n" not in done.trouble
        fill(small_disk, 0)
        again = kept(recorder, 10)
        assert again.index is None and "disk full while starting an episode" in again.trouble
        ballast.unlink()
        assert kept(recorder, 10).index == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        repair(root)
    assert check(root).ok and Dataset(root).open().episode(0).length == 10


def test_a_folder_that_cannot_be_recorded_into_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match="file"):
        RecorderProcess(tmp_path / "file", SPEC).open()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    with pytest.raises(DatasetError, match="not empty and no dataset"):
        RecorderProcess(tmp_path / "other", SPEC).open()
    with RecorderProcess(tmp_path / "d", SPEC) as first:
        first.start("pick")
        with pytest.raises(DatasetError, match="is being written by"):
            RecorderProcess(tmp_path / "d", SPEC).open()
