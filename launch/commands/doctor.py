"""`twinloop doctor`: what this machine can do, and how to mend what it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from ...robot.machine import LocalRig


@dataclass(frozen=True, slots=True)
class Command:
    """Check rendering, libraries, real-time scheduling, ports, cameras and GPU, and name the fix of what is
    wrong. Ends with 1 when the demo could not run here. With --rig also the devices of that rig, and 1 when one
    has failed: ports, every servo, calibration, cameras. It reads alone: nothing moves, no torque is switched, and
    a bus that another process owns is left alone.

    Example:
        twinloop doctor
        twinloop doctor --rig so101
        twinloop doctor --rig so101 --port arm=/dev/ttyACM0
        twinloop doctor --json > doctor.json        for a bug report
    """

    json: bool = False
    """Print JSON instead of a table."""
    rig: str | None = None
    """Rig name or path of a rig file: look at its devices, too."""
    port: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """ARM=PORT: the serial port or address of an arm, in place of the one that the machine file or the rig names."""

    def run(self) -> int:
        import json
        from dataclasses import asdict

        from ..doctor import blocked, examine, examine_rig

        local = self._local()
        found = examine()
        stopped = blocked(found)
        failed: list[str] = []
        if local is not None and self.rig is not None:
            devices = examine_rig(local, self.rig)
            failed = [check.name for check in devices if check.status == "fail"]
            found += devices
        code = 1 if stopped or failed else 0
        if self.json:
            print(json.dumps([asdict(check) for check in found], indent=1))
            return code
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table("check", "", "found")
        table.columns[0].no_wrap = table.columns[1].no_wrap = True
        colours = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
        for check in found:
            mark = f"[{colours[check.status]}]{check.status}[/]"
            table.add_row(check.name, mark, escape(check.detail))
        console = Console()
        console.print(table)
        fixes: dict[str, list[str]] = {}
        for check in found:
            if check.fix and check.status in ("warn", "fail"):
                fixes.setdefault(check.fix, []).append(check.name)
        for fix, names in fixes.items():  # below the table and unbroken, so that they can be copied
            console.print(f"\nto mend {', '.join(names)}:", highlight=False)
            console.print(f"  {fix}", markup=False, highlight=False, soft_wrap=True)
        verdict = f"cannot run here: {', '.join(stopped)}" if stopped else "can run here"
        console.print(f"\ntwinloop demo {verdict}", highlight=False)
        if local is not None:
            verdict = f"not ready: {', '.join(failed)}" if failed else "ready"
            console.print(f"rig {local.rig.name}: {verdict}", highlight=False)
        return code

    def _local(self) -> LocalRig | None:
        """The rig, before the checks that take their time: a mistake in its file is told at once."""
        from ...robot.errors import UsageError
        from ..devices.local import with_ports

        if self.rig is None:
            if self.port:
                raise UsageError(
                    "--port: of which rig? add --rig, as: twinloop doctor --rig so101 --port ..."
                )
            return None
        return with_ports(self.rig, self.port)
