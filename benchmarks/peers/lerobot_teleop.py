"""LeRobot's side of benchmarks/teleop.py; runs in its own environment (lerobot_env.sh).

Its own `teleop_loop` with its own SO101Leader and SO101Follower, on two serial ports; no camera, nothing recorded.
Orders are JSON lines on standard input, answers on standard output:
{"leader", "follower", "fps", "seconds"} -> {"ready": true} before the loop begins -> {"error": what ended it, else ""}
"""

import contextlib
import json
import logging
import os
import sys
import tempfile
from pathlib import Path

from lerobot.processor import make_default_processors
from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig
from lerobot.scripts.lerobot_teleoperate import teleop_loop
from lerobot.teleoperators.so_leader import SO101Leader, SO101LeaderConfig

COUNTS, TRIES = 4096, 4
logging.getLogger().setLevel(logging.ERROR)


def patiently(device):
    """Connect; one answer that does not come, on a busy machine, is not what is measured."""
    for left in reversed(range(TRIES)):
        try:
            device.connect(calibrate=False)
            return
        except (ConnectionError, RuntimeError):
            with contextlib.suppress(Exception):
                device.bus.port_handler.closePort()
            if not left:
                raise


def lead(folder, out, leader, follower, fps, seconds):
    teleop = SO101Leader(SO101LeaderConfig(port=leader, id="bench", calibration_dir=folder))
    robot = SO101Follower(SO101FollowerConfig(port=follower, id="bench", calibration_dir=folder))
    error = ""
    try:
        for device in (teleop, robot):
            patiently(device)
        print(json.dumps({"ready": True}), file=out, flush=True)
        teleop_loop(teleop, robot, fps, *make_default_processors(), duration=seconds)
    except Exception as raised:  # one answer that does not come ends its session; the next one may go well
        error = (str(raised).splitlines() or [type(raised).__name__])[0]
    finally:
        for device in (teleop, robot):
            with contextlib.suppress(Exception):
                device.disconnect()
            with contextlib.suppress(Exception):
                device.bus.port_handler.closePort()
    return {"error": error}


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what it prints is no answer
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        joints = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
        entry = {"drive_mode": 0, "homing_offset": 0, "range_min": 0, "range_max": COUNTS - 1}
        calibration = {joint: {"id": k, **entry} for k, joint in enumerate(joints, 1)}
        (folder / "bench.json").write_text(json.dumps(calibration))
        for line in sys.stdin:
            print(json.dumps(lead(folder, out, **json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
