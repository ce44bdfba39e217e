"""What training reads: states, actions and pictures of many episodes, row by row, in memory or mapped."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..robot.errors import DatasetError, nearest
from ..robot.types import F32, U8

if TYPE_CHECKING:
    from ..data import Dataset


@dataclass(frozen=True, slots=True)
class Retakes:
    """Pictures of M rows taken again: the same step in a world that looks different.

    A hundred demonstrations show a hundred looks of the world, which is too few to learn what does not
    matter; a simulation can show each step again under new cameras, light and colours, its labels unchanged.
    """

    row: NDArray[np.int64]  # (M,) the row of the samples that each shows
    images: Mapping[str, U8]  # camera -> (M, h, w, 3)


@dataclass(frozen=True, slots=True)
class Views:
    """M pictures of scenes in which nothing was demonstrated, for the auxiliary loss alone.

    A hundred demonstrations show a hundred scenes, too few to learn where things are under every light and
    camera pose, and in all of them the arm goes to the object, so that its pose gives the object away. In a
    simulation views with the arm anywhere cost milliseconds.
    """

    state: F32  # (M, S) rad, m
    images: Mapping[str, U8]  # camera -> (M, h, w, 3)
    aux: F32  # (M, K) m


@dataclass(frozen=True, slots=True)
class Samples:
    """N rows of demonstrations, episodes one after the other, rows of an episode in order of time."""

    state: F32  # (N, S) rad, m
    action: F32  # (N, A) rad, m: what was intended at that row, absolute, before any noise was injected
    episode: NDArray[np.int64]  # (N,)
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    fps: float  # rows per second
    rig: str
    rig_hash: str
    task: str = ""  # the task that all episodes show, as `twinloop record --task` knows it; "" = unknown
    images: Mapping[str, U8] = field(default_factory=dict)  # camera -> (N, h, w, 3), array or memmap
    aux: F32 | None = None  # (N, K) m: what the pictures shall tell, such as positions of objects
    aux_names: tuple[str, ...] = ()
    recorded: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # camera -> (h, w) px as recorded
    retakes: Retakes | None = None
    views: Views | None = None

    def check(self) -> None:
        """Raise `DatasetError` that says what is wrong with the rows."""
        n = len(self.episode)
        if n == 0:
            raise DatasetError("no rows to train from; record episodes first")
        for name, values, names in (
            ("state", self.state, self.state_names),
            ("action", self.action, self.action_names),
            ("aux", self.aux, self.aux_names),
        ):
            if values is None:
                if names:
                    raise DatasetError(f"{name}: {len(names)} names but no values")
                continue
            if values.shape != (n, len(names)):
                raise DatasetError(f"{name}: shape {values.shape}, expected {(n, len(names))} (rows, names)")
            bad = ~np.isfinite(values)
            if bad.any():
                row, column = (int(k) for k in np.argwhere(bad)[0])
                raise DatasetError(
                    f"{name}: {values[row, column]} in '{names[column]}', row {row} (episode "
                    f"{self.episode[row]}); {int(bad.any(1).sum())} such rows: leave those episodes out"
                )
        self._check_pictures("camera", self.images, n)
        starts = np.flatnonzero(np.diff(self.episode)) + 1
        if len(starts) + 1 != len(np.unique(self.episode)):
            raise DatasetError("episode: rows of one episode must lie together")
        if self.retakes is not None:
            self._check_pictures("retakes of camera", self.retakes.images, len(self.retakes.row))
            if len(self.retakes.row) and not 0 <= self.retakes.row.min() <= self.retakes.row.max() < n:
                raise DatasetError(f"retakes: rows from {self.retakes.row.min()} to {self.retakes.row.max()}")
        if self.views is not None:
            m = len(self.views.state)
            self._check_pictures("views of camera", self.views.images, m)
            shapes = self.views.state.shape, self.views.aux.shape
            if shapes != ((m, len(self.state_names)), (m, len(self.aux_names))):
                raise DatasetError(f"views: state and aux of shapes {shapes} do not match their names")
            if not (np.isfinite(self.views.state).all() and np.isfinite(self.views.aux).all()):
                raise DatasetError("views: state or aux is not finite")

    def _check_pictures(self, what: str, images: Mapping[str, U8], n: int) -> None:
        for camera in self.images:
            if camera not in images:
                raise DatasetError(f"{what} '{camera}': missing{nearest(camera, images)}")
            pictures, size = images[camera], self.images[camera].shape[1:3]
            if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape != (n, *size, 3):
                raise DatasetError(
                    f"{what} '{camera}': {pictures.dtype} {pictures.shape}, expected uint8 ({n}, h, w, 3)"
                )

    def fingerprint(self) -> str:
        """Twelve hex digits that change with the data (of pictures every 64th is looked at)."""
        digest = hashlib.sha256(repr((self.state_names, self.action_names, self.aux_names)).encode())
        arrays = [self.state, self.action, self.episode, self.aux]
        albums = [self.images]
        if self.retakes is not None:
            arrays.append(self.retakes.row)
            albums.append(self.retakes.images)
        if self.views is not None:
            arrays += [self.views.state, self.views.aux]
            albums.append(self.views.images)
        for values in arrays:
            digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
        for album in albums:
            for camera in sorted(album):
                digest.update(camera.encode())
                digest.update(np.ascontiguousarray(album[camera][::64]).tobytes())
        return digest.hexdigest()[:12]

    @classmethod
    def from_dataset(
        cls,
        dataset: Dataset,
        *,
        cameras: Sequence[str] | None = None,
        image_size: tuple[int, int] = (96, 96),
        state: Sequence[str] = ("observation.state",),
        action: str = "action",
        aux: str | None = "sim.objects",
    ) -> Samples:
        """Read `dataset`.

        `cameras`: None = all, () = none. `image_size`: (height, width) px of the cached pictures. `state`:
        the columns that together make the state; adding "sim.objects" makes a policy for the simulation
        only. `aux`: the column of the auxiliary target; skipped where the dataset has none.
        """
        spec = dataset.spec
        wanted = tuple(spec.cameras) if cameras is None else tuple(cameras)
        for camera in wanted:
            if camera not in spec.cameras:
                raise DatasetError(f"the dataset has no camera '{camera}'{nearest(camera, spec.cameras)}")
        for key in (*state, action):
            if key not in spec.vectors:
                raise DatasetError(f"the dataset has no column '{key}'{nearest(key, spec.vectors)}")
        aux = aux if aux in spec.vectors and aux not in state else None
        return cls(
            state=np.concatenate([_rows(dataset, key) for key in state], 1),
            action=_rows(dataset, action),
            episode=np.asarray(dataset.column("episode_index"), dtype=np.int64),
            state_names=tuple(name for key in state for name in spec.vectors[key]),
            action_names=tuple(spec.vectors[action]),
            fps=float(spec.fps),
            rig=str(spec.extra.get("rig", spec.robot_type)),
            rig_hash=str(spec.extra.get("rig_hash", "")),
            task=str(spec.extra.get("task", "")),
            images={camera: dataset.cache(camera, image_size) for camera in wanted},
            aux=None if aux is None else _rows(dataset, aux),
            aux_names=() if aux is None else tuple(spec.vectors[aux]),
            recorded={camera: spec.cameras[camera] for camera in wanted},
        )


def _rows(dataset: Dataset, key: str) -> F32:
    return np.ascontiguousarray(dataset.column(key), dtype=np.float32)
