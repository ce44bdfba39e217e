"""Which mode the guard is in, why, and what latches."""

from __future__ import annotations

import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)

MODES = ("run", "hold", "park", "fault", "estop", "slack")  # in the black box: the index
LATCHED = ("fault", "estop")


@dataclass(frozen=True, slots=True)
class Stop:
    """One press of the e-stop; each is another object."""

    reason: str


class Mode:
    """The mode, and two latches beside it: the e-stop, which wins over all, and a fault, which parking keeps."""

    def __init__(self) -> None:
        self.pressed: Stop | None = None  # the e-stop: set at any time by anyone, cleared by `release` alone
        self._name = "hold"
        self._reason = "not opened"
        self._fault: str | None = None

    @property
    def name(self) -> str:
        """One of `MODES`."""
        return self._name if self.pressed is None else "estop"

    @property
    def reason(self) -> str:
        pressed = self.pressed
        return self._reason if pressed is None else pressed.reason

    @property
    def latched(self) -> bool:
        return self.name in LATCHED

    def enter(self, name: str, reason: str) -> None:
        """Change the mode. A hold is a fault while one is latched: parking broke off, the fault is still there."""
        if name == "hold" and self._fault is not None:
            name, reason = "fault", self._fault
        if name in LATCHED:
            log.warning("guard: %s: %s", name, reason)
        if name == "fault":
            self._fault = reason
        self._name, self._reason = name, reason

    def press(self, reason: str) -> None:
        """Latch the e-stop; the first reason stays. From any thread, and from a signal handler."""
        before = self.pressed
        self.pressed = Stop(reason if before is None else before.reason)

    @property
    def unseen(self) -> Stop | None:
        """An e-stop that `enter` has not been told of."""
        return self.pressed if self._name != "estop" else None

    def release(self, seen: Stop | None) -> None:
        """Forget the fault, and the e-stop unless it was pressed again since `seen`."""
        if self.pressed is seen:
            self.pressed = None
        self._fault = None

    def forget_fault(self) -> None:
        self._fault = None
