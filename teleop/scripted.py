"""A hand that follows a script: for tests, and for demonstrations in the way in which a person gives them."""

from __future__ import annotations

from collections.abc import Callable

from .jog import Jog


class Scripted:
    """Implements `JogDevice`: asks for what `script` (time ns -> `Jog`) says, keys included."""

    name = "scripted"

    def __init__(self, script: Callable[[int], Jog]) -> None:
        self._script = script
        self.clamped = 0  # looks at which the guard held the motion back

    def open(self) -> None:
        """There is nothing to open."""

    def read(self, now_ns: int) -> Jog:
        return self._script(now_ns)

    def feel(self, clamped: bool) -> None:
        self.clamped += clamped

    def close(self) -> None:
        """Nor to close."""
