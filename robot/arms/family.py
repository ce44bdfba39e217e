"""What a family of servos has in common: where its registers are and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..buses import Bus

WatchdogState = Literal["off", "armed", "stopped"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one servo reports, at its output shaft, in the direction in which its encoder counts."""

    turns: float  # from the middle of its encoder's range
    turns_s: float  # turns per second
    torque_n_m: float
    temperature_c: float
    voltage_v: float
    faults: tuple[str, ...] = ()


class Watchdog(Protocol):
    """What stops servos by themselves when nobody has spoken to them for `limit_ns`.

    A stopped one stands where it was, torque on, and takes no goal until it is told `clear`.
    """

    @property
    def limit_ns(self) -> int: ...

    def states(self, bus: Bus, ids: Sequence[int]) -> dict[int, WatchdogState]:
        """How those of `ids` stand that answer in time."""
        ...

    def arm(self, bus: Bus, ids: Sequence[int]) -> None:
        """Nobody answers; `states` tells who is."""
        ...

    def clear(self, bus: Bus, ids: Sequence[int]) -> None:
        """Off, whether armed or stopped; a goal must follow at once, for a stopped one may still have an old one."""
        ...


class Family(Protocol):
    """One family of servos on a bus. What `read`, `holding` and `command` cannot reach is left out, and counted."""

    @property
    def watchdog(self) -> Watchdog | None:
        """None: the servos have none, and hold their last goal for ever."""
        ...

    @property
    def counts_turns(self) -> bool:
        """Whether encoders count on past a turn, and forget whole ones without power."""
        ...

    def read(self, bus: Bus, ids: Sequence[int]) -> dict[int, Feedback]:
        """What every servo reports; one cycle's worth."""
        ...

    def holding(self, bus: Bus, ids: Sequence[int]) -> dict[int, bool]:
        """Whether their torque is on; after a loss of power it is not."""
        ...

    def command(self, bus: Bus, turns: Mapping[int, float]) -> None:
        """Write goals, turns from the middle of each encoder's range, in its direction; nobody answers."""
        ...

    def prepare(self, bus: Bus, id: int) -> None:
        """Make a servo ready without moving it, and without letting go where it holds; its watchdog is off.

        Raises `DeviceError` when it does not answer or is another kind of servo.
        """
        ...

    def torque(self, bus: Bus, id: int, on: bool) -> None:
        """Switch the torque; the goal must be the present position before it comes on."""
        ...
