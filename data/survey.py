"""What lies in a dataset folder, sound or not: the ground on which `check` and `repair` stand.

Nothing here trusts info.json, nothing raises because a file is damaged, and nothing writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..robot.errors import DatasetError
from .disk import fingerprint
from .layout import (
    INFO,
    SPEC,
    captures,
    data_files,
    episode_files,
    note_files,
    numbered,
    place,
    temporary_files,
    video_files,
)
from .meta import (
    Entry,
    Meta,
    VideoPlace,
    entry_of,
    load_tasks,
    read_rows,
    read_table,
)
from .notes import read_notes
from .schema import TOLERANCE_S, check_rows
from .spec import spec_from_info
from .stats import damaged
from .trust import own_record, short, trusted_info
from .video import Pictures, pictures


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    where: str  # file or folder relative to the root, or "episode 3"
    what: str
    remedy: str = "repair"  # "repair" mends it; else what a person can do
    severity: str = "error"  # "error": not sound | "warning": usable, less than it should be | "note"


@dataclass(slots=True)
class Found:
    """One episode as it lies on disk."""

    entry: Entry
    row: Mapping[str, Any]  # its line in meta/episodes with the statistics; empty when that is lost
    faults: list[str] = field(default_factory=list)  # why it cannot stay


@dataclass(slots=True)
class Survey:
    """Everything found under one root."""

    root: Path
    info: dict[str, Any] | None = None  # as read, or rebuilt from spec.json
    tasks: tuple[str, ...] | None = None
    episodes: list[Found] = field(default_factory=list)  # in their order
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    noteless: list[int] = field(default_factory=list)  # episodes whose note was lost
    broken: list[Path] = field(default_factory=list)  # files to set aside
    captures: list[Path] = field(default_factory=list)  # episodes that were not saved

    def add(self, where: Path | str, what: str, remedy: str = "repair", severity: str = "error") -> None:
        """Note a finding."""
        if isinstance(where, Path):
            where = str(where.relative_to(self.root))
        self.findings.append(Finding(where, what, remedy, severity))

    @property
    def meta(self) -> Meta:
        """The surveyed episodes as metadata, for looking up their files."""
        assert self.info is not None
        keys = {key.removeprefix("observation.images."): key for key in self.video_keys}
        entries = tuple(found.entry for found in self.episodes)
        return Meta(
            self.root, self.info, spec_from_info(self.info), keys, self.tasks or (), entries, self.notes
        )

    @property
    def video_keys(self) -> list[str]:
        assert self.info is not None
        return [key for key, feature in self.info["features"].items() if feature["dtype"] == "video"]


def survey(root: Path, *, deep: bool = False) -> Survey:
    """Look at everything under `root`; `deep` also decodes every picture.

    Raises `DatasetError` only when there is no dataset, or one of a version that this program cannot read.
    """
    found = Survey(root)
    found.info, wrong = trusted_info(root)
    if wrong:
        found.add(INFO, wrong)
    try:
        found.tasks = load_tasks(root)
    except DatasetError as error:
        if found.info["total_episodes"]:
            found.add("meta/tasks.parquet", short(error))
    if (root / SPEC).exists() and own_record(root) is None:
        found.add(SPEC, "cannot be read, or is not of these data")
    _entries(found)
    tables = _tables(found)
    _strays(found)
    _notes(found)
    for episode in found.episodes:
        _rows(found, episode, tables)
    _videos(found, deep, _changed(found))
    found.captures = captures(root)
    for path in temporary_files(root):
        found.add(path, "half-written file of a process that was killed", severity="warning")
        found.broken.append(path)
    return found


def _entries(found: Survey) -> None:
    """Read meta/episodes; several lines for the same rows count once."""
    seen: set[tuple[tuple[int, int], int]] = set()
    for path in episode_files(found.root):
        try:
            rows = read_rows(path)
            entries = [entry_of(path, row) for row in rows]
        except DatasetError as error:
            found.add(path, short(error))
            found.broken.append(path)
            continue
        for entry, row in zip(entries, rows, strict=True):
            if (entry.data, entry.index) in seen:
                found.add(path, f"episode {entry.index} is listed twice")
                continue
            seen.add((entry.data, entry.index))
            if hurt := damaged(row):
                found.add(path, f"statistics of {hurt} in episode {entry.index} are damaged")
                row = {}
            found.episodes.append(Found(entry, row))
    found.episodes.sort(key=lambda episode: (episode.entry.index, episode.entry.from_index))


def _tables(found: Survey) -> dict[Path, pa.Table]:
    """Read all data files; rows that no episode claims become episodes again where that is possible."""
    meta = found.meta
    tables: dict[Path, pa.Table] = {}
    for path in data_files(found.root):
        try:
            table = read_table(path)
            check_rows(table)
            tables[path] = table
        except DatasetError as error:
            found.add(path, short(error))
            found.broken.append(path)
    claimed = {(meta.data_file(episode.entry), episode.entry.index) for episode in found.episodes}
    for path, table in tables.items():
        for index in np.unique(np.asarray(table.column("episode_index"))).tolist():
            if (path, index) not in claimed:
                _unclaimed(found, path, table, index)
    found.episodes.sort(key=lambda episode: (episode.entry.index, episode.entry.from_index))
    return tables


def _unclaimed(found: Survey, path: Path, table: pa.Table, index: int) -> None:
    """Rows without a line in meta/episodes. Where the file is one episode's own, the line is rebuilt."""
    file, meta = numbered(path), found.meta
    alone = len(np.unique(np.asarray(table.column("episode_index")))) == 1
    task_index = int(np.asarray(table.column("task_index"))[0]) if "task_index" in table.column_names else -1
    videos = {key: found.root / place(meta.video_path, file or (0, 0), key) for key in found.video_keys}
    whole = all(path.exists() and pictures(path).count == table.num_rows for path in videos.values())
    task = found.tasks[task_index] if found.tasks and 0 <= task_index < len(found.tasks) else ""
    if file is None or not alone or not whole or not task or found.info is None:
        found.add(path, f"rows of episode {index}, which meta/episodes does not list")
        if alone:
            found.broken.append(path)
        return
    fps = found.info["fps"]
    first = int(np.asarray(table.column("index"))[0])
    ends = {key: VideoPlace(file, 0.0, table.num_rows / fps) for key in videos}
    found.add(path, f"episode {index} is whole, but meta/episodes does not list it")
    found.episodes.append(Found(Entry(index, (task,), table.num_rows, first, file, ends, file), {}))


def _notes(found: Survey) -> None:
    """Read the notes. Another program's episodes have none; ours that lost them lost their checksums as well."""
    lost = False
    for path in note_files(found.root):
        try:
            notes = read_notes(path)
            if not notes:
                found.add(path, "empty")
        except DatasetError as error:
            found.add(path, short(error))
            notes = {}
        if not notes:
            found.broken.append(path)
            lost = True
        found.notes |= notes
    own = set((found.info or {}).get("twinloop", {})) - {"format"}
    without = [e.entry.index for e in found.episodes if e.entry.index not in found.notes]
    if not without or not (own or found.notes or lost):
        return
    names = ", ".join(map(str, without[:8])) + (", ..." if len(without) > 8 else "")
    told = f"no note (seed, draw, success, checksums) of {len(without)} episodes: {names}"
    if lost or not found.notes:
        found.add("meta/twinloop", told)
        found.noteless = without
    else:
        found.add("meta/twinloop", f"{told}; recorded by another program?", "", "warning")


def _strays(found: Survey) -> None:
    """Videos that no episode shows, and the totals of info.json."""
    meta, info = found.meta, found.info or {}
    shown = {meta.video_file(e.entry, key) for e in found.episodes for key in e.entry.videos}
    for path in video_files(found.root):
        if path not in shown:
            found.add(path, "video that no episode shows", severity="warning")
            found.broken.append(path)
    indices = [episode.entry.index for episode in found.episodes]
    if indices != list(range(len(indices))):
        gap = next(k for k, index in enumerate(indices) if k != index)
        found.add("meta/episodes", f"episode {gap} is missing or double: the list goes {indices[: gap + 2]}")
    frames = sum(episode.entry.length for episode in found.episodes)
    tasks = len(found.tasks or ())
    for key, value in (("episodes", len(indices)), ("frames", frames), ("tasks", tasks)):
        if info.get(f"total_{key}", value) != value:
            found.add(INFO, f"total_{key} is {info[f'total_{key}']}, the files hold {value}")


def _rows(found: Survey, episode: Found, tables: Mapping[Path, pa.Table]) -> None:
    """Compare an episode's rows with what meta/episodes says of it."""
    entry, path = episode.entry, found.meta.data_file(episode.entry)
    if path not in tables:
        episode.faults.append(f"its data file {path.relative_to(found.root)} is missing or unreadable")
        return
    table = tables[path].filter(np.asarray(tables[path].column("episode_index")) == entry.index)
    for what in _row_faults(found, entry, table):
        episode.faults.append(what)


def _row_faults(found: Survey, entry: Entry, table: pa.Table) -> Iterator[str]:
    assert found.info is not None
    features = {k: f for k, f in found.info["features"].items() if f["dtype"] != "video"}
    if missing := [key for key in features if key not in table.column_names]:
        yield f"lacks column {', '.join(missing)}"
        return
    if table.num_rows != entry.length:
        yield f"{table.num_rows} rows, meta/episodes says {entry.length}"
        return
    if entry.length == 0:
        yield "no rows"
        return
    for key in features:
        if table.column(key).null_count:
            yield f"column {key} has {table.column(key).null_count} empty values"
    steps = np.arange(entry.length)
    if not np.array_equal(np.asarray(table.column("frame_index")), steps):
        yield "frame_index does not run 0, 1, 2, ..."
    if not np.array_equal(np.asarray(table.column("index")), entry.from_index + steps):
        yield f"index does not run from {entry.from_index}"
    due = (steps / found.info["fps"]).astype(np.float32)
    late = np.abs(np.asarray(table.column("timestamp")) - due).max()
    if late > TOLERANCE_S:
        yield f"timestamp is up to {late:.4f} s off frame_index / fps"
    numbers = np.unique(np.asarray(table.column("task_index"))).tolist()
    known = found.tasks or ()
    if found.tasks is not None and not all(0 <= n < len(known) and known[n] in entry.tasks for n in numbers):
        yield f"task_index {numbers} does not fit its tasks {list(entry.tasks)}"


def _videos(found: Survey, deep: bool, changed: set[Path]) -> None:
    """Look for every picture of every episode."""
    assert found.info is not None
    meta, fps = found.meta, found.info["fps"]
    seen: dict[Path, Pictures] = {}
    for episode in found.episodes:
        for key in found.video_keys:
            if key not in episode.entry.videos:
                episode.faults.append(f"names no video of {key}")
                continue
            path, spot = meta.video_file(episode.entry, key), episode.entry.videos[key]
            if not path.exists():
                if path not in seen:
                    found.add(path, "video is missing", "copy it back; other columns and cameras still load")
                    seen[path] = Pictures(np.zeros(0), "missing")
                continue
            if path not in seen:
                seen[path] = pictures(path, deep=deep or path in changed)
            wanted = spot.from_s + np.arange(episode.entry.length) / fps
            absent = _absent(seen[path].times_s, wanted)
            if absent:
                why = f" ({seen[path].fault})" if seen[path].fault else ""
                name = path.relative_to(found.root)
                episode.faults.append(f"{name}: {absent} of {len(wanted)} pictures are not there{why}")


def _absent(times_s: np.ndarray, wanted_s: np.ndarray) -> int:
    """How many wanted times have no picture within the tolerance."""
    if not len(times_s):
        return len(wanted_s)
    right = np.clip(np.searchsorted(times_s, wanted_s), 1, len(times_s)) - 1
    nearest = np.minimum(
        np.abs(times_s[right] - wanted_s),
        np.abs(times_s[np.minimum(right + 1, len(times_s) - 1)] - wanted_s),
    )
    return int((nearest > TOLERANCE_S).sum())


def _changed(found: Survey) -> set[Path]:
    """Files that are not what they were when they were saved."""
    changed: set[Path] = set()
    for index, note in sorted(found.notes.items()):
        for name, saved in note["files"].items():
            path = found.root / name
            if not path.is_file() or path in found.broken or fingerprint(path) == list(saved):
                continue  # what is missing, or a folder, is told elsewhere
            changed.add(path)
            found.add(
                path,
                f"changed since episode {index} was saved ({path.stat().st_size} bytes, was {saved[0]})",
                "restore it from a copy; if the change was meant, `repair --accept-changed` takes it as is",
            )
    return changed
