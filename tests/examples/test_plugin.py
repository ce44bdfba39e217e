"""The house is open: an arm, a camera, a task and a policy added from outside, one file each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example package, installed beside Twinloop in a folder of its own."""
    target = tmp_path_factory.mktemp("plugin")
    source = target / "source"
    subprocess.run(["cp", "-r", str(ROOT / "examples" / "plugin"), str(source)], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target",
         str(target / "site"), str(source)],
        check=True,
    )  # fmt: skip
    return target / "site"


def run(site: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site), "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_arm_and_camera_by_the_names_in_a_rig_file(installed):
    """The arm moves behind the guard, within its limits; the camera's frames reach the observation."""
    out = run(
        installed,
        """
import numpy as np
from importlib.resources import files
from twinloop.robot.rig import load_rig
from twinloop.robot.robot import GuardedRobot
from twinloop.robot.types import ActionChunk
from twinloop.robot.cameras import camera_factory
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin, TwinRobot
rig = load_rig(str(files("twinloop_example") / "planar.yaml"))
twin = Twin(build_scene(rig))
twin.set_arm("arm", np.array([0.0, 0.4, 0.4]))
card = camera_factory("card", rig.cameras["card"])("card", rig.cameras["card"], twin.clock)
robot = TwinRobot(twin, {"card": card})
robot.open()
for k in range(90):
    obs = robot.observe()
    goal = np.array([[0.5, 0.6, 0.4]])
    robot.apply(ActionChunk(obs.t_ns, 33_333_333, {"arm": goal}, {}, obs.t_ns + 100_000_000))
    robot.clock.sleep_until((k + 1) * 33_333_333)
obs = robot.observe()
print(np.abs(obs.arms["arm"].q - goal[0]).max() < 0.05, obs.frames["card"].rgb.shape, obs.frames["card"].seq > 80)
""",
    )
    assert out.split("\n")[0] == "True (48, 64, 3) True"


def test_task_and_policy_by_name(installed, tmp_path):
    """The task's expert succeeds; the policy trains on its demonstrations, is saved and runs."""
    out = run(
        installed,
        f"""
from pathlib import Path
from dataclasses import replace
from twinloop.robot.rig import load_rig
from twinloop.launch.workers import AgentPlan, WorldPlan
from twinloop.launch.collect import collect, OBJECTS
from twinloop.launch.evaluate import evaluate
from twinloop.data.reader import Dataset
from twinloop.policies.samples import Samples
from twinloop.policies.train import train
from twinloop.policies.recipe import default_config
root = Path({str(tmp_path)!r})
plan = WorldPlan(load_rig("so101"), "wipe", cameras=(), randomize=())
done = collect(plan, root / "data", 6, workers=1)
samples = Samples.from_dataset(Dataset(root / "data").open(), cameras=(), state=("observation.state", OBJECTS))
result = train(samples, replace(default_config("linear"), steps=300, threads=1), root / "policy")
found = evaluate(plan, AgentPlan(root / "policy"), range(10, 12), workers=1, park=False)
print(done.episodes, done.tried, result.used["method"], len(found.successes))
""",
    )
    assert out.strip().splitlines()[-1] == "6 6 linear 2"


def test_cli_lists_what_plugins_add(installed):
    out = run(installed, "from twinloop.launch.cli import main; main(['rigs', '--models'])")
    assert "planar3: 3 joints" in out


def test_its_own_contract_tests_pass(installed):
    """The suites that Twinloop hands to the authors of devices, run by pytest as they would."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(installed),
         str(ROOT / "examples" / "plugin" / "tests")],
        env=environment, capture_output=True, text=True, timeout=200, check=False, cwd=installed,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
