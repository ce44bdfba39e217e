"""Recording episodes. A `kill -9` at any moment loses at most the last 0.2 s of the open one."""

from __future__ import annotations

import atexit
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..robot.errors import DatasetError, nearest
from ..robot.types import U8
from .capture import Capture
from .codec import VideoCodec
from .commit import JOURNAL, carry_out, decided, recoverable_rows, remove, stage, undecide
from .disk import explain, is_full, write_json
from .layout import INFO, PRIVATE, REPAIR, SPEC, captures
from .lock import RootLock
from .meta import Meta, info_json, load_meta, spec_json
from .retract import retract
from .spec import DatasetSpec, merged_extra


class DatasetWriter:
    """Writes episodes into a LeRobotDataset v3.0 folder.

        with DatasetWriter(root, spec) as writer:
            writer.start("pick the cube")
            writer.add(row, frames)
            writer.save()

    Rows and pictures go to disk from threads of their own while recording; `add` never waits for disk or
    encoder. `save` makes the episode part of the dataset in one step: it is there whole, or not at all.
    """

    def __init__(
        self,
        root: Path | str,
        spec: DatasetSpec,
        *,
        resume: bool = False,
        codec: VideoCodec | None = None,
        queue_s: float = 1.0,
        wait: bool = False,
    ) -> None:
        """`resume` goes on with an existing dataset; `queue_s` is how much video (s) may queue up before the
        encoder until pictures are dropped, and recorded as dropped. With `wait`, `add` then waits instead:
        for simulation, which makes pictures faster than real time, and never where a robot is moving."""
        self.root = Path(root)
        self._spec = spec
        self._resume = resume
        self._codec = codec or VideoCodec()
        self._queue_s = queue_s
        self._wait = wait
        self._lock = RootLock(self.root)
        self._meta: Meta | None = None
        self._capture: Capture | None = None

    def __enter__(self) -> DatasetWriter:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Lock the folder and create the dataset, or join the existing one.

        `DatasetError` when the spec is wrong or does not fit the existing dataset, when the folder holds
        something and `resume` is off, is not writable, or is being written by somebody else.
        """
        if self._meta is not None:
            return
        self._spec.check(self._codec)
        exists = (self.root / INFO).exists()
        if exists and not self._resume:
            raise DatasetError(
                f"{self.root}: a dataset is there; pass resume=True to add to it, or name a new folder"
            )
        if not exists and self.root.is_dir() and any(p.name != PRIVATE for p in self.root.iterdir()):
            raise DatasetError(
                f"{self.root}: not empty and no dataset ({INFO} is missing); name a new folder"
            )
        if exists:
            self._joined(load_meta(self.root))  # complain before anything is written
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain(error, self.root, "creating the dataset") from error
        self._lock.acquire()
        try:
            self._meta = self._join() if exists else self._create()
        except BaseException:
            self._lock.release()
            raise
        atexit.register(self.close)

    def _create(self) -> Meta:
        info = info_json(self._spec, self._spec.features(self._codec), 0, 0, 0)
        try:
            write_json(self.root / SPEC, spec_json(info))
            write_json(self.root / INFO, info)
        except OSError as error:
            raise explain(error, self.root, "creating the dataset") from error
        return load_meta(self.root)

    def _join(self) -> Meta:
        if (self.root / REPAIR / JOURNAL).exists():  # killed while an episode was taken out, or repaired
            carry_out(self.root / REPAIR, self.root)
        meta = load_meta(self.root)
        for leftover in (self.root / PRIVATE).glob("done-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for folder in captures(self.root):
            if decided(folder, len(meta.entries)):  # killed while it was being saved
                carry_out(folder, self.root)
                meta = load_meta(self.root)
            elif rows := recoverable_rows(folder, meta.spec):
                warnings.warn(
                    f"{folder}: an interrupted episode of {rows / meta.spec.fps:.1f} s; "
                    f"`twinloop dataset repair {self.root}` brings it back",
                    stacklevel=4,
                )
        self._spec = self._joined(meta)
        return replace(meta, spec=self._spec)

    def _joined(self, meta: Meta) -> DatasetSpec:
        """The spec of a session that joins the dataset `meta`. `DatasetError` lists what does not fit."""
        wrong = meta.spec.differences(self._spec)
        unlike = self._spec.features(self._codec).keys() ^ meta.info["features"].keys()
        if not wrong and unlike:
            wrong = [f"features: {', '.join(sorted(unlike))} cannot be written by this program"]
        if wrong:
            raise DatasetError(
                f"{self.root}: does not fit what is recorded now: {'; '.join(wrong)}; "
                f"record with the same rig and settings, or into a new folder"
            )
        return replace(self._spec, extra=merged_extra(meta.spec.extra, self._spec.extra))

    @property
    def spec(self) -> DatasetSpec:
        """The spec; after `open` with what the dataset knew already (its `sources`, for one)."""
        return self._spec

    @property
    def num_episodes(self) -> int:
        """Saved episodes."""
        return len(self._opened().entries)

    @property
    def num_frames(self) -> int:
        """Rows of the saved episodes."""
        return self._opened().num_frames

    @property
    def length(self) -> int:
        """Rows of the open episode; 0 when none is open."""
        return self._capture.length if self._capture else 0

    @property
    def recording(self) -> bool:
        """True while an episode is open."""
        return self._capture is not None

    @property
    def dropped(self) -> Mapping[str, int]:
        """Rows of the open episode without a picture of their own, by camera."""
        return dict(self._capture.dropped) if self._capture else dict.fromkeys(self._spec.cameras, 0)

    @property
    def backlog(self) -> int:
        """Rows of the open episode by which its slowest encoder or disk is behind.

        A kill -9 loses these and, on top, at most 0.2 s."""
        return self._capture.backlog if self._capture else 0

    def start(self, task: str, info: Mapping[str, Any] | None = None) -> int:
        """Open an episode and return its index. `info` is kept with it and must be JSON-able."""
        meta = self._opened()
        if self._capture is not None:
            raise DatasetError(f"{self.root}: an episode is open; save() or discard() it first")
        if not task.strip():
            raise DatasetError("task: empty; say in a few words what is done, as in 'pick the red cube'")
        info = _jsonable(info or {})
        limit = max(2, round(self._queue_s * self._spec.fps))
        capture = Capture(self.root, self._spec, self._codec, limit=limit, wait=self._wait)
        try:
            capture.open(task, info)
        except DatasetError:
            capture.close()
            shutil.rmtree(capture.folder, ignore_errors=True)
            raise
        self._capture = capture
        return len(meta.entries)

    def add(self, row: Mapping[str, Any], frames: Mapping[str, U8 | None]) -> None:
        """Add one row: all vectors `(d,)` and scalars of the spec, and a picture (h, w, 3) of each camera.

        None is a dropped frame: `camera.<name>.dropped` says 1 and the video repeats the previous picture
        (black before the first), so that no later row ever shifts. The same happens when the encoder cannot
        keep up. `DatasetError` when a key, shape or resolution does not fit (the episode stays open), or
        when the disk is full (the episode is closed, and `repair` brings it back).
        """
        capture = self._open_episode()
        if (failure := capture.failure(f"recording episode {self.num_episodes}")) is not None:
            self._capture = None
            raise failure
        capture.add(row, frames)

    def update_extra(self, **entries: Any) -> None:
        """Change entries of the spec's `extra`: on disk at once with the open episode, in info.json with the
        next `save`."""
        self._spec = replace(self._spec, extra=merged_extra(self._spec.extra, _jsonable(entries)))
        if self._capture is not None:
            self._capture.relabel(extra=dict(self._spec.extra))

    def save(self, info: Mapping[str, Any] | None = None, last: Mapping[str, Any] | None = None) -> int:
        """Make the open episode part of the dataset and return its index.

        `info` is added to what `start` was given; `last` replaces scalars of the last row, for what is known
        only now (`next.success`). `DatasetError` when the episode has no rows (it stays open), or the disk
        is full (it is closed, and `repair` brings it back).
        """
        capture, meta = self._open_episode(), self._opened()
        if capture.length == 0:
            raise DatasetError(
                f"{self.root}: episode {self.num_episodes} has no rows; add some, or discard() it"
            )
        info, last = {**capture.info, **_jsonable(info or {})}, _jsonable(last or {})
        for key in last:
            if key not in self._spec.scalars:
                raise DatasetError(f"last row: no scalar '{key}'{nearest(key, self._spec.scalars)}")
        index = len(meta.entries)
        self._capture = None
        capture.close()
        if not capture.folder.is_dir():
            raise DatasetError(
                f"{self.root}: removed or moved while episode {index} was recorded, and this episode with it; "
                f"leave the folder where it is until the recording ends"
            )
        if (failure := capture.failure(f"saving episode {index}")) is not None:
            raise failure
        capture.relabel(info=info, last=last)
        try:
            grown = stage(
                capture.folder,
                meta,
                self._spec,
                capture.task,
                info,
                samples=capture.samples,
                last=last,
                length=capture.length,
            )
        except OSError as error:
            undecide(capture.folder)
            cause = "disk full" if is_full(error) else str(error)
            raise DatasetError(
                f"{self.root}: {cause} while saving episode {index}; saved episodes are intact, this one "
                f"lies in {capture.folder}: free some space, then `twinloop dataset repair {self.root}` "
                f"brings it back"
            ) from error
        try:
            carry_out(capture.folder, self.root)
        except OSError as error:
            self.close()  # half of the renames are done: nothing may be written before the rest is
            raise DatasetError(
                f"{self.root}: {error} while putting episode {index} in its place; it is whole: opening the "
                f"writer again, or `twinloop dataset repair {self.root}`, finishes that"
            ) from error
        self._meta = grown
        return index

    def discard(self) -> None:
        """Drop the open episode; nothing happens when none is open."""
        if self._capture is not None:
            capture, self._capture = self._capture, None
            capture.close()
            remove(capture.folder)

    def retract(self) -> int:
        """Take the last saved episode out of the dataset again; returns the index that it had.

        `DatasetError` when there is none, it shares its files with others (it then stays), or an episode is open.
        """
        meta = self._opened()
        if self._capture is not None:
            raise DatasetError(f"{self.root}: an episode is open; save() or discard() it first")
        try:
            self._meta = retract(meta)
        except OSError as error:
            raise explain(error, self.root, "taking an episode out of it") from error
        return len(meta.entries) - 1

    def close(self) -> None:
        """Give the folder back; may be called twice. An open episode is ended and left for `repair`."""
        if self._meta is None:
            return
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()
            if capture.length == 0:
                remove(capture.folder)
            else:
                warnings.warn(
                    f"{self.root}: closed while an episode of {capture.length} rows was open; "
                    f"`twinloop dataset repair {self.root}` brings it back",
                    stacklevel=2,
                )
        self._meta = None
        self._lock.release()
        atexit.unregister(self.close)

    def _opened(self) -> Meta:
        if self._meta is None:
            raise DatasetError(f"{self.root}: the writer is not open; call open() or use `with`")
        return self._meta

    def _open_episode(self) -> Capture:
        self._opened()
        if self._capture is None:
            raise DatasetError(f"{self.root}: no episode is open; call start(task) first")
        return self._capture


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _jsonable(value: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(value), default=_plain))
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"episode info must be JSON-able: {error}; use plain numbers, texts, lists"
        ) from None
