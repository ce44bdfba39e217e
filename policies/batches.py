"""Rows to batches: which rows at which step, chunks cut at the end of the episode, tensors on the device.

Which rows a step sees follows from the seed and the step alone, so a resumed training sees the same rows as
an uninterrupted one. Pictures are gathered from the memory map in the calling thread: at 96 px a batch is a
few megabytes, and worker processes would cost more than they bring on two cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..robot.types import F32, U8
from .augment import Augment
from .policy import Batch
from .samples import Samples

Ids = NDArray[np.int64]
PRELOAD_SHARE = 0.5  # of the free GPU memory that pictures may take; else they come from the memory map


def split(episode: Ids, share: float, seed: int) -> tuple[Ids, Ids]:
    """Rows to train on and rows to validate on: whole episodes, drawn by `seed`. `share` 0: none held out."""
    episodes = np.unique(episode)
    count = round(share * len(episodes))
    if share > 0 and len(episodes) > 1:
        count = min(max(count, 1), len(episodes) - 1)
    held = np.random.default_rng(seed).permutation(episodes)[:count]
    mask = np.isin(episode, held)
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def chunk_rows(episode: Ids, chunk: int) -> Ids:
    """(N, H) rows of the chunk that begins at each row; past the episode's end its last row is repeated.

    So the policy learns to hold at the end instead of inventing how to go on.
    """
    n = len(episode)
    ends = np.append(np.flatnonzero(np.diff(episode)), n - 1)
    last = ends[np.searchsorted(ends, np.arange(n))]
    return np.minimum(np.arange(n)[:, None] + np.arange(chunk), last[:, None])


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures of one camera: several arrays (n, h, w, 3), numbered through."""

    parts: tuple[U8, ...]

    def take(self, ids: Ids) -> U8:
        """(len(ids), h, w, 3)."""
        out = np.empty((len(ids), *self.parts[0].shape[1:]), np.uint8)
        first = 0
        for part in self.parts:
            mine = (ids >= first) & (ids < first + len(part))
            if mine.any():
                out[mine] = part[ids[mine] - first]
            first += len(part)
        return out


class Batches:
    """Batches of `samples` on `device`.

    Rows are numbered from 0, retakes follow them, views follow those. Only the first two have actions.
    """

    def __init__(
        self, samples: Samples, cameras: Sequence[str], chunk: int, device: torch.device, seed: int
    ) -> None:
        self._device = device
        self._seed = seed
        self._rows = len(samples.episode)
        # All that is about pictures is of no use where nobody looks at them.
        retakes = samples.retakes if cameras else None
        views = samples.views if cameras and samples.aux is not None else None
        aux = samples.aux if cameras else None
        self._again: Ids = np.zeros(0, np.int64) if retakes is None else retakes.row
        self._chunks = chunk_rows(samples.episode, chunk)[np.append(np.arange(self._rows), self._again)]
        first = self._rows + len(self._again)
        self.views: Ids = np.arange(first, first + (0 if views is None else len(views.state)))
        self._action = torch.from_numpy(np.array(samples.action)).to(device)
        self._state = self._numbered(samples.state, None if views is None else views.state)
        self._aux = None if aux is None else self._numbered(aux, None if views is None else views.aux)
        more = [extra.images for extra in (retakes, views) if extra is not None]
        self._albums = {name: Album((samples.images[name], *(m[name] for m in more))) for name in cameras}
        self._loaded: dict[str, Tensor] = {}
        if device.type == "cuda" and self._albums:
            parts = [part for album in self._albums.values() for part in album.parts]
            if sum(part.nbytes for part in parts) < PRELOAD_SHARE * torch.cuda.mem_get_info(device)[0]:
                self._loaded = {
                    name: torch.from_numpy(np.concatenate(album.parts)).to(device)
                    for name, album in self._albums.items()
                }

    def _numbered(self, rows: F32, views: F32 | None) -> Tensor:
        """Values of the rows, of the rows that were taken again, and of the views."""
        parts = [rows, rows[self._again]] + ([] if views is None else [views])
        return torch.from_numpy(np.concatenate(parts)).to(self._device)

    def with_retakes(self, rows: Ids) -> Ids:
        """`rows` and the retakes of them."""
        return np.concatenate([rows, self._rows + np.flatnonzero(np.isin(self._again, rows))])

    def order(self, rows: Ids, step: int, size: int) -> Ids:
        """The rows of training step `step`: every row once an epoch, epochs shuffled by (seed, epoch)."""
        first = step * size
        picked: list[Ids] = [np.zeros(0, np.int64)]
        while size > 0:
            epoch, offset = divmod(first, len(rows))
            shuffled = np.random.default_rng((self._seed, epoch)).permutation(rows)
            part = shuffled[offset : offset + size]
            picked.append(part)
            first, size = first + len(part), size - len(part)
        return np.concatenate(picked)

    def at(
        self,
        rows: Ids,
        augment: Augment | None = None,
        generator: torch.Generator | None = None,
        views: Ids | None = None,
    ) -> Batch:
        """The batch of these rows or retakes, and of these views after them."""
        ids = rows if views is None else np.concatenate([rows, views])
        index = torch.from_numpy(ids).to(self._device)
        chunks = torch.from_numpy(self._chunks[rows]).to(self._device)
        images: dict[str, Tensor] = {}
        for camera, album in self._albums.items():
            if camera in self._loaded:
                image = self._loaded[camera][index]
            else:
                image = torch.from_numpy(album.take(ids))
                if self._device.type == "cuda":
                    image = image.pin_memory().to(self._device, non_blocking=True)
            if augment is not None and generator is not None:
                image = augment(image, generator)
            images[camera] = image
        aux = None if self._aux is None else self._aux[index]
        return Batch(self._state[index], self._action[chunks], images, aux)

    def statistics(self, rows: Ids) -> tuple[Tensor, Tensor, Tensor | None]:
        """State (n, S), action (n, H, A) and auxiliary target (n, K) of all `rows`, to fit a normaliser."""
        index = torch.from_numpy(rows).to(self._device)
        chunks = torch.from_numpy(self._chunks[rows]).to(self._device)
        return self._state[index], self._action[chunks], None if self._aux is None else self._aux[index]
