"""`twinloop operate`: move an arm at another machine with a device at this one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Command:
    """Be the operator of a session on another machine: what your device here asks for moves the arm there, and how the
    session stands comes back, with the measured round trip. The robot's side runs `twinloop teleop` or `record` with
    --device remote, and prints this command with everything that it needs. When the link is lost the arm holds, 100 ms
    after the last word; a link that comes back goes on once you have let go of the device.

    Example:
        twinloop operate 192.168.1.20 --token ... --pin ... --device gamepad
        twinloop operate localhost --device keyboard      (through `ssh -L 8020:localhost:8020 robot`)
    """

    robot: Annotated[str, tyro.conf.Positional]
    """Host, or host:port, of the robot's machine; by default port 8020."""
    device: str
    """Device at this machine: keyboard, gamepad (gamepad:1 is the second one), spacemouse, or a plug-in's."""
    token: str | None = None
    """Token that the robot's side printed."""
    token_file: Path | None = None
    """File that has the token; others on this machine cannot see it there."""
    pin: str = ""
    """Pin of the certificate that the robot's side printed; not for this machine itself, or an SSH tunnel."""
    rig: str = "so101"
    """Rig that the device may have to know."""
    quiet: bool = False
    """Say nothing aloud."""

    def run(self) -> int:
        from ...robot.errors import UsageError
        from ..teleop.operate import operate, robot_at

        if self.token is not None and self.token_file is not None:
            raise UsageError("--token and --token-file: one of them")
        token = self.token or ""
        if self.token_file is not None:
            try:
                token = self.token_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "no text"
                raise UsageError(f"--token-file {self.token_file}: {why}") from None
        return operate(robot_at(self.robot, token, self.pin), self.device, self.rig, self.quiet)
