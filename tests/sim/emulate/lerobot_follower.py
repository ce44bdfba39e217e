"""Run with LeRobot's own Python: its SO101Follower on the serial port argv[1], calibration files in argv[2]."""

import json
import sys
import time
from pathlib import Path

from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
FILE = {
    name: {"id": id, "drive_mode": 0, "homing_offset": 0, "range_min": 900, "range_max": 3200}
    for id, name in enumerate(NAMES, 1)
}


def main(port, folder):
    Path(folder, "me.json").write_text(json.dumps(FILE))
    robot = SO101Follower(SO101FollowerConfig(port=port, id="me", calibration_dir=Path(folder)))
    robot.connect(calibrate=False)
    robot.bus.write_calibration(robot.calibration)
    calibrated = robot.is_calibrated
    start = robot.get_observation()
    goal = {f"{name}.pos": 0.0 for name in NAMES} | {"gripper.pos": 40.0}
    for _ in range(100):
        robot.send_action(goal)
        time.sleep(0.03)
    end = robot.get_observation()
    robot.disconnect()
    print(json.dumps({"calibrated": calibrated, "start": start, "end": end}))


if __name__ == "__main__":
    main(*sys.argv[1:])
