"""Rows to batches: which rows at which step, chunks cut at the end of the episode, tensors on the device.

Which rows a step sees follows from the seed and the step alone, so a resumed training sees the same rows as
an uninterrupted one. Pictures are gathered from the memory map in the calling thread: at 96 px a batch is a
few megabytes, and worker processes would cost more than they bring on two cores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


class Batches:
    """Batches of `samples` on `device`."""

    def __init__(
        self, samples: Samples, cameras: Sequence[str], chunk: int, device: torch.device, seed: int
    ) -> None:
        self._device = device
        self._seed = seed
        self._chunks = chunk_rows(samples.episode, chunk)
        self._state = torch.from_numpy(samples.state).to(device)
        self._action = torch.from_numpy(samples.action).to(device)
        # What the pictures shall tell: of no use where nobody looks at them.
        aux = samples.aux if cameras else None
        self._aux = None if aux is None else torch.from_numpy(aux).to(device)
        self._images = {camera: samples.images[camera] for camera in cameras}
        self._rows = len(samples.episode)
        self._retakes = samples.retakes if cameras else None
        self._views = samples.views if cameras and samples.aux is not None else None
        self._loaded: dict[str, Tensor] = {}
        if device.type == "cuda" and self._images:
            need = sum(pictures.nbytes for pictures in self._images.values())
            if need < PRELOAD_SHARE * torch.cuda.mem_get_info(device)[0]:
                self._loaded = {
                    name: torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
                    for name, pictures in self._images.items()
                }

    def with_retakes(self, rows: Ids) -> Ids:
        """`rows` and the retakes of them, which are numbered on from the number of rows."""
        if self._retakes is None:
            return rows
        return np.concatenate([rows, self._rows + np.flatnonzero(np.isin(self._retakes.row, rows))])

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

    @property
    def views(self) -> int:
        """How many views there are."""
        return 0 if self._views is None else len(self._views.state)

    def at(
        self,
        rows: Ids,
        augment: Augment | None = None,
        generator: torch.Generator | None = None,
        views: Ids | None = None,
    ) -> Batch:
        """The batch of these rows, and of these views after them; row numbers beyond the rows are retakes."""
        extra = self._views if views is not None and len(views) else None
        taken = rows
        if self._retakes is not None:
            again = np.maximum(taken - self._rows, 0)
            rows = np.where(taken < self._rows, taken, self._retakes.row[again])
        index = torch.from_numpy(rows).to(self._device)
        chunks = torch.from_numpy(self._chunks[rows]).to(self._device)
        images: dict[str, Tensor] = {}
        for camera, pictures in self._images.items():
            if camera in self._loaded:
                image = self._loaded[camera][index]
            else:
                image = torch.from_numpy(np.ascontiguousarray(pictures[rows]))
                if self._retakes is not None and (taken >= self._rows).any():
                    new = taken >= self._rows
                    retaken = self._retakes.images[camera][taken[new] - self._rows]
                    image[torch.from_numpy(new)] = torch.from_numpy(np.ascontiguousarray(retaken))
                if self._device.type == "cuda":
                    image = image.pin_memory().to(self._device, non_blocking=True)
            if extra is not None:
                more = torch.from_numpy(np.ascontiguousarray(extra.images[camera][views]))
                image = torch.cat([image, more.to(self._device)])
            if augment is not None and generator is not None:
                image = augment(image, generator)
            images[camera] = image
        state, aux = self._state[index], None if self._aux is None else self._aux[index]
        if extra is not None and aux is not None:
            state = torch.cat([state, torch.from_numpy(extra.state[views]).to(self._device)])
            aux = torch.cat([aux, torch.from_numpy(extra.aux[views]).to(self._device)])
        return Batch(state, self._action[chunks], images, aux)

    def statistics(self, rows: Ids) -> tuple[Tensor, Tensor, Tensor | None]:
        """State (n, S), action (n, H, A) and auxiliary target (n, K) of all `rows`, to fit a normaliser."""
        index = torch.from_numpy(rows).to(self._device)
        chunks = torch.from_numpy(self._chunks[rows]).to(self._device)
        return self._state[index], self._action[chunks], None if self._aux is None else self._aux[index]
