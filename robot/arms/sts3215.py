"""Feetech STS3215 in an arm: its registers in SI units. Implements `Family`.

The duty cycle that it reports as load becomes a torque with the constants that Rhoban identified for the 7.4 V
version (bam, `params/feetech_sts3215_7_4V/m1.json`): duty * V * kt / R, less the back-EMF kt^2 / R * speed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..buses import Bus
from ..buses.feetech import FAULTS, sign_magnitude, signed
from ..errors import DeviceError
from .family import Feedback

COUNTS = 4096  # a turn
CENTRE = 2048
MODEL = 777
KT, OHM = 1.2116, 2.676  # N·m/A at the output shaft, ohm
MODEL_NUMBER, TORQUE, GOAL, LOCK, PRESENT = 3, 40, 42, 55, 56
FEEDBACK_BYTES = 8  # position, speed, load, voltage, temperature
SIGN, LOAD_SIGN = 15, 10  # sign bits
WANTED = {  # (address, bytes): value. The first is in the EEPROM, where a write wears the cell out
    (7, 1): 0,  # return delay: none
    (33, 1): 0,  # mode: position
    (21, 1): 16,  # P; 32 as it comes makes an arm shake
    (41, 1): 0,  # acceleration: the guard shapes the way
}


class Sts3215Family:
    """Registers of the STS3215."""

    watchdog = None
    counts_turns = False

    def read(self, bus: Bus, ids: Sequence[int]) -> dict[int, Feedback]:
        answers = bus.sync_read(ids, PRESENT, FEEDBACK_BYTES)
        return {id: self.decode(answer.data, answer.error) for id, answer in answers.items()}

    def holding(self, bus: Bus, ids: Sequence[int]) -> dict[int, bool]:
        return {id: answer.data == b"\1" for id, answer in bus.sync_read(ids, TORQUE, 1).items()}

    def decode(self, data: bytes, error: int) -> Feedback:
        """The bytes from the position to the temperature, and the error byte."""
        counts, speed, load = (int.from_bytes(data[k : k + 2], "little") for k in (0, 2, 4))
        volts, turns_s = data[6] / 10.0, signed(speed, SIGN) / COUNTS
        duty = signed(load, LOAD_SIGN) / 1000.0
        torque = duty * volts * KT / OHM - KT**2 / OHM * turns_s * 2.0 * math.pi
        faults = tuple(name for bit, name in FAULTS.items() if error & bit)
        return Feedback(
            (signed(counts, SIGN) - CENTRE) / COUNTS, turns_s, torque, float(data[7]), volts, faults
        )

    def command(self, bus: Bus, turns: Mapping[int, float]) -> None:
        bus.sync_write(GOAL, {id: _counts(value).to_bytes(2, "little") for id, value in turns.items()})

    def prepare(self, bus: Bus, id: int) -> None:
        model = int.from_bytes(bus.read(id, MODEL_NUMBER, 2), "little")
        if model != MODEL:
            raise DeviceError(f"servo {id}: is a model {model}, an STS3215 ({MODEL}) is needed")
        for (address, size), value in WANTED.items():
            data = value.to_bytes(size, "little")
            if bus.read(id, address, size) != data:
                bus.write(id, LOCK, b"\0")
                bus.write(id, address, data)
                bus.write(id, LOCK, b"\1")

    def torque(self, bus: Bus, id: int, on: bool) -> None:
        bus.write(id, TORQUE, bytes((on,)))


def _counts(turns: float) -> int:
    return sign_magnitude(max(-32767, min(32767, round(turns * COUNTS) + CENTRE)), SIGN)
