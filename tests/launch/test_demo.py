"""The main job, reduced but real; and Ctrl-C in each of its phases."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from twinloop.data.check import check
from twinloop.data.reader import Dataset

SMALL = [
    "--state",
    "--task",
    "reach",
    "--demos",
    "6",
    "--evals",
    "4",
    "--steps",
    "400",
    "--workers",
    "1",
    "--no-film",
]
ENV = {**os.environ, "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def demo(out, *args, **popen):
    command = [sys.executable, "-m", "twinloop.launch.cli", "demo", "--out", str(out), *args]
    return subprocess.Popen(
        command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **popen
    )


def finish(process, timeout=240):
    text, _ = process.communicate(timeout=timeout)
    return process.returncode, text


@pytest.mark.thorough  # `make demo` is this
def test_camera_demo_end_to_end(tmp_path):
    """Every stage runs and leaves what the README promises: dataset, policy, report with pictures, film."""
    args = ("--demos", "2", "--evals", "2", "--steps", "30", "--quick", "--task", "reach")
    code, text = finish(demo(tmp_path / "d", *args))
    assert code == 0, text
    page = (tmp_path / "d" / "report.html").read_text()
    assert len(page.encode()) <= 1_000_000
    assert page.count("data:image/jpeg;base64,") >= 12
    assert not re.search(r'(src|href)="https?:', page), "the report must open offline"
    for words in (
        "success on unseen seeds",
        "What the guard did",
        "Tracking error",
        "Loop timing",
        "auxiliary loss",
    ):
        assert words in page
    assert (tmp_path / "d" / "film.mp4").stat().st_size > 10_000
    assert check(tmp_path / "d" / "dataset").ok
    figures = json.loads((tmp_path / "d" / "result.json").read_text())
    assert figures["parked"] == 2, "every arm parks before torque goes off"
    assert figures["episodes"] == 2 and figures["training"]["used"]["retakes"] > 0
    dataset = Dataset(tmp_path / "d" / "dataset").open()
    info = dataset.episode(0).info
    assert info["draw"] and info["protections"], "the draw and the protections are stored with every episode"
    dropped = [dataset.column(f"camera.{c}.dropped").sum() for c in dataset.spec.cameras]
    assert dropped == [0, 0], "a simulation must not lose pictures"


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("rig", ["so101", "so101_realsense"])
def test_an_emulated_demo_deploys_in_real_time_and_parks(tmp_path, rig):
    if rig == "so101_realsense":
        pytest.importorskip("pyrealsense2", exc_type=ImportError)
    small = ("--task", "reach", "--demos", "3", "--evals", "1", "--steps", "20", "--no-retakes", "--no-film")
    code, text = finish(demo(tmp_path / "d", *small, "--workers", "1", "--rig", rig, "--emulated"))
    assert code == 0, text
    figures = json.loads((tmp_path / "d" / "result.json").read_text())
    assert figures["parked"] == figures["episodes"] == 1
    assert figures["config"]["emulated"] is True and figures["rig"] == rig
    assert "in real time" in (tmp_path / "d" / "report.html").read_text()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_finished_demo_is_not_overwritten(tmp_path):
    code, text = finish(demo(tmp_path / "d", *SMALL))
    assert code == 0, text
    first = (tmp_path / "d" / "result.json").read_bytes()
    code, text = finish(demo(tmp_path / "d", *SMALL))
    assert code == 2 and "--resume" in text and "Traceback" not in text
    assert (tmp_path / "d" / "result.json").read_bytes() == first


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("collect", marks=pytest.mark.thorough),
        "train",
        pytest.param("deploy", marks=pytest.mark.thorough),
    ],
)
def test_ctrl_c_loses_nothing_and_resume_finishes(tmp_path, phase):
    """Interrupted in each phase, the demo ends with one line, a sound dataset, and can be finished."""
    out = tmp_path / "d"
    process = demo(out, *SMALL)
    seen = ""
    assert process.stdout is not None
    for line in process.stdout:
        seen += line
        if line.startswith(f"{phase}:"):
            break
    else:
        pytest.fail(f"phase {phase} never began: {seen}")
    process.send_signal(signal.SIGINT)
    code, text = finish(process)
    assert code == 130, text
    assert "Traceback" not in text
    saved = Dataset(out / "dataset").open().num_episodes
    assert saved >= 1 and check(out / "dataset").ok
    code, text = finish(demo(out, *SMALL, "--resume"))
    assert code == 0, text
    assert Dataset(out / "dataset").open().num_episodes == 6
    assert (out / "report.html").exists()
    figures = json.loads((out / "result.json").read_text())
    assert figures["demonstrations"] == 6 <= figures["demonstrations_tried"]  # both runs together


@pytest.mark.thorough
@pytest.mark.slow
def test_ctrl_c_with_workers_parks_the_arms(tmp_path):
    """With worker processes the request reaches them, and nobody is left behind."""
    process = demo(tmp_path / "d", *[*SMALL[:-3], "--workers", "2", "--no-film"], start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("collect:"):
            break
    os.killpg(process.pid, signal.SIGINT)
    code, text = finish(process)
    assert code == 130 and "Traceback" not in text, text
    for _ in range(50):
        left = subprocess.run(
            ["pgrep", "-a", "-s", str(process.pid)], capture_output=True, text=True, check=False
        )
        if not left.stdout.strip():
            return
        time.sleep(0.1)
    pytest.fail(f"left behind: {left.stdout}")
