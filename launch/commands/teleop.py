"""`twinloop teleop`: move an arm by hand, through the guard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """Move an arm by hand: with a leader arm, keyboard, gamepad, SpaceMouse, the operator's page in a browser, or a
    device at another machine; every command passes the guard. On the arm at the port that the rig names; with
    --emulated on the same drivers in front of emulated devices; with --sim on the twin, in real time. The arm goes
    home first, and parks at the end.

    Example:
        twinloop teleop --device keyboard --sim
        twinloop teleop --device web --emulated
        twinloop teleop --device gamepad --rig so101 --page
    """

    device: str
    """Device: leader, keyboard, gamepad (gamepad:1 is the second one), spacemouse, web, remote, or a plug-in's."""
    rig: str = "so101"
    """Rig name or path of a rig file."""
    arm: str | None = None
    """Arm that is moved; by default the rig's first."""
    sim: bool = False
    """Move the twin."""
    emulated: bool = False
    """Move emulated devices."""
    task: str | None = None
    """Task whose scene stands around the arm, with --sim and --emulated; by default pick_place, or the policy's."""
    seed: int = 0
    """Seed of the first scene."""
    size: tuple[int, int] | None = None
    """Picture width and height, px; by default as the rig's cameras."""
    policy: Path | None = None
    """Policy that moves the arm until you take over, and again when you give it back."""
    page: bool = False
    """Serve the operator's page; --device web does so anyway."""
    host: str = "127.0.0.1"
    """Address that the page is served at; beyond this machine with a token and TLS."""
    port: int = 8020
    """Port of the page; 0: any that is free."""
    token: str | None = None
    """Token of the page; by default one is drawn where it is needed."""
    quiet: bool = False
    """Say nothing aloud."""
    pedal: str | None = None
    """Foot pedal with controls, as DEVICE=KEY:CONTROL,...; /dev/input/by-id/...-event-kbd=a:pause,b:estop."""
    ik: str | None = None
    """Inverse kinematics of a Cartesian device: dls, the default, or mink (extra `mink`)."""

    def run(self) -> int:
        from ..arguments import SEEDS, picture, within
        from ..teleop.command import Asked, run

        within("--seed", self.seed, SEEDS)
        if self.size is not None:
            picture("--size", self.size)
        asked = Asked(
            self.device,
            self.rig,
            self.arm,
            self.task,
            sim=self.sim,
            emulated=self.emulated,
            seed=self.seed,
            size=self.size,
            policy=self.policy,
            page=self.page,
            host=self.host,
            port=self.port,
            token=self.token,
            quiet=self.quiet,
            pedal=self.pedal,
            ik=self.ik,
        )
        return run(asked)
