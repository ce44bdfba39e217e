"""Commands on their way in: a chunk is accepted or rejected as a whole, then becomes part of the plan.

The plan is one polyline over all joints of the rig, arms first, in metres and radians. A new chunk replaces
the old plan from its first row on; the time between now and its first row is bridged along the old plan, and
linearly from where that ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..types import F64, ActionChunk, frozen

ROWS_MAX = 2000
FUTURE_NS = 1_000_000_000  # a chunk may start at most this far ahead
PAST_NS = 10_000_000_000  # and at most this long ago
FAR = 6.3  # rad (or m) outside the range: not a command but garbage


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each arm's joints and each gripper stand in the flat vector of all joints, (M,)."""

    arms: Mapping[str, slice]
    grippers: Mapping[str, int]
    size: int
    low: F64  # (M,) rad, m
    high: F64  # (M,)

    def split(self, values: F64) -> tuple[dict[str, F64], dict[str, float]]:
        """`values` (M,) by name: arm -> (n,) rad, read-only, and gripper -> m."""
        arms = {name: frozen(values[at]) for name, at in self.arms.items()}
        return arms, {name: float(values[k]) for name, k in self.grippers.items()}


def private(chunk: ActionChunk) -> ActionChunk:
    """A copy of `chunk` that nobody else can change, with plain dicts and plain arrays.

    What cannot be copied becomes an empty chunk, which `fault_of` rejects.
    """
    try:
        q = {name: _plain(values) for name, values in chunk.q.items()}
        width_m = {name: _plain(values) for name, values in chunk.width_m.items()}
        return replace(chunk, q=q, width_m=width_m)
    except Exception:  # a mapping or array of somebody else's may raise anything
        return ActionChunk(0, 0, {}, {}, 0)


def _plain(values: F64) -> F64:
    """Without masks and other extras of subclasses; what is no array stays what it is."""
    return np.array(values, subok=False) if isinstance(values, np.ndarray) else values


def fault_of(chunk: ActionChunk, layout: Layout, now_ns: int) -> str | None:
    """Why `chunk` must be rejected (one of `REJECT_REASONS`), or None when it is sound."""
    try:
        if not (chunk.q or chunk.width_m):
            return "names"
        if any(name not in layout.arms for name in chunk.q):
            return "names"
        if any(name not in layout.grippers for name in chunk.width_m):
            return "names"
        if not isinstance(chunk.source, str):
            return "dtype"
        t0, dt, expires = chunk.t0_ns, chunk.dt_ns, chunk.expires_ns
        if not all(isinstance(t, int | np.integer) and not isinstance(t, bool) for t in (t0, dt, expires)):
            return "times"
        rows = -1
        parts: list[tuple[object, slice | int]] = [(q, layout.arms[name]) for name, q in chunk.q.items()]
        parts += [(w, layout.grippers[name]) for name, w in chunk.width_m.items()]
        for values, place in parts:
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
                return "dtype"
            wanted = (len(values),) if isinstance(place, int) else (len(values), place.stop - place.start)
            if values.shape != wanted or len(values) == 0 or len(values) > ROWS_MAX:
                return "shape"
            if rows not in (-1, len(values)):
                return "shape"
            rows = len(values)
            if not np.isfinite(values).all():
                return "nonfinite"
            if (values < layout.low[place] - FAR).any() or (values > layout.high[place] + FAR).any():
                return "range"
        if (rows > 1 and dt <= 0) or dt < 0 or dt > FUTURE_NS or t0 < now_ns - PAST_NS:
            return "times"
        if t0 > now_ns + FUTURE_NS:
            return "future"
        return "expired" if expires <= now_ns else None
    except (TypeError, ValueError, AttributeError, OverflowError):
        return "dtype"  # not even the containers are what they should be


class Plan:
    """What is asked of all joints from now on: sample it with times that do not go back."""

    def __init__(self, t_ns: Sequence[int], rows: F64, expires_ns: int, source: str) -> None:
        self._t = list(t_ns)
        self._rows = rows  # (K, M)
        # Differences first: float64 holds only 104 days of nanoseconds.
        spans = np.array([b - a for a, b in zip(self._t, self._t[1:], strict=False)]) * 1e-9
        self._slopes = np.diff(rows, axis=0) / spans[:, None]  # (K - 1, M) per s
        self._rest = np.zeros(rows.shape[1])
        self._k = 0
        self.expires_ns = expires_ns
        self.source = source

    @property
    def end_ns(self) -> int:
        """Time of the last row."""
        return self._t[-1]

    def sample(self, t_ns: int) -> tuple[F64, F64]:
        """Target positions and velocities at `t_ns`, (M,) each; before the first row and after the last: that
        row, at rest."""
        t, k = self._t, self._k
        last = len(t) - 1
        while k < last and t[k + 1] <= t_ns:
            k += 1
        self._k = k
        if k == last or t_ns < t[0]:
            return self._rows[k], self._rest
        slope = self._slopes[k]
        return self._rows[k] + slope * ((t_ns - t[k]) * 1e-9), slope

    def followed_by(self, chunk: ActionChunk, layout: Layout, now_ns: int, expiry_ns: int, held: F64) -> Plan:
        """The plan from `now_ns` on once the (sound) `chunk` is in; it goes on with this plan until then.

        Arms and grippers that the chunk does not name stay at `held` (M,) from its first row on.
        """
        rows = len(next(iter((*chunk.q.values(), *chunk.width_m.values()))))
        t0, dt = int(chunk.t0_ns), int(chunk.dt_ns)
        asked = np.tile(held, (rows, 1))
        for name, q in chunk.q.items():
            asked[:, layout.arms[name]] = q
        for name, width in chunk.width_m.items():
            asked[:, layout.grippers[name]] = width
        times = [t0 + k * dt for k in range(rows)]
        if t0 > now_ns:
            before = [now_ns]
            bridge = [self.sample(now_ns)[0]]
            for t, row in zip(self._t, self._rows, strict=True):
                if now_ns < t < t0:
                    before.append(t)
                    bridge.append(row)
            times, asked = before + times, np.vstack([*bridge, asked])
        expires = min(int(chunk.expires_ns), times[-1] + expiry_ns)
        return Plan(times, asked, expires, chunk.source)


def standing(at: F64, now_ns: int) -> Plan:
    """A plan that stands still at `at` (M,)."""
    return Plan([now_ns], at[None].copy(), now_ns, "")
