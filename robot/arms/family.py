"""What a family of servos has in common: where its registers are and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..buses import Bus


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one servo reports, at its output shaft, in the direction in which its encoder counts."""

    turns: float  # from the middle of its encoder's range
    turns_s: float  # turns per second
    torque_n_m: float
    temperature_c: float
    voltage_v: float
    faults: tuple[str, ...] = ()


class Family(Protocol):
    """One family of servos. Spans are (address, bytes)."""

    @property
    def feedback(self) -> tuple[int, int]:
        """The span that one cycle reads from every servo."""
        ...

    @property
    def standing(self) -> tuple[int, int]:
        """The span that tells whether a servo has its torque on."""
        ...

    def holds(self, data: bytes) -> bool:
        """Whether the bytes of `standing` say so; after a loss of power they do not."""
        ...

    def decode(self, data: bytes, error: int) -> Feedback:
        """What the bytes of `feedback` say."""
        ...

    def goal(self, turns: float) -> tuple[int, bytes]:
        """Where the goal is written, and how `turns` (from the middle) are."""
        ...

    def prepare(self, bus: Bus, id: int) -> None:
        """Make a servo ready without moving it, and without letting go where it holds.

        Raises `DeviceError` when it does not answer or is another kind of servo.
        """
        ...

    def torque(self, bus: Bus, id: int, on: bool) -> None:
        """Switch the torque; the goal must be the present position before it comes on."""
        ...
