"""SO-101 and SO-100, the same joints: six STS3215 on one Feetech bus, ids 1 to 6 from the base to the jaw."""

from __future__ import annotations

from ..buses import Bus, FeetechFraming, SerialPort
from ..interfaces import Clock
from ..rig import Rig
from . import ArmDevices
from .chain import Motor, ServoChain
from .devices import chain_devices
from .lerobot_zeros import joint_zeros
from .sts3215 import Sts3215Family

BAUD = 1_000_000


def connect(name: str, rig: Rig, port: str, clock: Clock) -> ArmDevices:
    """Arm `name` of `rig` on the serial port `port`; nothing is opened yet."""
    bus = Bus(SerialPort(port, BAUD, clock), FeetechFraming(), clock, BAUD)
    return chain_devices(name, rig, ServoChain(bus, Sts3215Family(), motors(rig, name), clock))


def motors(rig: Rig, name: str) -> list[Motor]:
    """The servos of arm `name`. Raises `RigError` for a calibration file that does not fit."""
    zeros = enumerate(joint_zeros(rig, name), 1)
    return [
        Motor(zero.joint, (id if zero.entry is None else zero.entry.id,), zero.zero_rad, zero.sign)
        for id, zero in zeros
    ]
