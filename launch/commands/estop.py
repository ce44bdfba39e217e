"""`twinloop estop`: stop every arm that a guard's process of yours moves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """Press the e-stop of every guard that runs under your user: the arms brake and stand, torque on, until somebody
    re-arms them. It is software; keep a power cut within reach as well.

    Example:
        twinloop estop
        twinloop estop --reason "hand in the cell"
    """

    reason: str = "twinloop estop"
    """What the guards say about it."""

    def run(self) -> int:
        from ...robot.process.sessions import press_all
        from ..progress import say

        pressed = press_all(self.reason)
        for name in pressed:
            say(f"stopped: {name}")
        if not pressed:
            say("no guard of yours is running")
        return 0 if pressed else 1
