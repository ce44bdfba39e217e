"""`twinloop estop`: stop every arm that a guard's process of yours moves, or those of another machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """Press the e-stop of every guard that runs under your user: the arms brake and stand, torque on, until somebody
    re-arms them. With --host, that of the session that listens there (its rig declares `estop.socket`); with --box
    as well, be a button box: Enter presses, and so does whatever ends this program but Ctrl-C.
    It is software; keep a power cut within reach as well.

    Example:
        twinloop estop
        twinloop estop --reason "hand in the cell"
        twinloop estop --host 192.168.1.20 --port 5510 --token-file ~/.config/twinloop/estop-token
        twinloop estop --host 192.168.1.20 --port 5510 --box
    """

    reason: str = "twinloop estop"
    """What the guards say about it."""
    host: str | None = None
    """Machine to press on; by default this one, without a port."""
    port: int | None = None
    """Its port, as the rig there has it."""
    token_file: Path | None = None
    """File with the token; by default the variable TWINLOOP_ESTOP_TOKEN."""
    box: bool = False
    """Stay connected as a button box."""

    def run(self) -> int:
        from ...robot.errors import UsageError

        if (self.host is None) != (self.port is None):
            raise UsageError("--host and --port: both or none")
        if self.host is None or self.port is None:
            if self.box or self.token_file is not None:
                raise UsageError("--box and --token-file: of another session's port; add --host and --port")
            return self._here()
        return self._there(self.host, self.port)

    def _here(self) -> int:
        from ...robot.process.sessions import press_all
        from ..progress import say

        pressed, failed = press_all(self.reason)
        for name in pressed:
            say(f"stopped: {name}")
        for what in failed:
            say(f"NOT stopped: {what}; cut its power")
        if not pressed and not failed:
            say("no guard of yours is running")
        return 0 if pressed and not failed else 1

    def _there(self, host: str, port: int) -> int:
        import os

        from ...robot.stops.client import Box, find_token
        from ..buttonbox import serve
        from ..progress import say

        box = Box(host, port, find_token(self.token_file, os.environ))
        box.open()
        try:
            if self.box:
                serve(box, self.reason)
            else:
                box.press(self.reason)
                say(f"stopped: {host} port {port}")
        finally:
            box.close()
        return 0
