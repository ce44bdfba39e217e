"""Making a surveyed dataset consistent again, in one journalled step.

Sound episodes keep their order and close ranks; what is damaged is set aside under `.twinloop/quarantine`,
nothing is deleted; info, tasks, statistics and notes are rebuilt from the episodes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import stats as statistics
from .commit import STAGE, carry_out, journal, sampled, write_entries
from .disk import fingerprint, write_json
from .layout import (
    EPISODES_PATH,
    FORMAT,
    INFO,
    NOTES_PATH,
    QUARANTINE,
    REPAIR,
    SPEC,
    STATS,
    TASKS,
    note_files,
    place,
)
from .meta import Entry, entry_row, info_totals, read_table, spec_json, tasks_table
from .notes import note_line
from .row_log import numbers
from .survey import Found, Survey


@dataclass(slots=True)
class Mending:
    """The plan: what is kept and where it goes, what is set aside."""

    found: Survey
    kept: list[tuple[Found, Entry]] = field(default_factory=list)  # as it is, as it will be
    tasks: tuple[str, ...] = ()
    aside: dict[str, str] = field(default_factory=dict)  # path -> path in the quarantine, from the root
    quarantine: str = ""
    rewritten: set[Path] = field(default_factory=set)  # data files with new contents

    @property
    def stage(self) -> Path:
        return self.found.root / REPAIR / STAGE

    def set_aside(self, path: Path) -> None:
        """Put a file on the list for the quarantine."""
        name = str(path.relative_to(self.found.root))
        self.aside[name] = f"{self.quarantine}/{name}"


def mend(found: Survey, *, accept_changed: bool = False) -> tuple[str, ...]:
    """Carry out the repair of everything in `found` but its captures; returns the paths set aside."""
    assert found.info is not None
    root = found.root
    shutil.rmtree(root / REPAIR, ignore_errors=True)
    plan = Mending(found, quarantine=_new_quarantine(root))
    sound = [episode for episode in found.episodes if not episode.faults]
    plan.tasks = _tasks(found, sound)
    start = 0
    for index, episode in enumerate(sound):
        plan.kept.append((episode, replace(episode.entry, index=index, from_index=start)))
        start += episode.entry.length
    for path in found.broken:
        plan.set_aside(path)
    _data(plan)
    _videos(plan)
    rows = _entry_rows(plan)
    _notes(plan, accept_changed)
    stats = statistics.merge([statistics.from_columns(row) for row in rows]) if rows else {}
    info = {**found.info, **info_totals(len(rows), start, len(plan.tasks))}
    info.setdefault("twinloop", {"format": FORMAT})
    plan.stage.joinpath(TASKS).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(tasks_table(plan.tasks), plan.stage / TASKS)
    write_json(plan.stage / STATS, stats)
    write_json(plan.stage / SPEC, spec_json(info))
    write_json(plan.stage / INFO, info)
    journal(root / REPAIR, root, {"repair": True, "aside": plan.aside})
    carry_out(root / REPAIR, root)
    return tuple(plan.aside)


def _new_quarantine(root: Path) -> str:
    taken = [int(path.name) for path in (root / QUARANTINE).glob("*") if path.name.isdigit()]
    return f"{QUARANTINE}/{max(taken, default=-1) + 1:03d}"


def _tasks(found: Survey, sound: list[Found]) -> tuple[str, ...]:
    """The tasks as they were, or else as the episodes and the task numbers of their rows tell them."""
    if found.tasks is not None:
        return found.tasks
    known: dict[int, str] = {}
    for episode in sound:
        table = _own_rows(read_table(found.meta.data_file(episode.entry)), episode.entry)
        used = np.unique(np.asarray(table.column("task_index"))).tolist()
        known |= dict(zip(used, episode.entry.tasks, strict=False))
    count = max(known, default=-1) + 1
    return tuple(known.get(number, f"(unknown task {number})") for number in range(count))


def _own_rows(table: pa.Table, entry: Entry) -> pa.Table:
    return table.filter(pa.array(np.asarray(table.column("episode_index")) == entry.index))


def _data(plan: Mending) -> None:
    """Rewrite the data files whose episodes moved or went; set aside those with none left."""
    meta = plan.found.meta
    files = dict.fromkeys(meta.data_file(episode.entry) for episode in plan.found.episodes)
    for path in files:
        if not path.exists() or path in plan.found.broken:
            continue
        mine = [(old, new) for old, new in plan.kept if meta.data_file(old.entry) == path]
        if not mine:
            plan.set_aside(path)
            continue
        table = read_table(path)
        parts = []
        for old, new in mine:
            rows = _own_rows(table, old.entry)
            changes = {
                "episode_index": np.full(new.length, new.index),
                "index": new.from_index + np.arange(new.length),
            }
            for key, values in changes.items():
                rows = rows.set_column(rows.column_names.index(key), key, pa.array(values, pa.int64()))
            parts.append(rows)
        kept = pa.concat_tables(parts)
        if kept.num_rows == table.num_rows and kept.equals(table):
            continue
        target = plan.stage / path.relative_to(plan.found.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(kept, target)
        plan.rewritten.add(path)
        if kept.num_rows < table.num_rows:  # the rows that go are kept as well
            copy = plan.stage / plan.quarantine / path.relative_to(plan.found.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _videos(plan: Mending) -> None:
    """Set aside the videos that only damaged episodes show."""
    meta = plan.found.meta
    needed = {meta.video_file(old.entry, key) for old, _ in plan.kept for key in old.entry.videos}
    for episode in plan.found.episodes:
        for key in episode.entry.videos if episode.faults else ():
            path = meta.video_file(episode.entry, key)
            if path not in needed and path.exists():
                plan.set_aside(path)


def _entry_rows(plan: Mending) -> list[dict[str, Any]]:
    """The lines of meta/episodes for all kept episodes; rewrites the files in which something changed."""
    found = plan.found
    rows: list[dict[str, Any]] = []
    files: dict[Path, list[tuple[dict[str, Any], bool]]] = {}
    for old, new in plan.kept:
        moved = (old.entry.index, old.entry.from_index) != (new.index, new.from_index)
        row = {**old.row, **entry_row(new)}
        if moved or not any(key.startswith("stats/") for key in row):
            row |= statistics.as_columns(_statistics(plan, old, new, whole=not old.row))
        rows.append(row)
        path = found.root / place(EPISODES_PATH, new.file)
        files.setdefault(path, []).append((row, moved or not old.row))
    for episode in found.episodes:
        if episode.row:
            files.setdefault(found.root / place(EPISODES_PATH, episode.entry.file), [])
    listed = [found.root / place(EPISODES_PATH, e.entry.file) for e in found.episodes if e.row]
    for path, content in files.items():
        if not content:
            plan.set_aside(path)
        elif len(content) != listed.count(path) or any(changed for _, changed in content):
            table = pa.Table.from_pylist([row for row, _ in content])
            write_entries(table, plan.stage / path.relative_to(found.root))
    lost = [{"faults": e.faults, **e.row} for e in found.episodes if e.faults]
    if lost:
        log = plan.stage / plan.quarantine / "episodes.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(json.dumps(line) + "\n" for line in lost), encoding="utf-8")
    return rows


def _statistics(plan: Mending, old: Found, new: Entry, *, whole: bool) -> statistics.Stats:
    """Statistics of one episode: of the numbers that moved, or of everything when they are lost."""
    meta = plan.found.meta
    path = meta.data_file(old.entry)
    staged = plan.stage / path.relative_to(plan.found.root)
    table = _own_rows(read_table(staged if staged.exists() else path), new if staged.exists() else old.entry)
    assert plan.found.info is not None
    features: Mapping[str, Any] = plan.found.info["features"]
    keys = [key for key, feature in features.items() if feature["dtype"] not in ("video", "image", "string")]
    if not whole:
        keys = ["episode_index", "index"]
    stats = {key: statistics.column_stats(numbers(table.column(key))) for key in keys}
    for key in plan.found.video_keys if whole else ():
        spot = old.entry.videos[key]
        coarse = sampled(meta.video_file(old.entry, key), spot.from_s, new.length, plan.found.info["fps"])
        stats[key] = statistics.image_stats(coarse)
    return stats


def _notes(plan: Mending, accept_changed: bool) -> None:
    """Renumber what we noted of each episode, with the checksums of the files that were rewritten."""
    found = plan.found
    same = all(old.entry.index == new.index for old, new in plan.kept) and len(found.notes) <= len(plan.kept)
    if not found.noteless and (not found.notes or (same and not plan.rewritten and not accept_changed)):
        return
    lines: list[str] = []
    listed = {name for note in found.notes.values() for name in note["files"]}
    for old, new in plan.kept:
        note = found.notes.get(old.entry.index)
        if note is None and old.entry.index in found.noteless:
            names = [str(path.relative_to(found.root)) for path in _own_files(plan, old.entry)]
            note = {
                "info": {"recovered": {"note": "lost"}},
                "files": {name: fingerprint(found.root / name) for name in names if name not in listed},
            }
            listed.update(names)
        if note is None:
            continue
        files = dict(note["files"])
        for name in files:
            path = found.root / name
            if path in plan.rewritten:
                files[name] = fingerprint(plan.stage / name)
            elif accept_changed and path.exists():
                files[name] = fingerprint(path)
        lines.append(note_line(new.index, note["info"], files))
    for path in note_files(found.root):
        plan.set_aside(path)
    target = plan.stage / place(NOTES_PATH, (0, 0))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(lines), encoding="utf-8")


def _own_files(plan: Mending, entry: Entry) -> list[Path]:
    """The data and video files in which an episode lies, those that are there."""
    meta = plan.found.meta
    paths = [meta.data_file(entry), *(meta.video_file(entry, key) for key in entry.videos)]
    return [path for path in paths if path.is_file()]
