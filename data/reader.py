"""Reading a dataset, ours or anybody's LeRobotDataset v3.0."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..robot.errors import DatasetError, nearest
from ..robot.types import U8
from .cache import decoded
from .images import embedded_pictures
from .meta import Entry, Meta, load_meta, load_stats, read_table, require
from .row_log import numbers
from .spec import DatasetSpec
from .stats import Stats
from .video import decode


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode; arrays are read-only."""

    index: int
    task: str
    length: int  # rows
    info: Mapping[str, Any]  # what the recorder kept with it: seed, randomisation draw, protections, ...
    columns: Mapping[str, np.ndarray]  # feature -> (n, d) for vectors, (n,) for scalars


class Dataset:
    """A dataset on disk: `Dataset(root).open()`.

    Videos that are missing are named in one warning; everything else still loads. Nothing is decoded or
    read before it is asked for.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._meta: Meta | None = None
        self._columns: dict[str, np.ndarray] = {}
        self._table: tuple[Path, pa.Table] | None = None  # the last data file, for reading episodes in turn

    def open(self) -> Dataset:
        """Read the metadata. `DatasetError` when it is missing, damaged, or of a version unknown here."""
        self._meta = load_meta(self.root)
        self._columns, self._table = {}, None
        missing = list(self.missing_videos)
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            warnings.warn(
                f"{self.root}: video missing: {missing[0].relative_to(self.root)}{more}; "
                f"going on without the pictures in it",
                stacklevel=2,
            )
        return self

    @property
    def meta(self) -> Meta:
        """The metadata as it lies on disk."""
        if self._meta is None:
            raise DatasetError(f"{self.root}: the dataset is not open; call open()")
        return self._meta

    @property
    def spec(self) -> DatasetSpec:
        return self.meta.spec

    @property
    def num_episodes(self) -> int:
        return len(self.meta.entries)

    @property
    def num_frames(self) -> int:
        """Rows over all episodes."""
        return self.meta.num_frames

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task texts by task index."""
        return self.meta.tasks

    @property
    def stats(self) -> Stats:
        """Statistics over the dataset: feature -> measure -> nested lists, as in meta/stats.json."""
        return load_stats(self.root)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Rows of each episode."""
        return tuple(entry.length for entry in self.meta.entries)

    @property
    def missing_videos(self) -> tuple[Path, ...]:
        """Videos that the metadata names and that are not there."""
        meta = self.meta
        missing: dict[Path, bool] = {}
        for key in meta.image_keys.values():
            if meta.info["features"][key]["dtype"] == "video":
                for entry in meta.entries:
                    path = meta.video_file(entry, key) if key in entry.videos else None
                    if path is not None and path not in missing:
                        missing[path] = not path.exists()
        return tuple(path for path, gone in missing.items() if gone)

    def episode(self, index: int) -> Episode:
        """One episode with all its columns. `DatasetError` when there is none of this index."""
        entry = self._entry(index)
        table = self._rows(entry)
        columns = {key: self._column(table, key) for key in self._keys(table)}
        task = entry.tasks[0] if entry.tasks else ""
        return Episode(index, task, entry.length, self.meta.notes.get(index, {}).get("info", {}), columns)

    def column(self, key: str) -> np.ndarray:
        """A column over all rows of the dataset: `(n, d)` for vectors, `(n,)` for scalars; read-only."""
        if key not in self._columns:
            meta = self.meta
            if key not in meta.info["features"] or key in meta.image_keys.values():
                known = [name for name in meta.info["features"] if name not in meta.image_keys.values()]
                raise DatasetError(f"{self.root}: no column '{key}'{nearest(key, known)}")
            parts = []
            for path in dict.fromkeys(meta.data_file(entry) for entry in meta.entries):
                table = read_table(path, list({key, "index", "episode_index"}))
                known_rows = np.asarray(table.column("episode_index")) < len(meta.entries)
                parts.append(table.filter(pa.array(known_rows)))
            self._columns[key] = self._in_order(key, parts)
        return self._columns[key]

    def _in_order(self, key: str, parts: list[pa.Table]) -> np.ndarray:
        if not parts:
            names = self.spec.vectors.get(key)
            return np.zeros((0, len(names)) if names else 0, np.float32)
        try:
            table = pa.concat_tables([part.select(sorted(part.column_names)) for part in parts])
        except pa.ArrowException:
            raise DatasetError(
                f"{self.root}: the data files do not agree on what '{key}' is; "
                f"`twinloop dataset check {self.root}` tells which one is hurt"
            ) from None
        order = np.asarray(table.column("index"))
        values = self._column(table, key)
        if len(values) != self.num_frames or not np.array_equal(np.sort(order), np.arange(self.num_frames)):
            raise DatasetError(
                f"{self.root}: the data files hold {len(values)} rows, the episodes {self.num_frames}, or "
                f"their index has gaps; `twinloop dataset check {self.root}` tells which episode is hurt"
            )
        if (np.diff(order) < 0).any():
            values = values[np.argsort(order, kind="stable")]
            values.setflags(write=False)
        return values

    def frames(self, episode: int, camera: str) -> U8:
        """All pictures of one camera in one episode, (n, h, w, 3) RGB."""
        entry = self._entry(episode)
        return self._decode(entry, camera, 0, entry.length)

    def frame(self, episode: int, camera: str, k: int) -> U8:
        """The picture of row `k` of an episode, (h, w, 3) RGB."""
        entry = self._entry(episode)
        if not 0 <= k < entry.length:
            raise DatasetError(f"{self.root}: episode {episode} has rows 0 to {entry.length - 1}, not {k}")
        return self._decode(entry, camera, k, 1)[0]

    def cache(
        self, camera: str, size: tuple[int, int] | None = None, folder: Path | None = None
    ) -> np.memmap:
        """All pictures of a camera, (N, h, w, 3) uint8 RGB, decoded once into a file and mapped read-only.

        `size` (height, width) resizes them first. The file lies under the dataset's `.twinloop/cache` (the
        user's cache folder when that is read-only), or in `folder`, and is made again when a video changed.
        """
        self.image_key(camera)
        return decoded(self, camera, size, folder)

    def image_key(self, camera: str) -> str:
        """Feature of a camera. `DatasetError` when there is no such camera."""
        if camera not in self.meta.image_keys:
            raise DatasetError(f"{self.root}: no camera '{camera}'{nearest(camera, self.meta.image_keys)}")
        return self.meta.image_keys[camera]

    def _decode(self, entry: Entry, camera: str, start: int, count: int) -> U8:
        key, meta = self.image_key(camera), self.meta
        if meta.info["features"][key]["dtype"] == "image":
            return embedded_pictures(self._rows(entry).column(key).slice(start, count), self.root)
        if key not in entry.videos:
            raise DatasetError(f"{self.root}: episode {entry.index} names no video of camera '{camera}'")
        place = entry.videos[key]
        height, width = self.spec.cameras[camera]
        found = np.empty((count, height, width, 3), np.uint8)
        path = meta.video_file(entry, key)
        start_s = place.from_s + start / self.spec.fps
        for k, picture in enumerate(decode(path, start_s, count, self.spec.fps)):
            if picture.shape != (height, width, 3):
                raise DatasetError(
                    f"{path}: pictures of {picture.shape[:2]}, info.json says {(height, width)}"
                )
            found[k] = picture
        return found

    def _entry(self, index: int) -> Entry:
        if not 0 <= index < self.num_episodes:
            held = f"episodes 0 to {self.num_episodes - 1}" if self.num_episodes else "no episodes"
            raise DatasetError(f"{self.root}: has {held}, not {index}")
        return self.meta.entries[index]

    def _rows(self, entry: Entry) -> pa.Table:
        path = self.meta.data_file(entry)
        if self._table is None or self._table[0] != path:
            table = read_table(path)
            require(path, table, self._needed)
            self._table = (path, table)
        whole = self._table[1]
        mine = np.asarray(whole.column("episode_index")) == entry.index
        table = whole if mine.all() else whole.filter(pa.array(mine))
        if table.num_rows != entry.length:
            raise DatasetError(
                f"{path}: {table.num_rows} rows of episode {entry.index}, meta/episodes says {entry.length}; "
                f"`twinloop dataset repair {self.root}` mends that"
            )
        return table

    @property
    def _needed(self) -> list[str]:
        """Columns that every data file must have."""
        features = self.meta.info["features"].items()
        return ["episode_index", *(key for key, feature in features if feature["dtype"] != "video")]

    def _keys(self, table: pa.Table) -> list[str]:
        pictures = set(self.meta.image_keys.values())
        known = self.meta.info["features"]
        return [name for name in table.column_names if name in known and name not in pictures]

    def _column(self, table: pa.Table, key: str) -> np.ndarray:
        names = self.spec.vectors.get(key)
        if names is not None:
            values = numbers(table.column(key))
        else:
            values = table.column(key).to_numpy()
        if values.flags.writeable:
            values.setflags(write=False)
        return values
