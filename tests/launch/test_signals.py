"""Ctrl-C, SIGTERM and `kill -9` at the command line: the arm parks, what was saved is kept, nobody is left."""

import os
import signal
import subprocess
import sys
import time

import pytest
from twinloop.data.check import check
from twinloop.data.reader import Dataset

RECORD = ("--task", "lift", "--episodes", "500", "--no-cameras")


def start(*args, **options):
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "twinloop.launch.cli", *map(str, args)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip


def pgrep(*args):
    """Process ids, as pgrep(1) finds them."""
    return subprocess.run(
        ["pgrep", *map(str, args)], capture_output=True, text=True, check=False
    ).stdout.split()


def saved(root):
    return len(list((root / "data").rglob("*.parquet"))) if (root / "data").exists() else 0


def until_recording(process, root):
    """Wait until an episode is saved."""
    while saved(root) < 1:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)


def nobody_left(session):
    """Whether all processes of the session end within 5 s."""
    for _ in range(100):
        if not pgrep("-s", session):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.thorough), 2])
@pytest.mark.parametrize(
    ("signals", "code"),
    [pytest.param([signal.SIGTERM], 143, marks=pytest.mark.thorough), ([signal.SIGINT] * 4, 130)],
)
def test_a_stopped_recording_parks_and_keeps_what_it_saved(tmp_path, workers, signals, code):
    """Sent to the whole group, as a terminal and a service manager do."""
    root = tmp_path / "d"
    process = start("record", root, *RECORD, "--workers", workers)
    until_recording(process, root)
    for number in signals:
        os.killpg(process.pid, number)
        time.sleep(0.005)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == code, text
    assert "Traceback" not in text and "leak" not in text and "what was saved is kept" in text
    assert nobody_left(process.pid)
    assert check(root).ok and Dataset(root).open().num_episodes >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.thorough), (signal.SIGINT, 130)]
)
def test_a_stopped_training_is_saved(tmp_path, number, code):
    root, policy = tmp_path / "d", tmp_path / "p"
    assert start("record", root, "--task", "reach", "--episodes", 1, "--no-cameras").wait(timeout=100) == 0
    train = ("train", root, policy, "--method", "bc", "--steps", 100_000)
    process = start(*train)
    while not (policy / "metrics.jsonl").exists() or not (policy / "metrics.jsonl").read_text():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.send_signal(number)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == code and "Traceback" not in text and "--resume" in text, text
    assert (policy / "model.safetensors").stat().st_mode & 0o777 == (
        policy / "config.json"
    ).stat().st_mode & 0o777


@pytest.mark.slow
def test_ctrl_c_while_workers_start_is_one_line(tmp_path):
    process = start("record", tmp_path / "d", *RECORD, "--workers", 2)
    while len(pgrep("-s", process.pid)) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "Traceback" not in text, text
    assert nobody_left(process.pid)


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    root = tmp_path / "d"
    process = start("record", root, *RECORD, "--workers", 2)
    until_recording(process, root)
    process.kill()
    process.wait(timeout=10)
    assert nobody_left(process.pid)


@pytest.mark.slow
def test_a_killed_worker_ends_the_command_with_one_line(tmp_path):
    root = tmp_path / "d"
    process = start("record", root, *RECORD, "--workers", 2)
    until_recording(process, root)
    os.kill(int(pgrep("-f", "-s", process.pid, "spawn_main")[0]), signal.SIGKILL)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 2 and "Traceback" not in text, text
    assert "one of 2 worker processes died" in text and "--resume" in text
    assert check(root).ok


def test_nobody_reads_the_output():
    shell = f"{sys.executable} -m twinloop.launch.cli --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1) and not done.stderr


@pytest.mark.parametrize("args", ["--help", "rigs", "rigs so101"])
def test_the_output_meets_a_full_disk(args):
    shell = f"{sys.executable} -m twinloop.launch.cli {args} > /dev/full"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "no space left" in done.stderr
