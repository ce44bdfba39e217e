"""Koch v1.1 follower: two XL430-W250 and four XL330-M288 on one Dynamixel bus, ids 1 to 6 from the base to the jaw.

Servos, ids and baud rate as LeRobot 0.6 has them (`robots/koch_follower`), and its calibration files: the homing
offset and the drive mode that a file tells are those of the servos.
"""

from __future__ import annotations

from ..buses import Bus, DynamixelFraming, SerialPort
from ..interfaces import Clock
from ..models import load_model
from ..rig import Rig
from . import ArmDevices
from .chain import Motor, ServoChain
from .devices import chain_devices
from .lerobot_zeros import joint_zeros
from .xseries import CURRENT_BASED, XSeriesFamily, current_units

BAUD = 1_000_000
SERVOS = ("xl430_w250", "xl430_w250", "xl330_m288", "xl330_m288", "xl330_m288", "xl330_m288")
STIFF = {"p": 1500, "d": 600}  # of the elbow, which carries forearm and hand: LeRobot's gains for it
GRIP = 1.25  # times the rig's force: beyond what the guard regulates, and never more


def connect(name: str, rig: Rig, port: str, clock: Clock) -> ArmDevices:
    """Arm `name` of `rig` on the serial port `port`; nothing is opened yet."""
    found = motors(rig, name)
    bus = Bus(SerialPort(port, BAUD, clock), DynamixelFraming(), clock, BAUD)
    return chain_devices(name, rig, ServoChain(bus, XSeriesFamily(found), found, clock))


def motors(rig: Rig, name: str) -> list[Motor]:
    """The servos of arm `name`. Raises `RigError` for a calibration file that does not fit."""
    model = load_model(rig.arms[name].model)
    gripper = rig.gripper_of(name)
    made: list[Motor] = []
    for id, (zero, servo) in enumerate(
        zip(joint_zeros(rig, name, servo_reverses=True), SERVOS, strict=True), 1
    ):
        registers: dict[str, int] = dict(STIFF) if zero.joint == "elbow_flex" else {}
        if zero.entry is not None:
            registers |= {"drive_mode": zero.entry.drive_mode, "homing_offset": zero.entry.homing_offset}
        if zero.joint == model.gripper_joint and gripper is not None:
            torque = GRIP * rig.grippers[gripper].force_n * model.gripper_lever_m
            registers |= {"operating_mode": CURRENT_BASED, "goal_current": current_units(servo, torque)}
        ids = (id if zero.entry is None else zero.entry.id,)
        made.append(Motor(zero.joint, ids, zero.zero_rad, servo=servo, registers=registers))
    return made
