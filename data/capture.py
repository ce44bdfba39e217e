"""An episode that is being recorded: a hidden folder with its rows, its videos and a label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..robot.clock import wall_time
from ..robot.errors import DatasetError
from ..robot.types import U8
from .codec import VideoCodec
from .disk import explain, is_full, read_json, write_json
from .layout import PRIVATE, captures
from .row_log import RowLog
from .spec import DatasetSpec
from .video_log import VideoLog

LABEL = "episode.json"
ROWS = "rows.arrow"
_NUMPY = {"float64": np.float64, "float32": np.float32, "int64": np.int64, "bool": np.bool_}


def video_name(camera: str) -> str:
    """File of a camera inside a capture folder."""
    return f"{camera}.mkv"


class Capture:
    """Writes one open episode. Everything in it can be read after a kill, up to the last 0.2 s."""

    def __init__(self, root: Path, spec: DatasetSpec, codec: VideoCodec, *, limit: int, wait: bool) -> None:
        numbers = [int(path.name.rsplit("-", 1)[1]) for path in captures(root) if path.name[-6:].isdigit()]
        self.folder = root / PRIVATE / f"capture-{max(numbers, default=-1) + 1:06d}"
        self._root = root
        self._spec = spec
        self._rows = RowLog(self.folder / ROWS, spec)
        self._videos = {
            camera: VideoLog(self.folder / video_name(camera), size, spec.fps, codec, limit=limit, wait=wait)
            for camera, size in spec.cameras.items()
        }
        self._keys = frozenset((*spec.vectors, *spec.scalars))
        self._label: dict[str, Any] = {}
        self._fault: OSError | None = None
        self.length = 0  # rows so far
        self.dropped = dict.fromkeys(spec.cameras, 0)  # rows without a picture of their own, so far

    def open(self, task: str, info: Mapping[str, Any]) -> None:
        """Create the folder and its files."""
        self._label = {
            "task": task,
            "info": dict(info),
            "extra": dict(self._spec.extra),
            "begun": wall_time(),
        }
        try:
            self.folder.mkdir(parents=True)
            write_json(self.folder / LABEL, self._label)
            self._rows.open()
            for video in self._videos.values():
                video.open()
        except OSError as error:
            raise explain(error, self._root, "starting an episode") from error

    def relabel(self, **changes: Any) -> None:
        """Write changed parts of the label; a fault of the disk is kept in `error`."""
        self._label |= changes
        try:
            write_json(self.folder / LABEL, self._label)
        except OSError as error:
            self._fault = error

    @property
    def info(self) -> dict[str, Any]:
        return self._label["info"]

    @property
    def task(self) -> str:
        return self._label["task"]

    @property
    def samples(self) -> dict[str, list[U8]]:
        """Coarse pictures of each camera for the statistics."""
        return {camera: video.samples for camera, video in self._videos.items()}

    @property
    def error(self) -> OSError | None:
        """What ended one of the logs, if anything did."""
        faults = (self._fault, self._rows.error, *(video.error for video in self._videos.values()))
        return next((fault for fault in faults if fault is not None), None)

    def add(self, row: Mapping[str, Any], frames: Mapping[str, U8 | None]) -> None:
        """Add one row and its pictures; see `DatasetWriter.add`."""
        if row.keys() != self._keys:
            raise DatasetError(f"row {self.length}: {_key_difference(self._keys, row.keys())}")
        values: list[Any] = []
        for key, names in self._spec.vectors.items():
            vector = np.array(row[key], np.float32).reshape(-1)
            if vector.shape != (len(names),):
                raise DatasetError(
                    f"row {self.length}: {key} has {vector.size} values, the dataset has {len(names)} "
                    f"({', '.join(names)})"
                )
            values.append(vector if len(names) > 1 else vector[0])
        for key, dtype in self._spec.scalars.items():
            values.append(_NUMPY[dtype](row[key]))
        self._check_frames(frames)
        for camera, video in self._videos.items():
            fresh = video.put(frames[camera])
            self.dropped[camera] += not fresh
            values.append(0 if fresh else 1)
        self._rows.append(values)
        self.length += 1

    def _check_frames(self, frames: Mapping[str, U8 | None]) -> None:
        if frames.keys() != self._spec.cameras.keys():
            raise DatasetError(f"row {self.length}: cameras: {_key_difference(self._spec.cameras, frames)}")
        for camera, size in self._spec.cameras.items():
            picture = frames[camera]
            if picture is not None and (picture.shape != (*size, 3) or picture.dtype != np.uint8):
                raise DatasetError(
                    f"row {self.length}: camera {camera} gave {picture.dtype} {picture.shape}, the dataset "
                    f"has uint8 {(*size, 3)}; set the camera to {size[0]}x{size[1]} (height x width)"
                )

    @property
    def backlog(self) -> int:
        """Rows by which the slowest log is behind."""
        return max(self._rows.backlog, *(video.backlog for video in self._videos.values()), 0)

    def close(self) -> None:
        """End all files; may be called twice."""
        self._rows.close()
        for video in self._videos.values():
            video.close()

    def failure(self, doing: str) -> DatasetError | None:
        """The error to raise when a log has ended early, after closing what is left."""
        if self.error is None:
            return None
        error = self.error
        self.close()
        seconds = self.length / self._spec.fps
        kept = f"what was recorded of this episode ({seconds:.1f} s) lies in {self.folder}"
        cause = "disk full" if is_full(error) else (error.strerror or str(error))
        return DatasetError(
            f"{self._root}: {cause} while {doing}; saved episodes are intact, {kept}: free some space, then "
            f"`twinloop dataset repair {self._root}` brings it back"
        )


def read_label(folder: Path) -> dict[str, Any]:
    """The label of a capture folder; `DatasetError` when it cannot be read."""
    label = read_json(folder / LABEL)
    if not isinstance(label.get("task"), str) or not isinstance(label.get("info"), dict):
        raise DatasetError(f"{folder / LABEL}: lacks the task or the info of the episode")
    return label


def _key_difference(wanted: Any, given: Any) -> str:
    missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    parts = []
    if missing:
        parts.append(f"lacks {', '.join(missing)}")
    if unknown:
        parts.append(f"has unknown {', '.join(unknown)}")
    return " and ".join(parts)
