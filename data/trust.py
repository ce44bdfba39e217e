"""Which description of a dataset to trust: info.json, or our own record of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..robot.errors import DatasetError
from .disk import read_json
from .layout import DATA_PATH, INFO, SPEC, VIDEO_PATH, data_files, video_files
from .meta import info_json, load_info, read_table
from .schema import check_info, check_rows, mismatch
from .spec import spec_from_info


def short(error: DatasetError) -> str:
    """The message of an error without the path it starts with, and without its own way out."""
    return str(error).split(": ", 1)[-1].split(";")[0]


def trusted_info(root: Path) -> tuple[dict[str, Any], str]:
    """info.json as read, and ""; or as rebuilt from spec.json, and what is wrong with the one on disk.

    Raises `DatasetError` when there is no dataset, when a program of another version wrote it, and when neither
    file describes the data that lie beside it.
    """
    try:
        info = load_info(root)
        if not (wrong := _disagrees(root, info)):
            return info, ""
    except DatasetError as error:
        if (
            not (root / "meta").is_dir()
            or "codebase_version '" in str(error)
            or "twinloop format" in str(error)
        ):
            raise  # no dataset, or another version's
        if not (root / SPEC).exists():
            raise DatasetError(
                f"{error}; there is no {SPEC} to rebuild it from: restore it from a copy"
            ) from None
        wrong = short(error)
    rebuilt = own_record(root)
    if rebuilt is None or _disagrees(root, rebuilt):
        raise DatasetError(
            f"{root / INFO}: {wrong}, and there is no {SPEC} that fits the data to rebuild it from; "
            f"restore one of the two from a copy: the episodes stay as they are"
        )
    return rebuilt, wrong


def own_record(root: Path) -> dict[str, Any] | None:
    """info.json as our own record of the format gives it, the totals left at 0; None where there is none."""
    try:
        copy = read_json(root / SPEC)
        check_info(root / SPEC, {"total_episodes": 0, "total_frames": 0, **copy})
        return {**info_json(spec_from_info(copy), copy["features"], 0, 0, 0), "features": copy["features"]}
    except (DatasetError, KeyError):
        return None


def _disagrees(root: Path, info: Mapping[str, Any]) -> str:
    """What in `info` no readable data file bears out; "" when one does, or when there is none."""
    for key, usual in (("data_path", DATA_PATH), ("video_path", VIDEO_PATH)):
        files = data_files(root) if key == "data_path" else video_files(root)
        if (info.get(key) or usual) != usual and files:
            return f"{key} is '{info[key]}', the files lie at '{usual}'"
    first = ""
    for path in data_files(root):
        try:
            table = read_table(path)
            check_rows(table)
        except DatasetError:
            continue
        if not (wrong := mismatch(info, table)):
            return ""
        first = first or wrong
    return first
