"""Run with LeRobot's own Python: its follower argv[3] on the serial port argv[1], calibration files in argv[2]."""

import json
import sys
import time
from pathlib import Path

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
FILE = {
    name: {"id": id, "drive_mode": 0, "homing_offset": 0, "range_min": 900, "range_max": 3200}
    for id, name in enumerate(NAMES, 1)
}


def follower(arm):
    if arm == "koch":
        from lerobot.robots.koch_follower import KochFollower, KochFollowerConfig

        return KochFollower, KochFollowerConfig
    from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig

    return SO101Follower, SO101FollowerConfig


def main(port, folder, arm):
    Path(folder, "me.json").write_text(json.dumps(FILE))
    robot_class, config_class = follower(arm)
    robot = robot_class(config_class(port=port, id="me", calibration_dir=Path(folder), use_degrees=True))
    robot.connect(calibrate=False)
    with robot.bus.torque_disabled():  # else a Dynamixel's EEPROM is locked
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
