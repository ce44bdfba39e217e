"""Statistics of episodes, the ten numbers that LeRobot keeps for each feature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..robot.types import F64, U8

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
MEASURES = ("min", "max", "mean", "std", "count", *QUANTILES)
# feature -> measure -> nested list; vectors (d,), images (3, 1, 1) in 0..1, count (1,)
Stats = dict[str, dict[str, Any]]


def column_stats(values: np.ndarray) -> dict[str, Any]:
    """Statistics of a column `(n,)` or `(n, d)`, n >= 1. Values that are not finite are left out."""
    whole = values.dtype.kind == "i"
    table = values.reshape(len(values), -1).astype(np.float64)
    finite = np.isfinite(table)
    if not finite.all():
        # A component without one finite value counts as 0, so that stats.json stays plain JSON.
        table = np.where(finite, table, np.nan)
        table[:, ~finite.any(axis=0)] = 0.0
    quantiles = np.nanquantile(table, list(QUANTILES.values()), axis=0)
    found: dict[str, Any] = {"min": np.nanmin(table, axis=0), "max": np.nanmax(table, axis=0)}
    if whole:  # LeRobot keeps whole numbers whole here; its loader wants one type per column
        found = {key: value.astype(np.int64) for key, value in found.items()}
    found |= {"mean": np.nanmean(table, axis=0), "std": np.nanstd(table, axis=0)}
    found["count"] = np.array([len(table)], np.int64)
    found |= dict(zip(QUANTILES, quantiles, strict=True))
    return {key: value.tolist() for key, value in found.items()}


def image_stats(samples: Sequence[U8]) -> dict[str, Any]:
    """Statistics per channel of sampled pictures (h, w, 3), scaled to 0..1, shape (3, 1, 1)."""
    histogram = np.zeros((3, 256), np.int64)
    for sample in samples:
        for channel in range(3):
            histogram[channel] += np.bincount(sample[..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255.0
    total = histogram.sum(axis=1)
    mean: F64 = histogram @ levels / total
    found: dict[str, Any] = {
        "min": np.array([levels[np.flatnonzero(row)[0]] for row in histogram]),
        "max": np.array([levels[np.flatnonzero(row)[-1]] for row in histogram]),
        "mean": mean,
        "std": np.sqrt(np.maximum(histogram @ levels**2 / total - mean**2, 0.0)),
    }
    cumulative = histogram.cumsum(axis=1) / total[:, None]
    for name, q in QUANTILES.items():
        found[name] = np.array([levels[np.searchsorted(row, q)] for row in cumulative])
    stats = {key: value.reshape(3, 1, 1).tolist() for key, value in found.items()}
    stats["count"] = [len(samples)]
    return {key: stats[key] for key in MEASURES}


def merge(parts: Iterable[Stats]) -> Stats:
    """Statistics over several parts, weighted by their counts as LeRobot does; quantiles are averages."""
    parts = list(parts)
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: _merge_feature([part[key] for part in parts if key in part]) for key in keys}


def _merge_feature(parts: list[dict[str, Any]]) -> dict[str, Any]:
    if len(parts) == 1:
        return parts[0]
    counts = np.array([part["count"] for part in parts], np.float64)  # (parts, 1)

    def stacked(name: str) -> np.ndarray:
        return np.array([part[name] for part in parts], np.float64)

    mean = stacked("mean")
    weight = counts.reshape(-1, *[1] * (mean.ndim - 1)) / counts.sum()
    total_mean = (mean * weight).sum(axis=0)
    variance = ((stacked("std") ** 2 + (mean - total_mean) ** 2) * weight).sum(axis=0)
    found: dict[str, Any] = {
        "min": np.array([part["min"] for part in parts]).min(axis=0).tolist(),
        "max": np.array([part["max"] for part in parts]).max(axis=0).tolist(),
        "mean": total_mean.tolist(),
        "std": np.sqrt(variance).tolist(),
        "count": [int(counts.sum())],
    }
    for name in QUANTILES:
        if all(name in part for part in parts):
            found[name] = (stacked(name) * weight).sum(axis=0).tolist()
    return found


def as_columns(stats: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`stats/FEATURE/MEASURE` columns of one row of meta/episodes."""
    return {f"stats/{key}/{name}": value for key, part in stats.items() for name, value in part.items()}


def damaged(row: Mapping[str, Any]) -> str:
    """The first feature of a row of meta/episodes whose statistics are incomplete or no numbers; "" = none."""
    for key, part in from_columns(row).items():
        try:
            shapes = {np.asarray(part[name], np.float64).shape for name in ("min", "max", "mean", "std")}
            counts = np.asarray(part["count"], np.float64)
            if len(shapes) != 1 or counts.shape != (1,) or not counts[0] > 0:
                return key
        except (KeyError, TypeError, ValueError):
            return key
    return ""


def from_columns(row: Mapping[str, Any]) -> Stats:
    """The inverse of `as_columns`; columns without a value are left out."""
    found: Stats = {}
    for column, value in row.items():
        if column.startswith("stats/") and value is not None:
            key, _, name = column.removeprefix("stats/").rpartition("/")
            found.setdefault(key, {})[name] = value
    return found
