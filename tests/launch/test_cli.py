"""The command line: help without weight, one clear line for each mistake, exit code 2, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("demo", "record", "train", "eval", "deploy", "replay", "dataset", "rigs", "doctor", "bench")


def twinloop(*args, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "twinloop.launch.cli", *map(str, args)],
        env={**os.environ, "MUJOCO_GL": "egl", **environment}, capture_output=True, text=True, timeout=120,
        check=False, cwd=cwd,
    )  # fmt: skip


def refused(done, *words):
    """Exit code 2, no traceback, and a message with these words."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr + done.stdout, f"'{word}' is not in: {done.stderr}"


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from twinloop.launch.cli import main; main(['--help']);"
        "heavy = {'numpy', 'mujoco', 'torch', 'cv2', 'pyarrow', 'av', 'tyro', 'rich'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    done = twinloop(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout and f"twinloop {command}" in done.stdout


def test_unknown_command_names_the_nearest():
    refused(twinloop("dmo"), "dmo", "did you mean 'demo'")


def test_unknown_option():
    refused(twinloop("demo", "--episods", "3"), "episods")


def test_unknown_task_rig_and_policy(tmp_path):
    refused(twinloop("eval", "--expert", "--task", "pickplace", "--workers", "1"), "pickplace", "pick_place")
    refused(twinloop("rigs", "so100"), "so100", "so101")
    refused(twinloop("eval", tmp_path / "nothing"), "nothing")


def test_rig_with_four_mistakes_names_all_four(tmp_path):
    rig = tmp_path / "mine.yaml"
    rig.write_text(
        "name: mine\n"
        "arms:\n  arm: {model: so110}\n"
        "grippers:\n  gripper: {arm: amr}\n"
        "cameras:\n  front: {widht: 640, fps: fast}\n"
    )
    done = twinloop("rigs", rig)
    refused(done, "4 mistakes", "arms.arm.model", "did you mean 'so101'", "grippers.gripper.arm", "did you mean 'arm'",
            "cameras.front.widht", "did you mean 'width'", "cameras.front.fps")  # fmt: skip


def test_limits_cannot_be_switched_off(tmp_path):
    rig = tmp_path / "mine.yaml"
    rig.write_text("name: mine\narms:\n  arm: {model: so101, limits: {velocity_rad_s: .inf}}\n")
    refused(twinloop("rigs", rig), "velocity_rad_s", "cannot be switched off")


def test_datasets_that_cannot_be_read(tmp_path):
    refused(twinloop("dataset", "info", tmp_path / "none"), "none")
    root = tmp_path / "data"
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text('{"codebase_version": "v3.0", "fps"')
    refused(twinloop("dataset", "info", root), "info.json")
    info = {"codebase_version": "v9.0", "fps": 30, "features": {}}
    (root / "meta" / "info.json").write_text(json.dumps(info))
    refused(twinloop("dataset", "info", root), "v9.0")
    refused(twinloop("train", root, tmp_path / "policy"), "v9.0")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    refused(twinloop("record", tmp_path / "data", "--episodes", "1", "--no-cameras", "--workers", "1"))


def test_no_egl_is_one_line(tmp_path):
    done = twinloop(
        "record", tmp_path / "d", "--task", "reach", "--episodes", "1", "--workers", "1",
        __EGL_VENDOR_LIBRARY_FILENAMES="/nonexistent.json", EGL_PLATFORM="device",
    )  # fmt: skip
    refused(done, "libegl1")


def test_completion_is_valid_shell(tmp_path):
    script = twinloop("--print-completion", "bash")
    assert script.returncode == 0
    path = Path(tmp_path) / "completion.sh"
    path.write_text(script.stdout)
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert "--demos" in script.stdout
    refused(twinloop("--print-completion", "fish"), "bash, zsh")


def test_checkpoint_for_another_rig_is_one_line(tmp_path):
    """A checkpoint trained on other joints is refused before anything moves."""
    code = """
import sys
import numpy as np
from pathlib import Path
from dataclasses import replace
from twinloop.policies.samples import Samples
from twinloop.policies.train import train
from twinloop.policies.recipe import default_config
n = 40
rng = np.random.default_rng(0)
names = ("a.pos", "b.pos")
samples = Samples(rng.normal(size=(n, 2)).astype("float32"), rng.normal(size=(n, 2)).astype("float32"),
                  np.repeat(np.arange(2), n // 2), names, names, 30.0, "other", "0")
train(samples, replace(default_config("bc"), steps=2, threads=1), Path(sys.argv[1]))
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "policy")], check=True, capture_output=True)
    refused(
        twinloop("eval", tmp_path / "policy", "--task", "reach", "--episodes", "1", "--workers", "1"), "a.pos"
    )
