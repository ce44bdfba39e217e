"""`twinloop dataset check`: prove a dataset sound, or say what is wrong and what mends it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..robot.clock import Stopwatch
from ..robot.errors import DatasetError
from . import stats as statistics
from .commit import JOURNAL, recoverable_rows
from .layout import STATS
from .lock import writing_now
from .meta import load_stats, read_table
from .row_log import numbers
from .survey import Finding, Survey, survey


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found."""

    root: Path
    episodes: int
    frames: int
    findings: tuple[Finding, ...]
    seconds: float  # how long the check took

    @property
    def ok(self) -> bool:
        """True when the dataset is sound: every episode whole, and nothing left over that readers trip on."""
        return not any(finding.severity == "error" for finding in self.findings)

    def lines(self) -> list[str]:
        """One line a finding, the worst first, and a last one with the verdict."""
        order = ("error", "warning", "note")
        found = sorted(self.findings, key=lambda finding: order.index(finding.severity))
        lines = [f"{f.severity}: {f.where}: {f.what}{self._remedy(f)}" for f in found]
        size = f"{self.episodes} episodes, {self.frames} frames"
        verdict = "sound" if self.ok else "NOT sound"
        return [*lines, f"{self.root}: {verdict}: {size} ({self.seconds:.1f} s)"]

    def _remedy(self, finding: Finding) -> str:
        if finding.remedy == "repair":
            return f"; run `twinloop dataset repair {self.root}`"
        return f"; {finding.remedy}" if finding.remedy else ""


def check(root: Path | str, *, deep: bool = True) -> Report:
    """Look at every file of a dataset. `deep` decodes every picture, else they are counted.

    Writes nothing. `DatasetError` when there is no dataset, or one that this program cannot read at all.
    """
    watch = Stopwatch()
    found = survey(Path(root), deep=deep)
    return replace(report(found), seconds=watch.seconds)


def report(found: Survey) -> Report:
    """What a survey means."""
    for episode in found.episodes:
        for fault in episode.faults:
            found.add(f"episode {episode.entry.index}", fault)
    _captures(found)
    _stats(found)
    frames = sum(episode.entry.length for episode in found.episodes)
    return Report(found.root, len(found.episodes), frames, tuple(found.findings), 0.0)


def _captures(found: Survey) -> None:
    owner = writing_now(found.root)
    for folder in found.captures:
        if (folder / JOURNAL).exists():
            found.add(folder, "an episode was killed while it was being saved; it is whole")
        elif owner:
            found.add(folder, f"an episode is being recorded by {owner}", "", "note")
        else:
            assert found.info is not None
            seconds = recoverable_rows(folder, found.meta.spec) / found.info["fps"]
            found.add(folder, f"an interrupted episode of {seconds:.1f} s", severity="warning")


def _stats(found: Survey) -> None:
    """Recompute the statistics of all columns and compare."""
    try:
        saved = load_stats(found.root)
    except DatasetError:
        found.add(STATS, "cannot be read")
        return
    good = [episode.entry for episode in found.episodes if not episode.faults]
    if len(good) < len(found.episodes) or not good or found.info is None:
        return  # told already; the numbers cannot fit
    features = [
        key for key, f in found.info["features"].items() if f["dtype"] not in ("video", "image", "string")
    ]
    if absent := [key for key in found.info["features"] if key not in saved]:
        found.add(STATS, f"lacks {', '.join(absent)}")
    meta = found.meta
    tables = [read_table(path) for path in dict.fromkeys(meta.data_file(entry) for entry in good)]
    for key in (key for key in features if key in saved):
        column = np.concatenate([numbers(table.column(key)) for table in tables])
        now = statistics.column_stats(column)
        for name in ("min", "max", "mean"):
            new = np.asarray(now[name], float).ravel()
            try:
                old = np.asarray(saved[key][name], float).ravel()
            except (LookupError, TypeError, ValueError):
                found.add(STATS, f"{key}: {name} is missing or no number")
                break
            scale = 1e-6 + np.abs(np.asarray(now["std"], float)) + np.abs(new)
            if old.shape != new.shape or (np.abs(old - new) > 1e-3 * scale).any():
                found.add(STATS, f"{key}: {name} is not that of the data", severity="warning")
                break
