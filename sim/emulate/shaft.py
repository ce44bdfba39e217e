"""Several servos on one shaft, each with a firmware of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .motor import Motor, Sensed


@dataclass(frozen=True, slots=True)
class _Drive:
    turns: float
    duty_max: float
    p: int


@dataclass(slots=True)
class Shaft:
    """A motor with the strength of `count` equal ones, which `share`s of it drive together.

    They have one speed, and each its part of the current. Those that let go weaken the whole; those that want to be
    elsewhere than the others pull the shaft to the middle between them.
    """

    motor: Motor
    count: int
    _drives: dict[int, _Drive] = field(default_factory=dict)

    def share(self, k: int, *, mirrored: bool) -> Share:
        """The `k`-th of its motors; a mirrored one's encoder counts the other way, from the same middle."""
        return Share(self, k, mirrored)

    def drive(self, k: int, drive: _Drive | None) -> None:
        """What the `k`-th wants now; None lets go."""
        if drive is None:
            self._drives.pop(k, None)
        else:
            self._drives[k] = drive
        wanted = list(self._drives.values())
        if not wanted:
            self.motor.drive(None, 0.0, 0)
            return
        strength = sum(each.p for each in wanted)
        self.motor.drive(
            sum(each.turns * each.p for each in wanted) / strength if strength else wanted[0].turns,
            sum(each.duty_max for each in wanted) / self.count,
            round(strength / self.count),
        )


class Share:
    """One motor on a `Shaft`; implements `Motor`."""

    def __init__(self, shaft: Shaft, k: int, mirrored: bool) -> None:
        self._shaft = shaft
        self._k = k
        self._mirrored = mirrored

    def sense(self) -> Sensed:
        sensed = self._shaft.motor.sense()
        sign = -1 if self._mirrored else 1
        return replace(
            sensed,
            turns=self._turned(sensed.turns),
            turns_s=sign * sensed.turns_s,
            duty=sign * sensed.duty,
            current_a=sign * sensed.current_a / self._shaft.count,
        )

    def drive(self, turns: float | None, duty_max: float, p: int) -> None:
        self._shaft.drive(self._k, None if turns is None else _Drive(self._turned(turns), duty_max, p))

    def _turned(self, turns: float) -> float:
        return 1.0 - turns if self._mirrored else turns
