"""What we note of each episode beside LeRobot's metadata, one line of JSON an episode."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..robot.errors import DatasetError
from .layout import note_files


def load_notes(root: Path) -> dict[int, dict[str, Any]]:
    """What we note of each episode: its `info`, and `files` -> [bytes, crc32] as they were saved."""
    found: dict[int, dict[str, Any]] = {}
    for path in note_files(root):
        found |= read_notes(path)
    return found


def read_notes(path: Path) -> dict[int, dict[str, Any]]:
    """The notes in one file; `DatasetError` when it cannot be read."""
    found: dict[int, dict[str, Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path}: cannot be read ({error}); `twinloop dataset repair` sets it aside"
        ) from None
    for line in lines:
        try:
            note = json.loads(line)
            info, files = dict(note["info"]), _fingerprints(note.get("files", {}))
            found[int(note["episode_index"])] = {"info": info, "files": files}
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            raise DatasetError(
                f"{path}: not a line of episode info: {line[:60]!r}; `twinloop dataset repair` sets it aside"
            ) from None
    return found


def _fingerprints(files: Mapping[str, Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, (size, checksum) in files.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError(f"{name} leads out of the dataset")
        found[name] = [int(size), int(checksum)]
    return found


def note_line(index: int, info: Mapping[str, Any], files: Mapping[str, list[int]]) -> str:
    """One line of a notes file."""
    note = {"episode_index": index, "info": dict(info), "files": dict(files)}
    return json.dumps(note, ensure_ascii=False) + "\n"
