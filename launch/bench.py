"""Runs the scripts of `benchmarks/`, which print one JSON line a figure, and shows them as a table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..data.disk import write_text
from ..robot.errors import UsageError, nearest
from .arguments import output_file

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
WIDTH = 160  # of a table that no terminal shows
COLUMNS = ("benchmark", "name", "value", "unit", "target", "ok")
LONG = ("policies",)  # over an hour: run when named, or shortened


def benchmark_names() -> list[str]:
    """Scripts in `benchmarks/` of this checkout; empty when installed from a wheel."""
    return sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))


def chosen_benchmarks(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those of `known` that `names` mean: a name means itself and all that begin with it and "_", so that `guard` is
    `guard_tick`, `guard_loop` and `guard_faults`. Raises `UsageError` for a name that means none."""
    chosen: dict[str, None] = {}
    for name in names:
        meant = [entry for entry in known if entry == name or entry.startswith(f"{name}_")]
        if not meant:
            raise UsageError(f"unknown benchmark '{name}'{nearest(name, known)}")
        chosen |= dict.fromkeys(meant)
    return list(chosen)


def run_benchmarks(names: Sequence[str], *, quick: bool, json_to: Path | None) -> int:
    """Run `names` (none = all but the long ones), and show what each found as soon as it ends; returns 1 when a figure
    misses its target or a script fails."""
    known = benchmark_names()
    if not known:
        raise UsageError("benchmarks are part of the repository: run `twinloop bench` from a checkout")
    chosen = chosen_benchmarks(names, known)
    if json_to is not None:
        output_file("--json", json_to)
    figures: list[dict[str, Any]] = []
    failed: list[str] = []
    for name in chosen or [name for name in known if quick or name not in LONG]:
        print(f"running {name} ...", flush=True)
        found: list[dict[str, Any]] = []
        try:
            if _measure(name, quick, found):
                failed.append(name)
        finally:  # cut short, too: what was measured is told
            figures += found
            if found:
                Console(width=None if sys.stdout.isatty() else WIDTH).print(_table(found))
            if json_to is not None:
                write_text(json_to, "".join(json.dumps(figure) + "\n" for figure in figures))
    for name in failed:
        print(f"benchmark {name} ended with an error (its message is above)")
    return 1 if failed or any(figure.get("ok") is False for figure in figures) else 0


def _measure(name: str, quick: bool, figures: list[dict[str, Any]]) -> int:
    """Run the script `name`; its figures go to `figures` as they come. Returns its exit status."""
    environment = {**os.environ, "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    command = [sys.executable, str(FOLDER / f"{name}.py"), *(["--quick"] if quick else [])]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                try:
                    figure = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if isinstance(figure, dict):
                    figures.append({"benchmark": name, **figure})
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)  # what it started, too
            raise
    return process.returncode


def _table(figures: Sequence[dict[str, Any]]) -> Table:
    table = Table("benchmark", "figure", "value", "unit", "target", "", "more")
    for figure in figures:
        value = figure.get("value")
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        ok = figure.get("ok")
        mark = "" if ok is None else "[green]met[/]" if ok else "[red]missed[/]"
        table.add_row(
            figure["benchmark"],
            str(figure.get("name", "")),
            shown,
            str(figure.get("unit", "")),
            str(figure.get("target", "") or ""),
            mark,
            _more({key: value for key, value in figure.items() if key not in COLUMNS}),
        )
    return table


def _more(values: Mapping[str, Any]) -> str:
    """What else a benchmark says of a figure, as its percentiles."""
    told = (
        f"{key}: {_more(v)}" if isinstance(v, dict) else f"{key} {v}" for key, v in values.items() if v != {}
    )
    return ", ".join(told)
