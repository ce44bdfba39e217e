"""`twinloop fault`: pull a fault switch of an emulator that runs, as under `deploy --emulated`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Command:
    """Switch faults of the emulated rig that another terminal of yours runs (`twinloop deploy --emulated`, `eval
    --emulated`, `emulate`): its servos, their line, its cameras. Without words: the switches, and who runs.

    Example:
        twinloop fault
        twinloop fault freeze front
        twinloop fault hot 3 66
        twinloop fault lost 0.05
        twinloop fault ok
    """

    switch: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """A switch and its values."""
    pid: int | None = None
    """Process id of the program that runs the emulator, where several do."""

    def run(self) -> int:
        from ...robot.errors import UsageError
        from ...sim.emulate.door import running
        from ..faults import switch, table
        from ..progress import say

        found = running()
        names = ", ".join(f"{emulator.rig.name} (--pid {emulator.pid})" for emulator in found)
        if not self.switch:
            say(table())
            say(f"running: {names or 'no emulator of yours'}")
            return 0
        if not found:
            raise UsageError("no emulator of yours is running; start one: twinloop deploy POLICY --emulated")
        if self.pid is not None:
            found = [emulator for emulator in found if emulator.pid == self.pid]
        if len(found) != 1:
            what = f"--pid {self.pid}: none of yours" if self.pid is not None else "several run"
            raise UsageError(f"{what}; running: {names}")
        say(switch(found[0], self.switch))
        return 0
