"""Durable files: written under a temporary name, synced, renamed; and disk faults in one clear line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..robot.errors import DatasetError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def is_full(error: BaseException) -> bool:
    """True when the error says that the disk, or the user's quota on it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def explain(error: OSError, path: Path, doing: str) -> DatasetError:
    """Turn an `OSError` met while `doing` something at `path` into one line with the way out."""
    if is_full(error):
        return DatasetError(f"{path}: disk full while {doing} ({_free(path)}); free some space and try again")
    if error.errno in _READ_ONLY:
        return DatasetError(
            f"{path}: cannot write while {doing}: {error.strerror}; choose a folder that you may write to"
        )
    return DatasetError(f"{path}: {doing} failed: {error.strerror or error}")


def _free(path: Path) -> str:
    for folder in (path, *path.parents):
        if folder.exists():
            return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB free"
    return "free space unknown"


def sync(path: Path) -> None:
    """Force the file or folder at `path` to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, sync it, and rename it into place.

    A kill at any moment leaves either the old file or the new one, never half of one. An `OSError` names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.tmp"
    try:
        write(temporary)
        sync(temporary)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = str(path)
        temporary.unlink(missing_ok=True)
        raise
    os.replace(temporary, path)
    sync(path.parent)


def fingerprint(path: Path) -> list[int]:
    """`[bytes, crc32]` of a file, to notice later that it changed."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return [path.stat().st_size, checksum]


def write_text(path: Path, text: str) -> None:
    """Write a file of text, durably."""
    replace_durably(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, durably."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. `DatasetError` when it is missing, cut off or not an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; is this the root of a dataset?") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path}: not valid JSON ({error}); `twinloop dataset repair` rebuilds it"
        ) from None
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
