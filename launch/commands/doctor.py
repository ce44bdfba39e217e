"""`twinloop doctor`: what this machine can do, and how to mend what it cannot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """Check rendering, libraries, real-time scheduling, ports, cameras and GPU, and name the fix of what is
    wrong. Ends with 1 when the demo could not run here.

    Example:
        twinloop doctor
        twinloop doctor --json > doctor.json        for a bug report
    """

    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        import json
        from dataclasses import asdict

        from ..doctor import blocked, examine

        found = examine()
        stopped = blocked(found)
        if self.json:
            print(json.dumps([asdict(check) for check in found], indent=1))
            return 1 if stopped else 0
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
        return 1 if stopped else 0
