"""The STS3215 as it is examined and numbered. Implements `ServoKind`.

Baud rates by the register's value: Feetech's STS3215 memory table, as LeRobot 0.6 (`motors/feetech/tables.py`) has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..buses import Bus, FeetechFraming
from ..buses.feetech import signed
from ..buses.framing import WRITE
from ..errors import DeviceError
from .servo_line import ServoHealth
from .sts3215 import LOCK, MODEL, PRESENT, TORQUE, WANTED, Sts3215Family

NAME = "sts3215"
ID, BAUD, MAX_TEMPERATURE, OFFSET, OFFSET_SIGN = 5, 6, 13, 31, 11
STATUS = 65  # has the error byte's bits
TABLE_BYTES = 56  # from address 0 to the lock
RATES = (1_000_000, 500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400)
NAMES = {7: "return delay", 21: "gain P", 33: "mode", 41: "acceleration"}  # of the registers in WANTED


class Sts3215Kind:
    """STS3215 at any baud rate."""

    framing = FeetechFraming()
    bauds: Mapping[int, int] = MappingProxyType({rate: k for k, rate in enumerate(RATES)})

    def health(self, bus: Bus, id: int) -> ServoHealth:
        table = bus.read(id, 0, TABLE_BYTES)
        present = bus.read(id, PRESENT, STATUS - PRESENT + 1)
        seen = Sts3215Family().decode(present, present[-1])
        model = int.from_bytes(table[3:5], "little")
        odd = [
            f"{NAMES.get(address, f'register {address}')} {found} (the driver sets {value})"
            for (address, size), value in WANTED.items()
            if (found := int.from_bytes(table[address : address + size], "little")) != value
        ]
        return ServoHealth(
            model=NAME if model == MODEL else f"model {model}",
            firmware=f"{table[0]}.{table[1]}",
            turns=seen.turns,
            torque_on=table[TORQUE] == 1,
            voltage_v=seen.voltage_v,
            voltage_range_v=(table[15] / 10.0, table[14] / 10.0),
            temperature_c=seen.temperature_c,
            temperature_max_c=float(table[MAX_TEMPERATURE]),
            offset=signed(int.from_bytes(table[OFFSET : OFFSET + 2], "little"), OFFSET_SIGN),
            faults=seen.faults,
            odd=tuple(odd),
        )

    def renumber(self, bus: Bus, id: int, new_id: int, baud: int) -> None:
        if bus.read(id, TORQUE, 1) != b"\0":
            raise DeviceError(
                f"servo {id}: its torque is on; switch its power off and on, nothing was written"
            )
        bus.write(id, LOCK, b"\0")  # else the change is gone with the power
        self._change(bus, id, ID, new_id)
        self._change(bus, new_id, BAUD, self.bauds[baud])

    def settle(self, bus: Bus, id: int) -> None:
        bus.write(id, LOCK, b"\1")

    def _change(self, bus: Bus, id: int, address: int, value: int) -> None:
        """Who answers under which id and at which rate afterwards is found out by asking anew."""
        bus.exchange(self.framing.packet(id, WRITE, bytes((address, value))), [id], 0)
