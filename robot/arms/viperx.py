"""ViperX-300 with six joints: nine XM540-W270 and XM430-W350 on one Dynamixel bus.

Ids, directions and baud rate: `interbotix_xsarm_control/config/vx300s.yaml`, whose drive modes are undone here: what
counts against its joint has a sign, and of two servos on one shaft the second is mirrored. Every encoder stands in
its middle where the joint's angle is 0. Interbotix' own driver sets drive modes and secondary ids again when it starts.
"""

from __future__ import annotations

from ..buses import Bus, DynamixelFraming, SerialPort
from ..errors import RigError
from ..interfaces import Clock
from ..models import load_model
from ..rig import Rig
from . import ArmDevices
from .chain import Motor, ServoChain
from .devices import chain_devices
from .xseries import CURRENT_BASED, XSeriesFamily, current_units

BAUD = 1_000_000
CALIBRATED = False  # its zeros are those of its assembly
XM540, XM430 = "xm540_w270", "xm430_w350"
REGISTERS = {
    "homing_offset": 0
}  # Interbotix turns the second servo of a shaft by it; the chain measures that anew
PAIR = (False, True)  # mirrored
MOTORS = (
    Motor("waist", (1,), 0.0, servo=XM540, registers=REGISTERS),
    Motor("shoulder", (2, 3), 0.0, -1, PAIR, servo=XM540, registers=REGISTERS),
    Motor("elbow", (4, 5), 0.0, -1, PAIR, servo=XM540, registers=REGISTERS),
    Motor("forearm_roll", (6,), 0.0, servo=XM540, registers=REGISTERS),
    Motor("wrist_angle", (7,), 0.0, -1, servo=XM430, registers=REGISTERS),
    Motor("wrist_rotate", (8,), 0.0, servo=XM430, registers=REGISTERS),
)
GRIPPER_ID = 9
GRIP = 1.25  # times the rig's force: beyond what the guard regulates, and never more


def connect(name: str, rig: Rig, port: str, clock: Clock) -> ArmDevices:
    """Arm `name` of `rig` on the serial port `port`; nothing is opened yet."""
    found = motors(rig, name)
    bus = Bus(SerialPort(port, BAUD, clock), DynamixelFraming(), clock, BAUD)
    return chain_devices(name, rig, ServoChain(bus, XSeriesFamily(found), found, clock))


def motors(rig: Rig, name: str) -> list[Motor]:
    """The servos of arm `name`. Raises `RigError` when a calibration file is named: the arm has none."""
    config = rig.arms[name]
    if config.calibration is not None:
        raise RigError(
            f"arms.{name}.calibration: the zeros of a ViperX are those of its assembly, it takes no file; remove the "
            "line"
        )
    model = load_model(config.model)
    gripper = rig.gripper_of(name)
    if gripper is None:
        return list(MOTORS)
    torque = GRIP * rig.grippers[gripper].force_n * model.gripper_lever_m
    registers = {**REGISTERS, "operating_mode": CURRENT_BASED, "goal_current": current_units(XM430, torque)}
    assert model.gripper_joint is not None
    return [*MOTORS, Motor(model.gripper_joint, (GRIPPER_ID,), 0.0, servo=XM430, registers=registers)]
