"""Many overlapping chunks to one plan.

"average" is the temporal ensembling of Zhao et al. (arXiv 2304.13705, section IV-B): for each time ahead,
the mean over all chunks that cover it with weights exp(-decay * i), i = 0 for the oldest. A negative decay
prefers the newest: less smooth, quicker to react. "newest" executes the last chunk alone (receding horizon).

Chunks are compared by time, not by counting steps: rows of an older chunk are interpolated to the times of
the plan, so a late or skipped control step shifts nothing. A chunk has no say about times outside its rows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..robot.types import F64

Blend = Literal["average", "newest"]


@dataclass(slots=True)
class Ensemble:
    """The chunks predicted of late, and the plan that follows from them."""

    blend: Blend = "average"
    decay: float = 0.01
    keep: int = 32  # chunks at most
    _chunks: deque[tuple[int, int, F64]] = field(default_factory=deque)

    def reset(self) -> None:
        """Forget every chunk."""
        self._chunks.clear()

    def add(self, t0_ns: int, dt_ns: int, rows: F64) -> None:
        """Add a prediction: row k of `rows` (H, A) is due at `t0_ns + k * dt_ns`."""
        if not np.isfinite(rows).all():
            raise ValueError("a chunk must be finite")
        if self.blend == "newest":
            self._chunks.clear()
        self._chunks.append((t0_ns, dt_ns, rows))
        while len(self._chunks) > self.keep:
            self._chunks.popleft()

    def plan(self, now_ns: int) -> tuple[int, F64]:
        """Time of the first row and rows (h, A), `dt` apart, up to the newest chunk's end.

        The plan begins now, or with the newest chunk where that begins later. h = 0: all has expired.
        """
        while self._chunks and _end(self._chunks[0]) < now_ns:
            self._chunks.popleft()
        if not self._chunks:
            return now_ns, np.zeros((0, 0))
        t0, dt, newest = self._chunks[-1]
        begin = max(now_ns, t0)
        count = max(0, (_end(self._chunks[-1]) - begin) // dt + 1)
        times = begin + dt * np.arange(count, dtype=np.int64)
        total = np.zeros((count, newest.shape[1]))
        weights = np.zeros((count, 1))
        seen = np.zeros((count, 1))  # chunks so far that cover each time: the i of the formula
        for start, step, rows in self._chunks:
            at = (times - start) / step
            covered = ((at >= 0) & (at <= len(rows) - 1))[:, None]
            low = np.clip(at.astype(np.int64), 0, len(rows) - 1)
            high = np.minimum(low + 1, len(rows) - 1)
            share = (at - low)[:, None]
            value = rows[low] * (1 - share) + rows[high] * share
            weight = np.where(covered, np.exp(-self.decay * seen), 0.0)
            total += weight * np.where(covered, value, 0.0)
            weights += weight
            seen += covered
        return begin, total / weights


def _end(chunk: tuple[int, int, F64]) -> int:
    """When the last row is due, ns."""
    start, step, rows = chunk
    return start + (len(rows) - 1) * step
