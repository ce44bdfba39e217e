"""The command line: help without weight, one clear line for each mistake, exit code 2, never a traceback."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import warm

COMMANDS = (
    "demo",
    "teleop",
    "operate",
    "record",
    "train",
    "eval",
    "deploy",
    "replay",
    "emulate",
    "estop",
    "blackbox",
    "dataset",
    "rigs",
    "doctor",
    "bench",
)


def twinloop(*args, cwd=None, **environment):
    if not environment:
        return warm.twinloop(*args, cwd=cwd)
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


def test_help_of_a_command_imports_nothing_heavy():
    code = (
        "import sys; from twinloop.launch.cli import command_names, main\n"
        "for name in command_names(): main([name, '--help'])\n"
        "heavy = {'numpy', 'mujoco', 'torch', 'cv2', 'pyarrow', 'av'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_command_names_the_nearest():
    refused(twinloop("dmo"), "dmo", "did you mean 'demo'")


def test_unknown_option():
    refused(twinloop("demo", "--episods", "3"), "episods")


def test_unknown_task_rig_and_policy(tmp_path):
    refused(twinloop("eval", "--expert", "--task", "pickplace", "--workers", "1"), "pickplace", "pick_place")
    refused(twinloop("rigs", "so110"), "so110", "so101")
    refused(twinloop("eval", tmp_path / "nothing"), "nothing")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("record new --seed -1", "--seed -1: must be within 0.."),
        ("record new --workers 300", "--workers 300: must be within 1.."),
        ("record new --size 30 17", "--size 17: must be an even number of pixels"),
        ("record new --noise nan", "--noise nan: must be within 0..1 rad"),
        ("eval --expert --first-seed -5", "--first-seed -5: must be within 0.."),
        ("eval --expert --workers 0", "--workers 0: must be within 1.."),
        ("eval --expert --json .", "--json .: is a folder"),
        ("eval --expert --json file/figures.json", "--json file: is a file; name a folder"),
        ("train dataset new --seed -1", "seed: -1 must be within 0.."),
        ("train dataset new --size 3 3", "--size 3: must be within 16..4096 px"),
        ("train dataset new --chunk 100000000", "chunk: 100000000 must be within 1..1000"),
        ("train dataset dataset/policy", "lies in the dataset"),
        ("deploy policy --sim --episodes 0", "--episodes 0: must be within 1.."),
        ("deploy policy --sim --film .", "--film .: is a folder"),
        ("deploy policy --sim --film film.avi", "--film film.avi: must end in .mp4"),
        ("deploy policy --sim --film /proc/film.mp4", "--film /proc: "),
        ("eval policy --noise 0.1", "--noise: disturbs the expert"),
        ("demo --emulated --state", "--emulated --state: no device measures"),
        ("deploy policy --sim --emulated", "--sim and --emulated: one of them"),
        ("deploy policy --emulated --film film.mp4", "add --sim"),
        ("demo --out file", "--out file: is a file; name a folder"),
        ("demo --seed 100", "--seed 100: must be within 0..99"),
        ("demo --chunk 0", "chunk: 0 must be within 1..1000"),
        ("bench --json .", "--json .: is a folder"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(tmp_path, args, words):
    (tmp_path / "file").write_text("mine")
    refused(twinloop(*args.split(), cwd=tmp_path), words)
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_an_argument_that_is_no_text():
    done = subprocess.run(
        [sys.executable, "-m", "twinloop.launch.cli", "record", b"new\xff"], capture_output=True, check=False
    )
    assert done.returncode == 2 and b"not UTF-8" in done.stderr and b"Traceback" not in done.stderr


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


def test_names_in_a_rig_that_exist_nowhere(tmp_path):
    rig = tmp_path / "mine.yaml"
    rig.write_text(
        "name: mine\n"
        "arms:\n  arm: {model: so101, limits: {velocity_rad_s: {elbow: 2.0}, speed: 1}}\n"
        "cameras:\n  wrist: {mount: amr}\n"
    )
    refused(
        twinloop("rigs", rig),
        "arms.arm.limits.velocity_rad_s",
        "arms.arm.limits.speed",
        "cameras.wrist.mount",
    )
    refused(twinloop("rigs", tmp_path / "none.yaml"), "none.yaml", "cannot read")
    rig.write_text("name: mine\narms:\n  arm: {model: so110}\n")
    refused(twinloop("rigs", rig), "mine.yaml: 1 mistake", "arms.arm.model", "so101")
    rig.write_text("name: [\n")
    refused(twinloop("rigs", rig), "mine.yaml", "line", "not valid YAML")


def test_flags_have_no_double(tmp_path):
    for command in ("demo", "train", "record"):
        assert "--no-no-" not in twinloop(command, "--help").stdout


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A dataset of one short episode, without pictures."""
    root = tmp_path_factory.mktemp("recorded") / "data"
    done = twinloop("record", root, "--task", "reach", "--episodes", "1", "--workers", "1", "--no-cameras")
    assert done.returncode == 0, done.stderr
    return root


def test_record_refuses_what_it_cannot_do(tmp_path, recorded):
    refused(twinloop("record", recorded, "--task", "reach"), "a dataset is there", "--resume")
    done = twinloop("record", recorded, "--task", "lift", "--no-cameras", "--resume", "--workers", "1")
    refused(done, "task: dataset 'reach', now 'lift'")
    assert len(done.stderr) < 450
    refused(twinloop("record", tmp_path / "d", "--workers", "0"), "--workers 0")
    refused(twinloop("record", tmp_path / "d", "--noise", "nan"), "--noise nan")
    assert not (tmp_path / "d").exists()


@pytest.mark.thorough
def test_a_policy_knows_its_task(tmp_path, recorded):
    policy = tmp_path / "policy"
    train = ("train", recorded, policy, "--method", "bc", "--state", "--steps", "2")
    assert twinloop(*train).returncode == 0
    refused(twinloop(*train), "holds a training already", "--resume")
    for command in (("eval", policy, "--episodes", "1", "--workers", "1"), ("deploy", policy, "--sim")):
        done = twinloop(*command)
        assert done.returncode == 0 and "reach: " in done.stdout, done.stderr
    rig = tmp_path / "blind.yaml"
    rig.write_text("name: so101\narms:\n  arm: {model: so101}\ngrippers:\n  gripper: {arm: arm}\n")
    deploy = ("deploy", policy, "--sim", "--rig", rig)
    refused(twinloop(*deploy), "rig 'so101' has changed", "--allow-changed-rig")
    refused(twinloop(*deploy, "--allow-changed-rig", "--film", tmp_path / "x.mp4"), "no camera to film with")


def test_train_on_a_camera_that_was_not_recorded(tmp_path, recorded):
    refused(twinloop("train", recorded, tmp_path / "p", "--cameras", "front"), "no camera 'front'")


def test_missing_and_future_datasets(tmp_path):
    refused(twinloop("dataset", "info", tmp_path / "none"), "none", "no such folder")
    root = tmp_path / "data"
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text('{"codebase_version": "v3.0", "fps"')
    refused(twinloop("dataset", "info", root), "info.json")
    info = {"codebase_version": "v9.0", "fps": 30, "features": {}}
    (root / "meta" / "info.json").write_text(json.dumps(info))
    refused(twinloop("dataset", "info", root), "v9.0")
    refused(twinloop("train", root, tmp_path / "policy"), "v9.0")


def test_truncated_dataset(tmp_path, recorded):
    root = tmp_path / "data"
    shutil.copytree(recorded, root)
    for path in root.rglob("*.parquet"):
        os.truncate(path, 100)
    checked = twinloop("dataset", "check", root)
    assert checked.returncode == 1 and "NOT sound" in checked.stdout and "Traceback" not in checked.stderr
    assert "dataset repair" in checked.stdout
    refused(twinloop("dataset", "info", root), "parquet", "dataset repair")
    refused(twinloop("train", root, tmp_path / "policy", "--method", "bc"), "parquet", "dataset repair")


def mounted(options, folder, *args):
    """Run the command with a fresh tmpfs at `folder`, in a mount namespace of its own."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    folder.mkdir()
    command = shlex.join([sys.executable, "-m", "twinloop.launch.cli", *map(str, args)])
    script = f"mount -t tmpfs -o {options} none {shlex.quote(str(folder))} || exit 77; exec {command}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode == 77:
        pytest.skip("mounting is not allowed here")
    return done


def test_read_only_folder(tmp_path, recorded):
    root = tmp_path / "ro"
    done = mounted(
        "ro",
        root,
        "record",
        root / "d",
        "--task",
        "reach",
        "--episodes",
        "1",
        "--workers",
        "1",
        "--no-cameras",
    )
    refused(done, str(root), "Read-only")
    other = tmp_path / "ro2"
    done = mounted("ro", other, "train", recorded, other / "policy", "--method", "bc", "--steps", "2")
    refused(done, str(other), "read-only")


def test_full_disk(tmp_path, recorded):
    root = tmp_path / "small"
    done = mounted(
        "size=60k", root, "record", root / "d", "--task", "reach", "--episodes", "2", "--workers", "1",
        "--no-cameras",
    )  # fmt: skip
    refused(done, "disk full", "dataset repair")
    other = tmp_path / "small2"
    done = mounted("size=60k", other, "train", recorded, other / "policy", "--method", "bc", "--steps", "2")
    refused(done, str(other / "policy"), "no space left")


def one_line(done, *words):
    refused(done, *words)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def record_one(root, **environment):
    return twinloop("record", root, "--task", "reach", "--episodes", "1", "--workers", "1", **environment)


def test_no_egl_driver_is_one_line(tmp_path):
    done = record_one(
        tmp_path / "d", __EGL_VENDOR_LIBRARY_FILENAMES="/nonexistent.json", EGL_PLATFORM="device"
    )
    one_line(done, "libegl1")


def test_missing_libraries_are_one_line(tmp_path):
    """`import mujoco` and `import cv2` themselves raise; their messages name no package, ours does."""
    for name in ("egl/libEGL.so.1", "egl/libEGL.so", "gl/libGL.so.1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    one_line(
        record_one(tmp_path / "d", LD_LIBRARY_PATH=str(tmp_path / "egl")), "apt-get install", "libegl1 libgl1"
    )
    one_line(
        record_one(tmp_path / "d", LD_LIBRARY_PATH=str(tmp_path / "gl")), "libGL.so.1", "apt-get install"
    )
    one_line(record_one(tmp_path / "d", MUJOCO_GL="foo"), "MUJOCO_GL=foo", "egl, glfw or osmesa")
    assert not (tmp_path / "d").exists()


def test_completion_is_valid_shell(tmp_path):
    script = twinloop("--print-completion", "bash")
    assert script.returncode == 0
    assert ' dataset) words="--accept-changed --help --quick check info pack repair"' in script.stdout
    deploy = next(line for line in script.stdout.splitlines() if line.strip().startswith("deploy)"))
    assert "--policy" not in deploy  # a positional
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
    refused(twinloop("eval", tmp_path / "policy", "--episodes", "1"), "which task", "--task")
    refused(
        twinloop("eval", tmp_path / "policy", "--task", "reach", "--episodes", "1", "--workers", "1"), "a.pos"
    )
