"""LeRobot 0.6.1's own SO101Follower and KochFollower, unmodified, on the emulated arms: they cannot tell."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.process import EmulatorProcess

ATTEMPTS = 3  # LeRobot gives up after one answer that is 50 ms late, as on a busy machine it may be
PEERS = Path(__file__).parents[3] / "benchmarks/peers"
PYTHON = Path(os.environ.get("TWINLOOP_LEROBOT_PYTHON", PEERS / ".venv-lerobot/bin/python"))


def has_followers():
    code = "import scservo_sdk, dynamixel_sdk, lerobot.robots.so_follower, lerobot.robots.koch_follower"
    return (
        PYTHON.exists()
        and not subprocess.run([str(PYTHON), "-c", code], capture_output=True, check=False).returncode
    )


@pytest.mark.slow
@pytest.mark.parametrize(("arm", "lift"), [("so101", -92.2), ("koch", -59.3)])
def test_lerobots_follower_connects_calibrates_reads_moves_and_disconnects(tmp_path, arm, lift):
    if not has_followers():
        pytest.skip("no LeRobot environment with both SDKs: benchmarks/peers/lerobot_env.sh makes it")
    script = str(Path(__file__).with_name("lerobot_follower.py"))
    for _ in range(ATTEMPTS):
        with EmulatorProcess(load_rig(arm)) as emulator:
            done = subprocess.run(
                [str(PYTHON), script, emulator.paths["arm"], str(tmp_path), arm],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    assert seen["calibrated"]
    assert seen["start"]["shoulder_lift.pos"] == pytest.approx(lift, abs=1.5)  # folded, in degrees
    for name, value in seen["end"].items():  # the servo gives way to gravity by some degrees
        assert value == pytest.approx(40.0 if name == "gripper.pos" else 0.0, abs=5.0), seen["end"]
