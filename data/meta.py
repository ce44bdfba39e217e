"""The metadata of a dataset as it lies on disk: info, tasks, episodes, notes, statistics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..robot.errors import DatasetError
from .disk import read_json
from .layout import (
    CHUNK,
    CODEBASE_VERSION,
    DATA_PATH,
    FORMAT,
    INFO,
    SPEC,
    STATS,
    TASKS,
    VIDEO_PATH,
    episode_files,
    place,
)
from .notes import load_notes
from .schema import LARGEST, check_info
from .spec import DatasetSpec, extra_entry, spec_from_info
from .stats import Stats

_NEEDED = ("codebase_version", "fps", "features", "total_episodes", "total_frames")


@dataclass(frozen=True, slots=True)
class VideoPlace:
    """Where an episode's pictures lie."""

    file: tuple[int, int]  # (chunk, file)
    from_s: float  # s inside that file
    to_s: float  # s, exclusive


@dataclass(frozen=True, slots=True)
class Entry:
    """One episode in meta/episodes."""

    index: int
    tasks: tuple[str, ...]
    length: int  # rows
    from_index: int  # first row, counted over the dataset
    data: tuple[int, int]  # (chunk, file)
    videos: Mapping[str, VideoPlace]  # image feature -> place
    file: tuple[int, int]  # (chunk, file) of this entry itself


@dataclass(frozen=True, slots=True)
class Meta:
    """A consistent view of one dataset's metadata."""

    root: Path
    info: Mapping[str, Any]  # info.json
    spec: DatasetSpec
    image_keys: Mapping[str, str]  # camera -> feature
    tasks: tuple[str, ...]  # by task index
    entries: tuple[Entry, ...]  # by episode index
    notes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)  # episode -> info, files

    @property
    def num_frames(self) -> int:
        return sum(entry.length for entry in self.entries)

    @property
    def data_path(self) -> str:
        """Template of the data files."""
        return self.info.get("data_path") or DATA_PATH

    @property
    def video_path(self) -> str:
        """Template of the videos."""
        return self.info.get("video_path") or VIDEO_PATH

    def data_file(self, entry: Entry) -> Path:
        """The parquet file with an episode's rows."""
        return self.root / place(self.data_path, entry.data)

    def video_file(self, entry: Entry, key: str) -> Path:
        """The video with an episode's pictures of one image feature."""
        return self.root / place(self.video_path, entry.videos[key].file, key)


def load_meta(root: Path) -> Meta:
    """Read and cross-check the metadata of the dataset at `root`. `DatasetError` says what is wrong."""
    info = load_info(root)
    total = int(info["total_episodes"])
    entries = load_entries(root, total)
    tasks = load_tasks(root) if total else ()
    notes = load_notes(root)
    image_keys = {
        camera: key
        for key, feature in info["features"].items()
        if feature["dtype"] in ("video", "image")
        for camera in [key.removeprefix("observation.images.")]
    }
    return Meta(root, info, spec_from_info(info), image_keys, tasks, entries, notes)


def load_info(root: Path) -> dict[str, Any]:
    """Read info.json, and refuse versions that this program cannot read."""
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; a dataset is a folder with {INFO} in it")
    path = root / INFO
    info = read_json(path)
    version = str(info.get("codebase_version", "(none)"))
    if version != CODEBASE_VERSION:
        newer = _number(version) > _number(CODEBASE_VERSION)
        way_out = (
            "update twinloop"
            if newer
            else "convert it with LeRobot's `convert_dataset_v21_to_v30` script, then open it here"
        )
        raise DatasetError(
            f"{path}: codebase_version '{version}', this program reads {CODEBASE_VERSION}; {way_out}"
        )
    missing = [key for key in _NEEDED if key not in info]
    if missing:
        raise DatasetError(f"{path}: lacks {', '.join(missing)}; `twinloop dataset repair` rebuilds it")
    check_info(path, info)
    if "twinloop" not in info and (root / SPEC).exists():  # LeRobot drops keys that it does not know
        info["twinloop"] = read_json(root / SPEC).get("twinloop", {})
        check_info(root / SPEC, info)
    if (ours := info.get("twinloop", {}).get("format", FORMAT)) > FORMAT:
        raise DatasetError(
            f"{path}: twinloop format {ours}, this program knows up to {FORMAT}; update twinloop"
        )
    return info


def _number(version: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version.lstrip("v").split("."))
    except ValueError:
        return (0,)


def read_table(path: Path, columns: list[str] | None = None, *, without: str = "") -> pa.Table:
    """Read a parquet file: all columns, some, or those whose name does not begin with `without`.

    `DatasetError` when the file is missing, cut off, or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            if without:
                columns = [name for name in file.schema_arrow.names if not name.startswith(without)]
            table = file.read(columns)
    except FileNotFoundError:
        raise DatasetError(
            f"{path}: no such file; `twinloop dataset check` tells what else is missing"
        ) from None
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(
            f"{path}: cannot be read ({reason}); `twinloop dataset repair` sets it aside and keeps the rest"
        ) from error
    require(path, table, columns or ())
    return table


def require(path: Path, table: pa.Table, columns: Iterable[str]) -> None:
    """Raise `DatasetError` when `table`, read from `path`, lacks one of `columns`."""
    if lost := [name for name in columns if name not in table.column_names]:
        raise DatasetError(
            f"{path}: lacks column {', '.join(lost)}; `twinloop dataset check` tells what else is hurt"
        )


def read_rows(path: Path, *, without: str = "") -> list[dict[str, Any]]:
    """The rows of a parquet file as Python values; `DatasetError` as `read_table`."""
    table = read_table(path, without=without)
    try:
        return table.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException) as error:  # texts that are not UTF-8, odd times
        raise DatasetError(
            f"{path}: cannot be read ({error}); `twinloop dataset repair` sets it aside and keeps the rest"
        ) from error


def load_entries(root: Path, total: int) -> tuple[Entry, ...]:
    """The first `total` episodes, without their statistics."""
    rows: dict[int, Entry] = {}
    for path in episode_files(root):
        for row in read_rows(path, without="stats/"):
            entry = entry_of(path, row)
            rows.setdefault(entry.index, entry)
    missing = [index for index in range(total) if index not in rows]
    if missing:
        raise DatasetError(
            f"{root}: {INFO} promises {total} episodes, meta/episodes lacks {len(missing)}, the first is "
            f"episode {missing[0]}; `twinloop dataset repair` mends that"
        )
    return tuple(rows[index] for index in range(total))


def entry_of(path: Path, row: Mapping[str, Any]) -> Entry:
    """One line of meta/episodes; `DatasetError` when it is not one."""
    try:
        tasks = row["tasks"]
        if not isinstance(tasks, list) or not tasks or not all(isinstance(task, str) for task in tasks):
            raise ValueError(f"tasks {tasks!r:.40}")
        if not (0 <= row["episode_index"] <= LARGEST and 0 <= row["length"] <= LARGEST):
            raise ValueError(f"episode_index {row['episode_index']}, length {row['length']}")
        keys = [c.split("/")[1] for c in row if c.startswith("videos/") and c.endswith("/file_index")]
        return Entry(
            index=int(row["episode_index"]),
            tasks=tuple(tasks),
            length=int(row["length"]),
            from_index=int(row["dataset_from_index"]),
            data=(int(row["data/chunk_index"]), int(row["data/file_index"])),
            videos={
                key: VideoPlace(
                    (int(row[f"videos/{key}/chunk_index"]), int(row[f"videos/{key}/file_index"])),
                    float(row[f"videos/{key}/from_timestamp"]),
                    float(row[f"videos/{key}/to_timestamp"]),
                )
                for key in keys
                if row[f"videos/{key}/file_index"] is not None
            },
            file=(int(row["meta/episodes/chunk_index"]), int(row["meta/episodes/file_index"])),
        )
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise DatasetError(
            f"{path}: not the metadata of a v3.0 episode ({type(error).__name__}: {error}); "
            f"`twinloop dataset repair` rebuilds it from the data"
        ) from error


def entry_row(entry: Entry) -> dict[str, Any]:
    """The inverse of `entry_of`: a line of meta/episodes, without statistics."""
    row: dict[str, Any] = {
        "episode_index": entry.index,
        "tasks": list(entry.tasks),
        "length": entry.length,
        "data/chunk_index": entry.data[0],
        "data/file_index": entry.data[1],
        "dataset_from_index": entry.from_index,
        "dataset_to_index": entry.from_index + entry.length,
    }
    for key, spot in entry.videos.items():
        row |= {f"videos/{key}/chunk_index": spot.file[0], f"videos/{key}/file_index": spot.file[1]}
        row |= {f"videos/{key}/from_timestamp": spot.from_s, f"videos/{key}/to_timestamp": spot.to_s}
    return row | {"meta/episodes/chunk_index": entry.file[0], "meta/episodes/file_index": entry.file[1]}


def load_stats(root: Path) -> Stats:
    """stats.json, as nested lists; empty when there is none."""
    return read_json(root / STATS) if (root / STATS).exists() else {}


def load_tasks(root: Path) -> tuple[str, ...]:
    """Task texts by task index. The text is the table's pandas index, whatever its name."""
    path = root / TASKS
    table = read_table(path)
    texts = [name for name in table.column_names if name != "task_index"]
    if "task_index" not in table.column_names or len(texts) != 1:
        raise DatasetError(f"{path}: columns {table.column_names}, expected task_index and one text")
    rows = {row["task_index"]: row[texts[0]] for row in read_rows(path)}
    if set(rows) != set(range(len(rows))) or not all(isinstance(text, str) for text in rows.values()):
        raise DatasetError(
            f"{path}: task_index {list(rows)!r:.60}, expected 0 to {len(rows) - 1} with a text each; "
            f"`twinloop dataset repair` rebuilds it"
        )
    return tuple(rows[index] for index in range(len(rows)))


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """tasks.parquet as LeRobot reads it: the text is a pandas index called "task"."""
    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
            for name, kind, numpy in columns
        ],
        "creator": {},
        "pandas_version": "2.0.0",
    }
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())}
    )
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def spec_json(info: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an info.json that cannot be rebuilt from the episodes; we keep a copy in spec.json."""
    return {key: info[key] for key in ("robot_type", "fps", "features", "twinloop")}


def info_totals(episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    """The part of info.json that counts."""
    return {
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "splits": {"train": f"0:{episodes}"},
    }


def info_json(
    spec: DatasetSpec, features: Mapping[str, Any], episodes: int, frames: int, tasks: int
) -> dict[str, Any]:
    """A whole info.json."""
    return {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": spec.robot_type,
        **info_totals(episodes, frames, tasks),
        "chunks_size": CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": spec.fps,
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if spec.cameras else None,
        "features": dict(features),
        "twinloop": extra_entry(spec),
    }
