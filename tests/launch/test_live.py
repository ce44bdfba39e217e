"""Deployment in real time: the emulated arm behind the guard's process, cameras in theirs, and what stops it."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from twinloop.data import Dataset
from twinloop.launch.collect import collect
from twinloop.launch.homing import Homing
from twinloop.launch.live import open_cell, run_live
from twinloop.launch.workers import WorldPlan
from twinloop.policies.samples import Samples
from twinloop.policies.train import default_config, train
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.emulate.stage import Stage

RIG, MS = load_rig("so101"), 1_000_000
SIZE = (64, 48)
pytestmark = pytest.mark.slow


class Still:
    """An agent that asks the arm to stay where it was."""

    def reset(self, seed):
        self.q = None

    def act(self, obs):
        self.q = obs.arms["arm"].q if self.q is None else self.q
        return ActionChunk(obs.t_ns, 33 * MS, {"arm": self.q[None]}, {}, obs.t_ns + 100 * MS)


def test_episodes_begin_at_home_are_watched_and_end_parked():
    seen = []

    class See:
        def on_step(self, step):
            seen.append(step)

    with open_cell(RIG, Stage("reach", 0, SIZE), ("front", "wrist"), size=SIZE) as cell:
        results = list(run_live(cell, Still(), [5, 6], 1.0, observers=[See()]))
        assert cell.guard.parked
        active = {p.name: p.active for p in cell.guard.protections()}
        assert active["stale_camera"] and active["own_process"]
    assert [r.seed for r in results] == [5, 6] and all(r.parked and not r.success for r in results)
    assert 15 < results[0].steps < 45
    home = load_model("so101").home_q_rad
    assert np.abs(seen[0].obs.arms["arm"].q - home).max() < 0.15
    assert seen[0].obs.frames["front"].rgb.shape == (SIZE[1], SIZE[0], 3)


def test_a_camera_that_is_frozen_or_gone_holds_the_arm_until_it_is_back_with_a_gap():
    with open_cell(RIG, Stage("reach", 0, SIZE), ("front",), size=SIZE) as cell:
        steps, faults = [], iter(("frozen", "", "gone", ""))

        class Meddle:
            """Whenever the mode has been what it was to become for some steps, goes on to the next fault."""

            def on_step(self, step):
                steps.append(step)
                wanted = "hold" if self.faulty else "run"
                self.same = self.same + 1 if step.applied.mode == wanted else 0
                if self.same == 12:
                    fault = next(faults, None)
                    self.same, self.faulty = 0, bool(fault)
                    self.over = fault is None
                    if fault is not None:
                        cell.emulator.camera_fault("front", fault)

            same, faulty, over = 0, False, False

        meddle = Meddle()
        result = next(run_live(cell, Still(), [1], 60.0, observers=[meddle], stopped=lambda: meddle.over))
        assert meddle.over  # held, and went on, twice
        assert result.limits["stale_camera"] > 0 and result.limits["rejected_stale_camera"] > 5
        assert result.parked and cell.guard.mode == "park"
    taken = np.array([s.obs.frames["front"].t_ns for s in steps]) * 1e-9
    seq = np.array([s.obs.frames["front"].seq for s in steps])
    assert (np.diff(taken) >= 0).all() and (np.diff(seq) >= 0).all()
    assert (np.diff(taken) > 0.25).sum() == 2  # two gaps, longer than what is stale
    q = np.array([s.applied.sent_q["arm"] for s in steps])
    assert np.ptp(q, axis=0).max() < 0.05  # and nothing moved meanwhile


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """Hardly trained, but whole: cameras in, actions out."""
    root = tmp_path_factory.mktemp("live")
    collect(WorldPlan(RIG, "reach", size=SIZE), root / "d", 2, workers=1)
    samples = Samples.from_dataset(Dataset(root / "d").open(), image_size=(SIZE[1], SIZE[0]))
    train(samples, replace(default_config("keypoint"), steps=2, threads=1), root / "p")
    return root / "p"


def deploy(policy, *args, **options):
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "twinloop.launch.cli", "deploy", str(policy), "--emulated", *args],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip


def nobody_left(session):
    for _ in range(200):
        left = subprocess.run(["pgrep", "-s", str(session)], capture_output=True, check=False).stdout
        if not left.strip():
            return True
        time.sleep(0.05)
    return False


def lines_until(process, words):
    text = ""
    assert process.stdout is not None
    for line in process.stdout:
        text += line
        if words in line:
            return text
    pytest.fail(f"'{words}' never came: {text}")


def shared(session):
    """Folders in shared memory that the processes of a session have mapped."""
    command, found = ["pgrep", "-s", str(session)], set()
    for pid in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split():
        maps = Path(f"/proc/{pid}/maps").read_text()
        found |= {
            Path(match) for match in re.findall(r"/\S*/twinloop-(?:guard|camera|emulate)-[^/\n]+", maps)
        }
    return found


@pytest.mark.thorough  # of them, test_faults_deploy.py has one
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_stopped_deployment_parks_and_leaves_nothing(policy, number, code):
    process = deploy(policy, "--episodes", "50")
    lines_until(process, "seed 2000000")
    time.sleep(1.0)
    folders = shared(process.pid)
    assert len(folders) >= 3  # guard, emulator, camera
    os.killpg(process.pid, number)  # to all of them, as a terminal does
    text = process.communicate(timeout=60)[0]
    assert process.returncode == code and "Traceback" not in text, text
    assert nobody_left(process.pid)
    assert not [folder for folder in folders if folder.exists()]


@pytest.mark.thorough
def test_twinloop_estop_ends_it(policy):
    process = deploy(policy, "--episodes", "50")
    lines_until(process, "seed 2000000")
    done = subprocess.run(
        [sys.executable, "-m", "twinloop.launch.cli", "estop", "--reason", "hand in the cell"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "stopped: so101" in done.stdout
    text = lines_until(process, "is let go of anyway")
    assert "estop: hand in the cell" in text
    assert process.poll() is None  # it stands
    process.send_signal(signal.SIGTERM)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 143 and "Traceback" not in text, text


@pytest.mark.thorough
def test_the_space_bar_stops_and_r_lets_it_park(policy):
    master, slave = pty.openpty()
    process = deploy(policy, "--episodes", "50", stdin=slave)
    lines_until(process, "seed 2000000")
    os.write(master, b" ")
    lines_until(process, "r re-arms")
    time.sleep(1.0)
    os.write(master, b"r")
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "Traceback" not in text, text  # not all episodes ran
    os.close(master)
    os.close(slave)


def test_homing_goes_there_smoothly_and_says_when():
    pose = np.array([0.3, -0.2, 0.1, 0.0, 0.5])
    agent, q = Homing({"arm": pose}, {"arm": np.full(5, 3.5)}), np.zeros(5)
    agent.reset(0)
    from twinloop.robot.types import ArmState, Observation

    rows, t = [], 0
    while not agent.arrived:
        state = ArmState(t, q, np.zeros(5), *np.zeros((3, 5)))
        q = agent.act(Observation(t, {"arm": state}, {}, {})).q["arm"][0]
        rows.append(q)
        t += 20 * MS
        assert t < Homing.LONGEST_NS
    speed = np.abs(np.diff(rows, axis=0)) / 0.02
    assert speed.max() < 0.36 * 3.5 and np.allclose(rows[-1], pose)
