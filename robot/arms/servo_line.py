"""Servos as they are examined and set up one by one, beside the arm that they become.

An arm whose driver's module has `motors(rig, arm)` and `BAUD` is examined servo by servo by `twinloop doctor --rig` and
numbered by `twinloop setup-devices --ids`; with `CALIBRATED = False` there it takes no calibration file. One whose arm
has an address may name its TCP port in `TCP_PORT`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from ..buses import Bus, Framing
from ..errors import RigError
from ..rig import Rig
from . import SHIPPED, arm_driver
from .chain import Motor
from .xseries import MODELS


@dataclass(frozen=True, slots=True)
class ServoHealth:
    """What one servo says of itself; nothing was written to find it out."""

    model: str  # as `Motor.servo` has it, or "model 123"
    firmware: str
    turns: float  # output shaft, from the middle of the encoder's range
    torque_on: bool
    voltage_v: float
    voltage_range_v: tuple[float, float]  # outside it, the firmware complains
    temperature_c: float
    temperature_max_c: float
    offset: (
        int | None
    )  # counts that its encoder is turned by, as LeRobot calibrates it; None: the driver sets it
    faults: tuple[str, ...] = ()  # latched
    odd: tuple[str, ...] = ()  # settings that the driver changes when it opens the arm


class ServoKind(Protocol):
    """One kind of servo on a bus."""

    @property
    def framing(self) -> Framing: ...

    @property
    def bauds(self) -> Mapping[int, int]:
        """Baud rate -> value of the register, the factory's first."""
        ...

    def health(self, bus: Bus, id: int) -> ServoHealth:
        """Ask servo `id`, reading alone. Raises `DeviceError` when it does not answer."""
        ...

    def renumber(self, bus: Bus, id: int, new_id: int, baud: int) -> None:
        """Give the servo `id` another id and baud rate, kept without power. Who asks anew finds it only there.

        Raises `DeviceError` when it does not answer, or its torque is on: then nothing was written.
        """
        ...

    def settle(self, bus: Bus, id: int) -> None:
        """End `renumber`, once the servo has answered on a bus at its new rate."""
        ...


@dataclass(frozen=True, slots=True)
class ServoLine:
    """The bus of one arm as its driver wants it."""

    kind: ServoKind
    baud: int
    joints: Mapping[int, str]  # id -> joint
    servos: Mapping[int, str]  # id -> model
    calibrated: bool = True  # whether the arm takes LeRobot's calibration file


def driver_module(model: str) -> ModuleType:
    """The module of the driver of arm description `model`. Raises `RigError` where there is none."""
    if model in SHIPPED:
        return importlib.import_module(f"{__package__}.{SHIPPED[model]}")
    return sys.modules[arm_driver(model).__module__]


def servo_line(rig: Rig, arm: str) -> ServoLine | None:
    """The servos of `arm`; None where its driver does not tell them.

    Raises `RigError` where there is no driver, for a servo of no known kind, and for a calibration file that does
    not fit.
    """
    module = driver_module(rig.arms[arm].model)
    tell = getattr(module, "motors", None)
    if tell is None:
        return None
    motors: list[Motor] = tell(rig, arm)
    return ServoLine(
        _kind(motors),
        module.BAUD,
        {id: motor.name for motor in motors for id in motor.ids},
        {id: motor.servo for motor in motors for id in motor.ids},
        getattr(module, "CALIBRATED", True),
    )


def _kind(motors: Sequence[Motor]) -> ServoKind:
    from . import sts3215_setup, xseries_setup

    servos = {motor.servo for motor in motors}
    if servos <= {sts3215_setup.NAME}:
        return sts3215_setup.Sts3215Kind()
    if servos <= set(MODELS):
        return xseries_setup.XSeriesKind(motors)
    raise RigError(f"servos {', '.join(sorted(servos))}: of no kind that can be looked at one by one")


def tcp_port(rig: Rig, arm: str) -> int | None:
    """The port at which the control box of `arm` listens; None for arms on a serial port."""
    return getattr(driver_module(rig.arms[arm].model), "TCP_PORT", None)
