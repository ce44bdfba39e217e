"""LeRobot's side of benchmarks/guard_loop.py; runs in its own environment (lerobot_env.sh).

Its own `record_loop` (no dataset, no camera) drives its own `SO101Follower` on a serial port, an action swayed about
where the arm stands. Orders are JSON lines on standard input, answers on standard output:
{"port", "fps", "seconds", "kinds", "device"} -> {"sent_ns": times at which goals had been written, "error": what ended
it before its time, else ""}
"""

import contextlib
import json
import logging
import math
import os
import sys
import tempfile
import time
from pathlib import Path

from lerobot.motors import MotorCalibration
from lerobot.processor import make_default_processors
from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig
from lerobot.scripts.lerobot_record import record_loop
from lerobot.teleoperators import Teleoperator, TeleoperatorConfig

sys.path.insert(0, str(Path(__file__).parents[1]))
from _load import busy  # noqa: E402

MIDDLE = 2048
logging.getLogger().setLevel(logging.ERROR)  # its loop warns with every slow round


class Sway(Teleoperator):
    """A leader that costs nothing: the arm's first pose, its first joint 10 degrees to and fro."""

    config_class = TeleoperatorConfig
    name = "sway"
    action_features = feedback_features = {}
    is_connected = is_calibrated = True

    def __init__(self, config, pose):
        super().__init__(config)
        self.pose, self.begin = pose, time.perf_counter()

    def get_action(self):
        angle = 10.0 * math.sin(2.0 * (time.perf_counter() - self.begin))
        return self.pose | {"shoulder_pan.pos": self.pose["shoulder_pan.pos"] + angle}

    def connect(self, calibrate=True):
        pass

    calibrate = configure = disconnect = send_feedback = connect


class Timed(SO101Follower):
    """Notes when each goal had been written."""

    sent_ns: list

    def send_action(self, action):
        sent = super().send_action(action)
        self.sent_ns.append(time.monotonic_ns())
        return sent


def measure(folder, port, fps, seconds, kinds, device):
    robot = Timed(SO101FollowerConfig(port=port, id="bench", calibration_dir=folder))
    robot.sent_ns = []
    error = ""
    try:
        robot.connect(calibrate=False)
        pose = robot.get_observation()
        leader = Sway(TeleoperatorConfig(id="bench", calibration_dir=folder), pose)
        with busy(kinds, device):
            record_loop(
                robot,
                {"exit_early": False},
                fps,
                *make_default_processors(),
                teleop=leader,
                control_time_s=seconds,
            )
    except (ConnectionError, RuntimeError) as raised:  # one answer that does not come ends its session
        error = str(raised).splitlines()[0]
    finally:
        with contextlib.suppress(ConnectionError, RuntimeError):
            robot.disconnect()
        if robot.bus.is_connected:
            robot.bus.port_handler.closePort()
    return {"sent_ns": robot.sent_ns, "error": error}


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what it prints is no answer
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        joints = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
        entry = {"drive_mode": 0, "homing_offset": 0, "range_min": 0, "range_max": 2 * MIDDLE - 1}
        calibration = {joint: {"id": k, **entry} for k, joint in enumerate(joints, 1)}
        assert all(MotorCalibration(**values) for values in calibration.values())
        (folder / "bench.json").write_text(json.dumps(calibration))
        print(json.dumps({"ready": True}), file=out, flush=True)
        for line in sys.stdin:
            with contextlib.redirect_stdout(sys.stderr):
                answer = measure(folder, **json.loads(line))
            print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
