"""What info.json must look like before anything relies on it, and whether it describes the data beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from ..robot.errors import DatasetError
from .layout import DATA_PATH, VIDEO_PATH

LARGEST = 2**31 - 1
FPS = (1, 1000)
ROW_COLUMNS = ("episode_index", "frame_index", "index", "timestamp", "task_index")  # every data file has them
TOLERANCE_S = 1e-4  # how far LeRobot's loader lets a picture be from its row


def check_info(path: Path, info: Mapping[str, Any]) -> None:
    """Raise one `DatasetError` that names every field of info.json which cannot be what it says."""
    wrong = [
        f"{key}: {info[key]!r:.60} is no count"
        for key in ("total_episodes", "total_frames")
        if not _count(info[key])
    ]
    if not (_count(info["fps"]) and FPS[0] <= info["fps"] <= FPS[1]):
        wrong.append(f"fps: {info['fps']!r:.60} must be a whole number within {FPS[0]}..{FPS[1]} Hz")
    if not isinstance(info.get("twinloop", {}), dict):
        wrong.append(f"twinloop: {info['twinloop']!r:.60} is no mapping")
    elif not _count(info.get("twinloop", {}).get("format", 1)):
        wrong.append(f"twinloop.format: {info['twinloop']['format']!r:.60} is no count")
    if not isinstance(info.get("robot_type") or "", str):
        wrong.append(f"robot_type: {info['robot_type']!r:.60} is no text")
    for key, usual in (("data_path", DATA_PATH), ("video_path", VIDEO_PATH)):
        if fault := _template_fault(info.get(key) or usual):
            wrong.append(f"{key}: {info[key]!r:.80} {fault}")
    features = info["features"]
    if isinstance(features, dict):
        wrong += [f"features.{key}: {fault}" for key, f in features.items() if (fault := _feature_fault(f))]
    else:
        wrong.append(f"features: {features!r:.60} is no mapping")
    if wrong:
        raise DatasetError(f"{path}: {'; '.join(wrong[:4])}; `twinloop dataset repair` rebuilds it")


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _template_fault(template: Any) -> str:
    try:
        name = PurePosixPath(template.format(chunk_index=1, file_index=2, video_key="x"))
    except (AttributeError, LookupError, ValueError, TypeError):
        return f"is no template; usual: {DATA_PATH}"
    return "leads out of the dataset" if name.is_absolute() or ".." in name.parts else ""


def _feature_fault(feature: Any) -> str:
    if not isinstance(feature, dict):
        return "is no mapping"
    dtype, shape = feature.get("dtype"), feature.get("shape")
    if not isinstance(dtype, str):
        return f"dtype {dtype!r:.40} is no text"
    if not isinstance(shape, list) or not shape or not all(_count(size) and size for size in shape):
        return f"shape {shape!r:.40} is no list of sizes"
    if dtype in ("video", "image") and len(shape) != 3:
        return f"shape {shape} of a picture; (height, width, 3) expected"
    return ""


def check_rows(table: pa.Table) -> None:
    """Raise `DatasetError` unless `table` has the columns that place its rows, whole and as numbers."""
    for key in ROW_COLUMNS:
        if key not in table.column_names:
            raise DatasetError(f"has no column {key}")
        column = table.column(key)
        whole = pa.types.is_integer(column.type) or key == "timestamp" and pa.types.is_floating(column.type)
        if not whole or column.null_count:
            raise DatasetError(f"column {key} holds {column.type} and {column.null_count} empty values")


def mismatch(info: Mapping[str, Any], table: pa.Table) -> str:
    """What in a sound `info` cannot be true of the rows in `table`; "" when it fits."""
    if missing := [key for key in ROW_COLUMNS if key not in info["features"]]:
        return f"features: lacks {', '.join(missing[:3])}"
    plain = {key: f for key, f in info["features"].items() if f["dtype"] not in ("video", "image")}
    if missing := [key for key in plain if key not in table.column_names]:
        return f"features: the data lack {', '.join(missing[:3])}"
    for key, feature in plain.items():
        kind = table.column(key).type
        size = kind.list_size if pa.types.is_fixed_size_list(kind) else None
        if size is not None and feature["shape"] != [size]:
            return f"features.{key}: shape {feature['shape']}, the data have [{size}]"
    steps, times = np.asarray(table.column("frame_index")), np.asarray(table.column("timestamp"))
    late = np.abs(times - (steps / info["fps"]).astype(np.float32))[steps > 0] > TOLERANCE_S
    if late.size and late.all():
        return f"fps: {info['fps']}, by their timestamps the rows are at another rate"
    return ""
