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

        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        from ..doctor import examine

        found = examine()
        if self.json:
            print(json.dumps([asdict(check) for check in found], indent=1))
        else:
            table = Table("check", "", "found", "fix")
            colours = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
            for check in found:
                mark = f"[{colours[check.status]}]{check.status}[/]"
                fix = check.fix if check.status != "ok" else ""
                table.add_row(check.name, mark, escape(check.detail), escape(fix))
            Console().print(table)
        return 1 if any(check.status == "fail" for check in found) else 0
