"""Where the encoders of an arm lie in its joints, by LeRobot's calibration file or without one."""

from __future__ import annotations

from dataclasses import dataclass

from ..lerobot_units import TICKS, MotorCalibration, motor_names, read_calibration
from ..models import load_model
from ..rig import Rig
from .chain import TURN


@dataclass(frozen=True, slots=True)
class JointZero:
    """One motor's joint, and the joint's angle in the middle of its encoder's range."""

    joint: str
    zero_rad: float
    sign: int  # -1: the encoder counts against the joint
    entry: MotorCalibration | None  # what the file says of it


def joint_zeros(rig: Rig, name: str, *, servo_reverses: bool = False) -> list[JointZero]:
    """The motors of arm `name` in LeRobot's order, the gripper last.

    In its file, the middle of each joint's recorded range is the middle of the description's, and the shut end of the
    jaw's its lower end; without one, encoders stand in the middle there. `servo_reverses`: the drive mode that the
    file tells lies in the servo (Dynamixel), so that its counts grow with the joint. Raises `RigError` for a file that
    does not fit.
    """
    config = rig.arms[name]
    model = load_model(config.model)
    low, high = (end.tolist() for end in model.joint_ranges())
    middles = {joint: (a + b) / 2.0 for joint, a, b in zip(model.joints, low, high, strict=True)}
    if model.gripper_joint is not None:
        middles[model.gripper_joint] = sum(model.gripper_range()) / 2.0
    entries = {} if config.calibration is None else read_calibration(config.calibration, model)
    made: list[JointZero] = []
    for joint in motor_names(model):
        entry = entries.get(joint)
        if entry is None:
            made.append(JointZero(joint, middles[joint], 1, None))
            continue
        sign = -1 if entry.drive_mode and not servo_reverses else 1
        known_rad, known_ticks = middles[joint], (entry.range_min + entry.range_max) / 2.0
        if joint == model.gripper_joint:
            known_rad = model.gripper_range()[0]
            known_ticks = entry.range_max if sign < 0 else entry.range_min
        made.append(
            JointZero(joint, known_rad + sign * (TICKS / 2.0 - known_ticks) / TICKS * TURN, sign, entry)
        )
    return made
