"""Checks of what the command line asks for, before any work begins."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..robot.errors import UsageError

SEEDS = (0, 2**31 - 1)
EPISODES = (1, 100_000)
PICTURE = (16, 4096)  # px, as in a rig file


def within(option: str, value: float, limits: tuple[float, float], unit: str = "") -> None:
    """Raise `UsageError` unless `value` lies within `limits`, ends included; NaN does not."""
    low, high = limits
    if not low <= value <= high:
        raise UsageError(f"{option} {value}: must be within {low:g}..{high:.10g}{unit and ' ' + unit}")


def picture(option: str, size: tuple[int, int]) -> None:
    """Raise `UsageError` unless `size` (width, height) px is one that cameras may have."""
    for side in size:
        within(option, side, PICTURE, "px")
        if side % 2:
            raise UsageError(f"{option} {side}: must be an even number of pixels, as video wants it")


def output_file(option: str, path: Path, suffix: str = "") -> None:
    """Raise `UsageError` unless the file `path` can be written and ends in `suffix`; makes its folder."""
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file in it")
    if suffix and path.suffix.lower() != suffix:
        raise UsageError(f"{option} {path}: must end in {suffix}")
    output_folder(option, path.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"{option} {path}: cannot be written; choose another place, or mend its permissions")


def output_folder(option: str, path: Path) -> None:
    """Raise `UsageError` unless `path` is, or can become, a folder to write in; makes it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # permissions alone do not tell: a mount may be read-only
            pass
    except FileExistsError:
        raise UsageError(f"{option} {path}: is a file; name a folder") from None
    except NotADirectoryError:
        raise UsageError(f"{option} {path}: one of its parents is a file; choose another place") from None
    except OSError as error:
        reason = (error.strerror or "cannot be written").lower()
        raise UsageError(f"{option} {path}: {reason}; choose another place") from None
