"""Names of everything the guard can do to a command, in a stable order, and how often it did.

`LIMIT_NAMES[k]` is bit k of the mask stored with every tick in the black box and with every episode row:
append at the end, never reorder.
"""

from __future__ import annotations

from collections.abc import Iterable

REJECT_REASONS = (
    "names",  # an arm or gripper the rig does not have, or nothing at all
    "dtype",  # not numbers
    "shape",  # not (H, n), H rows differ, H = 0 or too many rows
    "nonfinite",  # NaN or Inf
    "range",  # so far outside the joint range that it cannot be meant
    "times",  # not whole nanoseconds, or dt <= 0, or t0 long past
    "future",  # t0 too far ahead
    "expired",  # valid no more when it arrived
    "estop",  # e-stop latched: `rearm()` first
    "fault",  # fault latched: `rearm()` first
    "park",  # parking, parked, let go of or closed
    "stale_state",
    "stale_camera",
    "heartbeat",
    "temperature",
    "torque",
)

LIMIT_NAMES = (
    "position",  # asked outside the joint range
    "velocity",  # the command sent differs from the one asked, at the velocity limit
    "acceleration",  # same, at the acceleration limit
    "jerk",  # same, at the jerk limit
    "filter",  # the trajectory generator gave no usable answer: stop trajectory
    "table",
    "workspace",
    "self_collision",
    "obstacle",
    "torque",
    "gripper_force",
    "temperature",
    "tracking",
    "expired",
    "stale_state",
    "stale_camera",
    "heartbeat",
    "stall",
    "device",
    "released_unparked",
    *(f"rejected_{reason}" for reason in REJECT_REASONS),
    "orders_lost",  # written over before the guard's process read them
    "gripper_hold",  # held for a while: with less force from here on
)

LIMIT_BIT = {name: 1 << k for k, name in enumerate(LIMIT_NAMES)}

# Rejections that say the sender is broken; `rejects_to_fault` of them in a row latch a fault. A late chunk
# or one that meets a latched e-stop is nobody's bug, so those only count.
MALFORMED = frozenset(("names", "dtype", "shape", "nonfinite", "range", "times"))


def mask_names(mask: int) -> tuple[str, ...]:
    """Names of the bits set in `mask`."""
    return tuple(name for k, name in enumerate(LIMIT_NAMES) if mask >> k & 1)


class LimitCounter:
    """Counts in how many ticks each limit acted, since the last `take()` and in total."""

    def __init__(self) -> None:
        self.total: dict[str, int] = {}
        self._recent: dict[str, int] = {}
        self._now: set[str] = set()

    def note(self, name: str) -> None:
        """Limit `name` acted in this tick; twice in one tick counts once."""
        self._now.add(name)

    def add(self, names: Iterable[str]) -> None:
        """Count `names` once each at once, outside of any tick."""
        for name in names:
            self.total[name] = self.total.get(name, 0) + 1
            self._recent[name] = self._recent.get(name, 0) + 1

    def end_tick(self) -> int:
        """Close the tick and return its bit mask."""
        if not self._now:
            return 0
        names, self._now = self._now, set()
        self.add(names)
        return sum(LIMIT_BIT[name] for name in names)

    def take(self) -> dict[str, int]:
        """Counts since the last call."""
        recent, self._recent = self._recent, {}
        return recent
