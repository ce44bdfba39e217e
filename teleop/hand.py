"""`Hand`: a device as a session holds it. Whoever looks first in a step reads it; nobody misses a key."""

from __future__ import annotations

from ..robot.interfaces import Clock
from .jog import Jog, JogDevice


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

    def feel(self, clamped: bool) -> None:
        self.device.feel(clamped)

    def close(self) -> None:
        self.device.close()

    def _look(self) -> None:
        self._jog = self.device.read(self._clock.now())
        self._pressed += self._jog.keys
