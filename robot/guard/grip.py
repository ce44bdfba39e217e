"""Closing force of a gripper: regulated to its limit by giving way, so that a grasp stays a grasp."""

from __future__ import annotations

GIVE_WAY = 0.5  # of the gripper's top speed, while the force is above its limit
TAKE_UP = 0.05  # of it, while the force is below `EASE` of the limit again
EASE = 0.8


class GripForce:
    """An integral regulator on the narrowest width that may be asked.

    While |force| > `force_max` (N) and the gripper is asked to close, the narrowest width opens at
    `GIVE_WAY * speed_max`; well below the limit it creeps back. Asking for a wider opening ends it.
    """

    def __init__(self, force_max: float, speed_max: float, dt_s: float) -> None:
        self._force_max = force_max
        self._open_step = GIVE_WAY * speed_max * dt_s
        self._close_step = TAKE_UP * speed_max * dt_s
        self._narrowest: float | None = None

    def update(self, force_n: float, commanded_m: float, measured_m: float) -> None:
        """A new measurement: force (N), commanded and measured width (m)."""
        force = abs(force_n)
        if force > self._force_max and commanded_m < measured_m:
            start = commanded_m if self._narrowest is None else self._narrowest
            self._narrowest = min(start + self._open_step, measured_m)
        elif self._narrowest is not None and force < EASE * self._force_max:
            self._narrowest -= self._close_step

    def limited(self, asked_m: float) -> float:
        """The width to aim for when `asked_m` is asked."""
        if self._narrowest is None:
            return asked_m
        if asked_m >= self._narrowest:
            self._narrowest = None
            return asked_m
        return self._narrowest

    def reset(self) -> None:
        self._narrowest = None
