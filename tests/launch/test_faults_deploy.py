"""Ctrl-C, SIGTERM, an exception at every stage of a recorded deployment; its recorder killed, its disk full."""

import os
import signal
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from deployed import Deployed
from twinloop.data import Dataset
from twinloop.data.check import check
from twinloop.data.repair import repair
from twinloop.launch.collect import collect
from twinloop.launch.workers import WorldPlan
from twinloop.policies.samples import Samples
from twinloop.policies.train import default_config, train
from twinloop.robot.rig import load_rig

pytestmark = pytest.mark.slow
STAGES = ("opening", "homing", "episode", "parking", "saving")
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM)


def staged(stage, number):
    """One stage is tested every time, the others with the thorough tests."""
    return pytest.param(stage, number, marks=() if stage == "episode" else pytest.mark.thorough)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """Hardly trained, but whole: pictures in, actions out."""
    root = tmp_path_factory.mktemp("policy")
    collect(
        WorldPlan(load_rig("so101"), "reach", cameras=("wrist",), size=(64, 48)), root / "d", 2, workers=1
    )
    samples = Samples.from_dataset(Dataset(root / "d").open(), image_size=(48, 64))
    train(samples, replace(default_config("keypoint"), steps=2, threads=1), root / "p")
    return root / "p"


@pytest.fixture
def deploy(tmp_path, policy):
    begun = []

    def start(*args, **options):
        begun.append(Deployed(tmp_path, policy, *args, **options))
        return begun[-1]

    yield start
    for made in begun:
        made.kill()


def recorded(made, stage):
    """What the recording came to: whole, and marked where it was cut."""
    assert check(made.root).ok
    dataset = Dataset(made.root).open()
    assert dataset.num_episodes == (0 if stage in ("opening", "homing") else 1)
    for episode in map(dataset.episode, range(dataset.num_episodes)):
        assert (episode.info.get("ended") == "interrupted") == (stage == "episode")
        assert episode.info["backend"] == "emulated" and episode.info["protections"]


@pytest.mark.parametrize(("stage", "number"), [staged(*both) for both in zip(STAGES, NUMBERS, strict=True)])
def test_a_signal_at_any_stage_parks_saves_and_leaves_nothing(deploy, stage, number):
    made = deploy("--episodes", "3")
    made.reach(stage)
    if stage == "episode":
        made.record_some()
    if number == signal.SIGINT:
        os.killpg(made.process.pid, number)  # to all of them, as a terminal does
    else:
        os.kill(made.process.pid, number)
    if stage == "saving":
        os.kill(made.pid_of("recorder_server"), signal.SIGCONT)
    text = made.end()
    assert made.process.returncode == 128 + number and "Traceback" not in text, text
    assert "twinloop: stopped" in text
    if stage != "opening":
        made.assert_parked_within_limits()
    recorded(made, stage)


@pytest.mark.thorough
@pytest.mark.parametrize("stage", STAGES)
def test_an_exception_at_any_stage_parks_saves_and_leaves_nothing(deploy, stage):
    made = deploy("--episodes", "1", fails=stage)
    made.session()
    text = made.end()
    assert made.process.returncode == 1 and "RuntimeError: out of the blue" in text, text
    made.assert_parked_within_limits()
    recorded(made, stage)


def test_a_recording_in_real_time_is_sound_and_a_killed_recorder_costs_the_open_episode_at_most(deploy):
    made = deploy("--episodes", "2")
    made.reach("episode")
    pid = made.pid_of("recorder_server")
    made.record_some()
    os.kill(pid, signal.SIGKILL)
    text = made.end()
    assert made.process.returncode == 1 and "Traceback" not in text, text
    (active,) = (
        line for line in text.splitlines() if line.startswith("protections active: commands, expiry")
    )
    assert "stale_camera" in active
    assert f"recording: {made.root}: the recorder's process died; `twinloop dataset repair" in text
    assert f"{made.root}: 1 of 2 episodes recorded" in text and text.count("parked; loop late") == 2
    made.assert_parked_within_limits()
    dataset = Dataset(made.root).open()
    assert dataset.num_episodes == 1 and dataset.episode(0).info["seed"] == 2_000_001
    columns = dataset.episode(0).columns
    times = {key: columns[key].ravel() for key in columns if key.startswith("time.")}
    assert (np.diff(times["time.observation"]) > 0).all()
    for (
        key,
        values,
    ) in times.items():  # true times of measurement: before the observation, and not long before
        age = times["time.observation"] - values
        assert (np.median(age) < 0.2 and age.min() > -0.01) or np.isnan(values).any(), key
    sent, asked = columns["action.sent"], columns["action.asked"]
    assert np.abs(sent - asked).max() > 0 and set(dataset.spec.extra["sources"]) >= {
        dataset.spec.extra["sources"][0]
    }
    assert repair(made.root).recovered == (1,) and check(made.root).ok
    assert Dataset(made.root).open().episode(1).info["seed"] == 2_000_000


@pytest.mark.thorough
def test_a_full_disk_while_recording_stops_no_arm(tmp_path, deploy):
    disk = tmp_path / "recorded"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", disk], check=False).returncode:
        pytest.skip("mounting a tmpfs is not allowed here (needs root)")
    try:
        made = deploy("--episodes", "2")
        made.reach("episode")
        with (disk / ".ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(512))
            except OSError:
                pass
        text = made.end()
        assert made.process.returncode == 1 and "Traceback" not in text, text
        assert "recording: " in text and "disk full while" in text and "free some space" in text
        assert text.count("parked; loop late") == 2 and "NOT parked" not in text  # both episodes ran
        assert f"{made.root}: 0 of 2 episodes recorded" in text
        made.assert_parked_within_limits()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_place_where_nothing_can_be_recorded_is_said_before_anything_moves(tmp_path, policy):
    (tmp_path / "recorded").write_text("not a folder")
    made = Deployed(tmp_path, policy)
    text = made.end()
    assert made.process.returncode == 2 and "Traceback" not in text, text
    assert not (tmp_path / "twinloop").exists()  # no guard was started
