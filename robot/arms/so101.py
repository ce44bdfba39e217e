"""SO-101 (and SO-100, the same joints): six STS3215 on one Feetech bus, ids 1 to 6 from the base to the jaw."""

from __future__ import annotations

from ..buses import Bus, FeetechFraming, SerialPort
from ..interfaces import Clock
from ..lerobot_units import TICKS, motor_names, read_calibration
from ..models import load_model
from ..rig import Rig
from . import ArmDevices
from .chain import TURN, Motor, ServoChain
from .devices import ChainArm, ChainGripper
from .servo_line import ServoLine
from .sts3215 import Sts3215Family
from .sts3215_setup import Sts3215Kind

BAUD = 1_000_000


def connect(name: str, rig: Rig, port: str, clock: Clock) -> ArmDevices:
    """Arm `name` of `rig` on the serial port `port`; nothing is opened yet.

    Zeros come from the arm's calibration file (LeRobot's), where the middle of each joint's recorded range is the
    middle of the description's, and the shut end of the jaw's its lower end; without one, encoders count 2048 there.
    """
    config = rig.arms[name]
    model = load_model(config.model)
    bus = Bus(SerialPort(port, BAUD, clock), FeetechFraming(), clock, BAUD)
    chain = ServoChain(bus, Sts3215Family(), motors(rig, name), clock)
    gripper = rig.gripper_of(name)
    return ArmDevices(
        ChainArm(name, rig.joint_spec(name), chain),
        None if gripper is None else ChainGripper(gripper, rig.grippers[gripper], model, chain),
    )


def servo_line(rig: Rig, name: str) -> ServoLine:
    """The servos of arm `name`, to be examined and numbered; raises as `motors` does."""
    return ServoLine(Sts3215Kind(), BAUD, {id: motor.name for motor in motors(rig, name) for id in motor.ids})


def motors(rig: Rig, name: str) -> list[Motor]:
    """The servos of arm `name`. Raises `RigError` for a calibration file that does not fit."""
    config = rig.arms[name]
    model = load_model(config.model)
    low, high = (end.tolist() for end in model.joint_ranges())
    middles = {joint: (a + b) / 2.0 for joint, a, b in zip(model.joints, low, high, strict=True)}
    if model.gripper_joint is not None:
        middles[model.gripper_joint] = sum(model.gripper_range()) / 2.0
    entries = {} if config.calibration is None else read_calibration(config.calibration, model)
    made = []
    for id, joint in enumerate(motor_names(model), 1):
        entry = entries.get(joint)
        if entry is None:
            made.append(Motor(joint, (id,), middles[joint]))
            continue
        sign = -1 if entry.drive_mode else 1
        known_rad, known_ticks = middles[joint], (entry.range_min + entry.range_max) / 2.0
        if joint == model.gripper_joint:
            known_rad = model.gripper_range()[0]
            known_ticks = entry.range_max if entry.drive_mode else entry.range_min
        zero_rad = known_rad + sign * (TICKS / 2.0 - known_ticks) / TICKS * TURN
        made.append(Motor(joint, (entry.id,), zero_rad, sign))
    return made
