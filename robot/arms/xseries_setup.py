"""The Dynamixel X series as it is examined and numbered. Implements `ServoKind`.

Addresses and baud rates: Robotis e-manual, "Control Table", the same for all models of the series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ..buses import Bus, DynamixelFraming
from ..buses.framing import WRITE
from ..errors import DeviceError
from .chain import Motor
from .servo_line import ServoHealth
from .xseries import (
    CENTRE,
    COUNTS,
    EEPROM_BYTES,
    ERROR_STATUS,
    HARDWARE_ERRORS,
    MODELS,
    PRESENT,
    RAM_BYTES,
    REGISTERS,
    TORQUE,
    WANTED,
)  # fmt: skip

FIRMWARE, ID, BAUD, MAX_TEMPERATURE, MAX_VOLTAGE, MIN_VOLTAGE = 6, 7, 8, 31, 32, 34
POSITION, VOLTAGE, TEMPERATURE = PRESENT + 6, PRESENT + 18, PRESENT + 20
NAMES = {model.number: model.name for model in MODELS.values()}


class XSeriesKind:
    """The servos of `motors`, at any baud rate."""

    framing = DynamixelFraming()
    bauds: Mapping[int, int] = MappingProxyType(
        {
            57_600: 1,
            1_000_000: 3,
            115_200: 2,
            9_600: 0,
            2_000_000: 4,
            3_000_000: 5,
            4_000_000: 6,
            4_500_000: 7,
        }
    )

    def __init__(self, motors: Iterable[Motor]) -> None:
        self._wanted = {id: {**WANTED, **motor.registers} for motor in motors for id in motor.ids}

    def health(self, bus: Bus, id: int) -> ServoHealth:
        table = bus.read(id, 0, EEPROM_BYTES) + bus.read(
            id, TORQUE, RAM_BYTES
        )  # the second begins where the first ends
        number = _number(table[0:2])
        status = table[ERROR_STATUS]
        model = NAMES.get(number, f"model {number}")
        return ServoHealth(
            model=model,
            firmware=str(table[FIRMWARE]),
            turns=(_signed(table[POSITION : POSITION + 4]) - CENTRE) / COUNTS,
            torque_on=table[TORQUE] == 1,
            voltage_v=_number(table[VOLTAGE : VOLTAGE + 2]) / 10.0,
            voltage_range_v=(
                _number(table[MIN_VOLTAGE:][:2]) / 10.0,
                _number(table[MAX_VOLTAGE:][:2]) / 10.0,
            ),
            temperature_c=float(table[TEMPERATURE]),
            temperature_max_c=float(table[MAX_TEMPERATURE]),
            offset=None,
            faults=tuple(name for bit, name in HARDWARE_ERRORS.items() if status & bit),
            odd=tuple(self._odd(id, model, table)),
        )

    def renumber(self, bus: Bus, id: int, new_id: int, baud: int) -> None:
        if bus.read(id, TORQUE, 1) != b"\0":  # its EEPROM is locked then
            raise DeviceError(
                f"servo {id}: its torque is on; switch its power off and on, nothing was written"
            )
        self._change(bus, id, ID, new_id)
        self._change(bus, new_id, BAUD, self.bauds[baud])

    def settle(self, bus: Bus, id: int) -> None:
        """Nothing: torque locks its EEPROM, and no register does."""

    def _odd(self, id: int, model: str, table: bytes) -> Iterable[str]:
        for name, value in self._wanted.get(id, {}).items():
            address, size = REGISTERS[name]
            if name == "goal_current" and (model not in MODELS or MODELS[model].current_unit_a is None):
                continue
            data = table[address : address + size]
            found = data[0] if size == 1 else _signed(data)
            if found != value:
                yield f"{name.replace('_', ' ')} {found} (the driver sets {value})"

    def _change(self, bus: Bus, id: int, address: int, value: int) -> None:
        """Who answers under which id and at which rate afterwards is found out by asking anew."""
        what = self.framing.number(address) + bytes((value,))
        bus.exchange(self.framing.packet(id, WRITE, what), [id], 0)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)
