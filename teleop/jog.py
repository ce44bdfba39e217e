"""What a hand asks for through a Cartesian device, and what such a device is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from ..robot.types import F64, frozen


def still() -> F64:
    """No motion, (3,)."""
    return frozen(np.zeros(3))


@dataclass(frozen=True, slots=True)
class Jog:
    """One look at the device. Vectors are in the world frame `W`, of the point between the pads.

    Devices that have a pose of their own (a phone, a headset's controller) say how far they `moved` and `turned`
    since the clutch was engaged; the others give velocities. Without `engaged` (clutch open, dead-man released)
    nothing moves, whatever the rest says.
    """

    engaged: bool = True
    linear_m_s: F64 = field(default_factory=still)  # (3,)
    angular_rad_s: F64 = field(default_factory=still)  # (3,)
    grip_m_s: float = 0.0  # rate of the width, > 0 opens
    width_share: float | None = None  # 0 shut .. 1 open, of devices with a trigger that tells how far
    moved_m: F64 | None = None  # (3,) since the clutch was engaged
    turned_rad: F64 | None = None  # (3,) rotation vector since the clutch was engaged
    clutch: int = 0  # with these two: another number each time that it was engaged
    q_rad: F64 | None = None  # (n,) joint angles, of a device that is an arm itself
    age_ns: int = 0  # how long ago it stood so
    keys: tuple[str, ...] = ()  # episode keys that were pressed since the last look


class JogDevice(Protocol):
    """A keyboard, gamepad, SpaceMouse, page: constructors store, `open` acts, `read` never blocks."""

    name: str

    def open(self) -> None:
        """Raises `DeviceError` that says what is missing."""
        ...

    def read(self, now_ns: int) -> Jog:
        """What is asked for at `now_ns`. A device that is gone is not engaged."""
        ...

    def feel(self, clamped: bool) -> None:
        """The guard held the motion back just now, or not: to rumble, or to show. Never blocks."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Mirroring(Protocol):
    """A device that is driven along while somebody else has the arm, as a leader arm is."""

    def mirror(self, q: F64, width_share: float | None, led: bool) -> None:
        """The arm is told `q` (n,) rad and to open that far, 0..1; `led`: the person takes the device now."""
        ...

    def stand(self) -> None:
        """Stay where it is."""
        ...

    def rearm(self) -> None:
        """Leave a latched stop of its own. Raises `GuardFault` while that cannot be."""
        ...

    @property
    def trouble(self) -> str:
        """Why it cannot be used just now, "" = nothing."""
        ...
