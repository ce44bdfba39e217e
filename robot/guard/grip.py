"""Closing force of a gripper: strong to take hold, weaker to keep it, so that its servo does not burn.

A grasp stays a grasp: force is regulated by giving way on the width that is asked, never by letting go.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..types import GripperState

GIVE_WAY = 0.5  # of the gripper's top speed, while the force is above its limit
TAKE_UP = 0.05  # of it, both ways: force well below its limit, or above what is to be held
EASE = 0.8
RECOVERY = (
    0.25  # seconds at full force earned by a second without; so it is on for a fifth of the time at most
)
SLIP_M = 0.002  # narrower than ever in this grasp by that much: it slips. Backlash and counts are below 1 mm
LEAD_M = 0.001  # the width that may be asked is not farther from the one commanded: it would overshoot
AGAIN = 0.5  # of the time at full force that may be used up when a slip asks for it
LONGEST_S = 0.05  # between two readings; what is older says nothing about the time between


@dataclass(frozen=True, slots=True)
class GripLimits:
    """What a gripper may squeeze with: `force_n` for `hold_after_s` at a time, `hold_n` for ever."""

    force_n: float
    hold_n: float
    hold_after_s: float
    speed_m_s: float


class GripForce:
    """An integral regulator on the narrowest width that may be asked.

    While |force| is above the limit and the gripper is asked to close, the narrowest width opens; well below the
    limit it creeps back. The limit is `force_n` until `hold_after_s` above `hold_n` are used up, then `hold_n`, with
    no way back but a slip (`SLIP_M`) or opening; the time at full force is earned again at `RECOVERY`. So whatever
    is asked, in t seconds the force is above `hold_n` for at most `hold_after_s + RECOVERY * t` and what it takes
    to give way. Asking for a wider opening ends it.
    """

    def __init__(self, limits: GripLimits) -> None:
        self._limits = limits
        self._hold_n = min(limits.hold_n, limits.force_n)
        self.narrowest: float | None = None  # width that may be asked, m; None: any
        self.holding = False  # the limit is `hold_n`
        self._spent_s = 0.0  # of `hold_after_s`
        self._least_m: float | None = None  # narrowest measured width of this grasp
        self._seen_ns: int | None = None

    @property
    def acting(self) -> str:
        """Name of the limit that holds now."""
        return "gripper_hold" if self.holding else "gripper_force"

    def update(self, state: GripperState, commanded_m: float) -> None:
        """A new measurement, and the width (m) commanded last; the same measurement again changes nothing."""
        before, self._seen_ns = self._seen_ns, state.t_ns
        if before is None or state.t_ns <= before:
            return
        dt_s = min((state.t_ns - before) * 1e-9, LONGEST_S)
        force, measured = abs(state.force_n), state.width_m
        squeezes = commanded_m < measured
        self._account(force, measured, squeezes, dt_s)
        limit = self._hold_n if self.holding else self._limits.force_n
        if force > limit and squeezes:
            start = commanded_m if self.narrowest is None else self.narrowest
            share = GIVE_WAY if force > self._limits.force_n else TAKE_UP
            wider = start + share * self._limits.speed_m_s * dt_s
            self.narrowest = min(wider, measured, commanded_m + LEAD_M)
        elif self.narrowest is not None and force < EASE * limit:
            narrower = self.narrowest - TAKE_UP * self._limits.speed_m_s * dt_s
            self.narrowest = max(narrower, commanded_m - LEAD_M)

    def limited(self, asked_m: float) -> float:
        """The width to aim for when `asked_m` is asked."""
        if self.narrowest is None:
            return asked_m
        if asked_m >= self.narrowest:
            self._let_go()
            return asked_m
        return self.narrowest

    def reset(self) -> None:
        """The commanded width starts anew; what was spent stays spent."""
        self._let_go()
        self._seen_ns = None

    def _account(self, force: float, measured: float, squeezes: bool, dt_s: float) -> None:
        """Time at full force is used up, or earned again; the limit follows."""
        full = self._limits.hold_after_s
        if squeezes and force > self._hold_n:
            self._least_m = measured if self._least_m is None else min(self._least_m, measured)
            if not self.holding:
                self._spent_s = min(self._spent_s + dt_s, full)
                self.holding = self._spent_s >= full
            return
        self._spent_s = max(0.0, self._spent_s - RECOVERY * dt_s)
        if self.holding and self._least_m is not None and measured < self._least_m - SLIP_M:
            if self._spent_s <= AGAIN * full:
                self._least_m, self.holding = measured, False

    def _let_go(self) -> None:
        self.narrowest = self._least_m = None
        self.holding = False
