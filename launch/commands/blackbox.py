"""`twinloop blackbox`: the last seconds of a guard's process: show them, or replay them in the twin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, slots=True)
class Command:
    """Show the last ten seconds of a guard: modes and why, limits, timing, what was asked, sent and measured. Or send
    the twin the same commands, and compare. The file outlives a killed guard; the one before it is `<file>.previous`.

    Example:
        twinloop blackbox show --rig so101
        twinloop blackbox replay ~/.local/state/twinloop/so101.blackbox.previous
    """

    what: Annotated[Literal["show", "replay"], tyro.conf.Positional]
    """show or replay."""
    path: Annotated[Path | None, tyro.conf.Positional] = None
    """The file; by default the one of the rig."""
    rig: str = "so101"
    """Rig name or path of a rig file."""

    def run(self) -> int:
        from ...robot.rig import load_rig
        from ..blackbox import blackbox_path, load_log, replay_log, told
        from ..progress import say

        rig = load_rig(self.rig)
        path = self.path or blackbox_path(rig)
        log = load_log(path)
        if self.what == "show":
            for line in told(log):
                say(line)
            return 0
        if path.stem != rig.name:
            say(f"the twin is that of rig '{rig.name}', the file is called {path.name}; --rig takes another")
        say(f"{'twin - measured':<24}{'RMS':>8}{'worst':>8}")
        for joint in replay_log(log, rig):
            say(f"{joint.name:<24}{joint.rms:8.2f}{joint.worst:8.2f} {joint.unit}")
        return 0
