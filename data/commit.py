"""Turning a capture into a saved episode: stage everything, journal it, rename, info.json last.

A kill before the journal is written leaves a capture, which `repair` turns into an episode. A kill after
it leaves a decided commit, which the next writer (or `repair`) carries out to the end: `carry_out` may be
repeated at any point.
"""

from __future__ import annotations

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
from .disk import read_json, sync, write_json
from .layout import (
    CHUNK,
    EPISODES_PATH,
    EXTRA,
    INFO,
    NOTES_PATH,
    STATS,
    TASKS,
    free_file,
    image_key,
    place,
)
from .meta import Entry, Meta, VideoPlace, info_json, load_stats, note_line, tasks_table
from .row_log import as_columns, read_rows, row_schema, vector_column
from .spec import DatasetSpec, extra_entry
from .stats import Stats
from .video import count_pictures, decode, remux
from .video_log import SAMPLES, thinned

JOURNAL = "commit.json"
STAGE = "stage"
_REWRITTEN = ("codebase_version", "total_episodes", "total_frames", "total_tasks", "splits", "twinloop")


def recoverable_rows(folder: Path, spec: DatasetSpec) -> int:
    """Rows of a capture that are whole: written, and with a picture in every video."""
    rows = read_rows(folder / ROWS, row_schema(spec)).num_rows
    pictures = [count_pictures(folder / video_name(camera)) for camera in spec.cameras]
    return min([rows, *pictures])


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
        pictures = samples[camera] if samples else _sampled(video, length, spec.fps)
        found[key] = statistics.image_stats(pictures)
    _parquet(pa.table(as_columns(columns)), target / place(meta.data_path, file))
    row = _episode_row(meta, spec, task, length, file) | statistics.as_columns(found)
    _parquet(pa.Table.from_pylist([row]), target / place(EPISODES_PATH, file))
    _parquet(tasks_table(tasks), target / TASKS)
    note = target / place(NOTES_PATH, file)
    note.parent.mkdir(parents=True)
    note.write_text(note_line(index, info), encoding="utf-8")
    write_json(target / STATS, _grown(meta, found))
    write_json(target / EXTRA, extra_entry(spec))
    features = dict(meta.info["features"])
    new_info = info_json(spec, features, index + 1, meta.num_frames + length, len(tasks)) | _kept(meta.info)
    write_json(target / INFO, new_info)
    for path in _staged(target):
        sync(path)
        (meta.root / path.relative_to(target)).parent.mkdir(parents=True, exist_ok=True)
    write_json(folder / JOURNAL, {"episode_index": index})
    videos = {image_key(camera): VideoPlace(file, 0.0, length / spec.fps) for camera in spec.cameras}
    entry = Entry(index, (task,), length, meta.num_frames, file, videos, file)
    return replace(meta, info=new_info, spec=spec, tasks=tasks, entries=(*meta.entries, entry))


def carry_out(folder: Path, root: Path) -> None:
    """Rename everything staged in `folder` into the dataset, info.json last, then remove the capture."""
    target = folder / STAGE
    folders = set()
    for path in _staged(target):
        final = root / path.relative_to(target)
        final.parent.mkdir(parents=True, exist_ok=True)
        if path == target / INFO:
            for parent in sorted(folders):
                sync(parent)  # all other renames are on disk before the one that counts
        os.replace(path, final)
        folders.add(final.parent)
    sync(root / "meta")
    # Renamed first: a kill while it is being removed must not leave half a capture that looks interrupted.
    done = folder.with_name(folder.name.replace("capture-", "done-"))
    os.replace(folder, done)
    shutil.rmtree(done)


def decided(folder: Path, meta: Meta) -> bool:
    """True when a capture's commit was journalled and still fits the dataset."""
    if not (folder / JOURNAL).exists():
        return False
    return read_json(folder / JOURNAL).get("episode_index") in (len(meta.entries), len(meta.entries) - 1)


def _staged(target: Path) -> list[Path]:
    files = [path for path in target.rglob("*") if path.is_file()]
    return sorted(
        files, key=lambda path: (path == target / INFO, path.relative_to(target).parts[0] == "meta", path)
    )


def _columns(table: pa.Table, spec: DatasetSpec, last: Mapping[str, Any]) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for key, names in spec.vectors.items():
        columns[key] = vector_column(table, key, len(names))
    for key in (*spec.scalars, *spec.dropped):
        columns[key] = table.column(key).to_numpy()
    for key, value in last.items():
        if key not in spec.scalars:
            raise DatasetError(
                f"last row: '{key}' is no scalar of this dataset; valid: {', '.join(spec.scalars)}"
            )
        columns[key] = columns[key].copy()
        columns[key][-1] = value
    return columns


def _sampled(video: Path, length: int, fps: int) -> list[U8]:
    stride = -(-length // SAMPLES)
    return [thinned(picture) for k, picture in enumerate(decode(video, 0.0, length, fps)) if k % stride == 0]


def _parquet(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _episode_row(
    meta: Meta, spec: DatasetSpec, task: str, length: int, file: tuple[int, int]
) -> dict[str, Any]:
    from_index = meta.num_frames
    row: dict[str, Any] = {
        "episode_index": len(meta.entries),
        "tasks": [task],
        "length": length,
        "data/chunk_index": file[0],
        "data/file_index": file[1],
        "dataset_from_index": from_index,
        "dataset_to_index": from_index + length,
    }
    for camera in spec.cameras:
        key = f"videos/{image_key(camera)}"
        row |= {f"{key}/chunk_index": file[0], f"{key}/file_index": file[1]}
        row |= {f"{key}/from_timestamp": 0.0, f"{key}/to_timestamp": length / spec.fps}
    return row | {"meta/episodes/chunk_index": file[0], "meta/episodes/file_index": file[1]}


def _grown(meta: Meta, new: Stats) -> Stats:
    old = load_stats(meta.root) if meta.entries else {}
    return statistics.merge([old, new]) if old else new


def _kept(info: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of an info.json that this program did not write, or must not change."""
    return {key: value for key, value in info.items() if key not in _REWRITTEN}
