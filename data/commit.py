"""Turning a capture into a saved episode: stage everything, journal it, rename, info.json last.

A kill before the journal is written leaves a capture, which `repair` turns into an episode. A kill after
it leaves a decided commit, which the next writer (or `repair`) carries out to the end: `carry_out` may be
repeated at any point.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..robot.errors import DatasetError
from ..robot.types import U8
from . import stats as statistics
from .capture import ROWS, video_name
from .disk import fingerprint, read_json, sync, write_json
from .layout import (
    CHUNK,
    EPISODES_PATH,
    INFO,
    NOTES_PATH,
    SPEC,
    STATS,
    TASKS,
    free_file,
    image_key,
    place,
)
from .meta import Entry, Meta, VideoPlace, entry_row, info_json, load_stats, spec_json, tasks_table
from .notes import note_line
from .row_log import as_columns, numbers, read_rows, row_schema
from .spec import DatasetSpec
from .stats import Stats
from .video import decode, pictures, remux
from .video_log import SAMPLES, thinned

JOURNAL = "commit.json"
STAGE = "stage"
_REWRITTEN = ("codebase_version", "total_episodes", "total_frames", "total_tasks", "splits", "twinloop")


def recoverable_rows(folder: Path, spec: DatasetSpec) -> int:
    """Rows of a capture that are whole: written, and with a picture in every video."""
    rows = read_rows(folder / ROWS, row_schema(spec)).num_rows
    return min([rows, *(pictures(folder / video_name(camera)).count for camera in spec.cameras)])


def stage(
    folder: Path,
    meta: Meta,
    spec: DatasetSpec,
    task: str,
    info: Mapping[str, Any],
    *,
    samples: Mapping[str, Sequence[U8]] | None = None,
    last: Mapping[str, Any] | None = None,
    length: int | None = None,
) -> Meta:
    """Lay out the files of a new episode under `folder/stage` and journal the commit.

    Returns the metadata that the dataset will have once the commit is carried out.

    `samples` are coarse pictures for the statistics (decoded again when absent); `last` replaces scalars of
    the last row; `length` is the number of rows that must be there (default: as many as can be recovered).
    """
    index = len(meta.entries)
    table = read_rows(folder / ROWS, row_schema(spec))
    if length is None:
        length = recoverable_rows(folder, spec)
    if table.num_rows < length or length == 0:
        raise DatasetError(f"{folder}: {table.num_rows} whole rows, expected {max(length, 1)}")
    target = folder / STAGE
    shutil.rmtree(target, ignore_errors=True)
    file = free_file(meta.root, int(meta.info.get("chunks_size", CHUNK)))
    tasks = meta.tasks if task in meta.tasks else (*meta.tasks, task)

    columns = _columns(table.slice(0, length), spec, last or {})
    columns |= {
        "timestamp": (np.arange(length) / spec.fps).astype(np.float32),
        "frame_index": np.arange(length),
        "episode_index": np.full(length, index),
        "index": meta.num_frames + np.arange(length),
        "task_index": np.full(length, tasks.index(task)),
    }
    found = {key: statistics.column_stats(values) for key, values in columns.items()}
    for camera in spec.cameras:
        key = image_key(camera)
        video = target / place(meta.video_path, file, key)
        video.parent.mkdir(parents=True)
        remux(folder / video_name(camera), video, length, spec.fps)
        looked_at = (samples or {}).get(camera) or sampled(video, 0.0, length, spec.fps)
        found[key] = statistics.image_stats(looked_at)
    _parquet(pa.table(as_columns(columns)), target / place(meta.data_path, file))
    videos = {image_key(camera): VideoPlace(file, 0.0, length / spec.fps) for camera in spec.cameras}
    entry = Entry(index, (task,), length, meta.num_frames, file, videos, file)
    row = entry_row(entry) | statistics.as_columns(found)
    write_entries(pa.Table.from_pylist([row]), target / place(EPISODES_PATH, file))
    _parquet(tasks_table(tasks), target / TASKS)
    note = target / place(NOTES_PATH, file)
    note.parent.mkdir(parents=True)
    content = [path for path in _staged(target) if path.relative_to(target).parts[0] in ("data", "videos")]
    files = {str(path.relative_to(target)): fingerprint(path) for path in content}
    note.write_text(note_line(index, info, files), encoding="utf-8")
    write_json(target / STATS, _grown(meta, found))
    features = dict(meta.info["features"])
    new_info = info_json(spec, features, index + 1, meta.num_frames + length, len(tasks)) | _kept(meta.info)
    write_json(target / SPEC, spec_json(new_info))
    write_json(target / INFO, new_info)
    journal(folder, meta.root, {"episode_index": index})
    return replace(meta, info=new_info, spec=spec, tasks=tasks, entries=(*meta.entries, entry))


def journal(folder: Path, root: Path, entry: Mapping[str, Any]) -> None:
    """Decide a commit: everything staged is forced to the disk, then the journal says so."""
    for path in _staged(folder / STAGE):
        sync(path)
        (root / path.relative_to(folder / STAGE)).parent.mkdir(parents=True, exist_ok=True)
    write_json(folder / JOURNAL, entry)


def carry_out(folder: Path, root: Path) -> None:
    """Set aside what the journal names, rename everything staged into the dataset, info.json last, and
    remove the folder. May be repeated after a kill at any point."""
    target = folder / STAGE
    folders = set()
    for source, aside in read_json(folder / JOURNAL).get("aside", {}).items():
        if (root / source).exists() and not (root / aside).exists():
            (root / aside).parent.mkdir(parents=True, exist_ok=True)
            os.replace(root / source, root / aside)
    for path in _staged(target):
        final = root / path.relative_to(target)
        final.parent.mkdir(parents=True, exist_ok=True)
        if path == target / INFO:
            for parent in sorted(folders):
                sync(parent)  # all other renames are on disk before the one that counts
        os.replace(path, final)
        folders.add(final.parent)
    sync(root / "meta")
    with contextlib.suppress(OSError):  # what stays is cleared by the next writer
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a capture. Renamed first: a kill on the way must not leave half of one behind."""
    number = 0
    while (done := folder.with_name(f"done-{number}-{folder.name}")).exists():
        number += 1
    os.replace(folder, done)
    shutil.rmtree(done, ignore_errors=True)


def undecide(folder: Path) -> None:
    """Take back what a failed `stage` left, the journal first: it must never stand without its files."""
    (folder / JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(folder / STAGE, ignore_errors=True)


def decided(folder: Path, episodes: int) -> bool:
    """True when a commit was journalled and still fits a dataset that counts this many episodes."""
    if not (folder / JOURNAL).exists():
        return False
    entry = read_json(folder / JOURNAL)
    return "repair" in entry or entry.get("episode_index") in (episodes, episodes - 1)


def _staged(target: Path) -> list[Path]:
    files = [path for path in target.rglob("*") if path.is_file()]
    return sorted(
        files, key=lambda path: (path == target / INFO, path.relative_to(target).parts[0] == "meta", path)
    )


def _columns(table: pa.Table, spec: DatasetSpec, last: Mapping[str, Any]) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for key in spec.vectors:
        columns[key] = numbers(table.column(key))
    for key in (*spec.scalars, *spec.dropped):
        columns[key] = table.column(key).to_numpy()
    for key, value in last.items():
        columns[key] = columns[key].copy()
        columns[key][-1] = value
    return columns


def sampled(video: Path, start_s: float, length: int, fps: int) -> list[U8]:
    """Coarse pictures for statistics from a saved video."""
    stride = -(-length // SAMPLES)
    return [thinned(p) for k, p in enumerate(decode(video, start_s, length, fps)) if k % stride == 0]


def write_entries(table: pa.Table, path: Path) -> None:
    """Write rows of meta/episodes: hundreds of columns a row, so without what parquet adds to each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table, path, use_dictionary=False, write_statistics=False, compression="none", store_schema=False
    )


def _parquet(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _grown(meta: Meta, new: Stats) -> Stats:
    old = load_stats(meta.root) if meta.entries else {}
    return statistics.merge([old, new]) if old else new


def _kept(info: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of an info.json that this program did not write, or must not change."""
    return {key: value for key, value in info.items() if key not in _REWRITTEN}
