"""`Hand`: a device as a session holds it. Whoever looks first in a step reads it; nobody misses a key."""

from __future__ import annotations

from ..robot.interfaces import Clock
from ..robot.types import F64
from .jog import Jog, JogDevice, Mirroring


class Hand:
    """Implements `JogDevice` on another one, which is read on `clock`: people do not live on the twin's time.

    While `muted` nothing moves; keys still come through.
    """

    def __init__(self, device: JogDevice, clock: Clock) -> None:
        self.device = device
        self.name = device.name
        self.muted = False
        self._clock = clock
        self._jog = Jog(engaged=False)
        self._seen_ns: int | None = None  # the step of the last look
        self._pressed: list[str] = []

    def open(self) -> None:
        self.device.open()

    def read(self, now_ns: int) -> Jog:
        if now_ns != self._seen_ns:
            self._seen_ns = now_ns
            self._look()
        return Jog(engaged=False) if self.muted else self._jog

    def pressed(self, now_ns: int | None = None) -> tuple[str, ...]:
        """Keys that came since the last call; the device is read unless it was in the step `now_ns`."""
        if now_ns is None or now_ns != self._seen_ns:
            self._seen_ns = now_ns
            self._look()
        found, self._pressed = tuple(self._pressed), []
        return found

    @property
    def mirrors(self) -> bool:
        """Whether the device is driven along while somebody else has the arm."""
        return isinstance(self.device, Mirroring)

    @property
    def trouble(self) -> str:
        """Why the device cannot be used just now, "" = nothing."""
        return self.device.trouble if isinstance(self.device, Mirroring) else ""

    def mirror(self, q: F64, width_share: float | None, led: bool) -> None:
        """What the arm is told; `led`: the person has it, or is given it."""
        if isinstance(self.device, Mirroring):
            self.device.mirror(q, width_share, led and not self.muted)

    def stand(self) -> None:
        """Nobody moves the arm now."""
        if isinstance(self.device, Mirroring):
            self.device.stand()

    def rearm(self) -> None:
        """Leave a latched stop of the device's own. Raises `GuardFault` while that cannot be."""
        if isinstance(self.device, Mirroring):
            self.device.rearm()

    def feel(self, clamped: bool) -> None:
        self.device.feel(clamped)

    def close(self) -> None:
        self.device.close()

    def _look(self) -> None:
        self._jog = self.device.read(self._clock.now())
        self._pressed += self._jog.keys
