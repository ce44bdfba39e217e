"""What an emulated servo drives: a motor with a gear, an encoder and a winding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sensed:
    """What the servo's own sensors say."""

    turns: float  # output shaft, from the encoder's zero; not wrapped
    turns_s: float  # turns per second
    duty: float  # -1..1, share of the supply voltage on the motor
    current_a: float
    supply_v: float
    temperature_c: float


class Motor(Protocol):
    """The physics of one servo."""

    def sense(self) -> Sensed: ...

    def drive(self, turns: float | None, duty_max: float, p: int) -> None:
        """Servo to the angle `turns` with at most `duty_max` (0..1) of the supply and the firmware's gain `p`
        (its register); None lets go."""
        ...
