"""The last seconds of everything the guard saw and did, in a ring of fixed size.

With a path the ring is a memory-mapped file: the kernel owns its pages, so it survives `kill -9` of this
process (not a power cut). File: one JSON line padded to `HEADER` bytes, then rows of little-endian float64.
Column 0 is the row's number, written last and -1 while the row is being written.
"""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..types import F64

log = logging.getLogger(__name__)

HEADER = 16384
FORMAT = "twinloop-blackbox-1"


class BlackBox:
    """A ring of `rows` rows with the named `columns` (the row number is added in front)."""

    def __init__(self, columns: Sequence[str], rows: int, path: Path | None = None) -> None:
        self.columns = ("row", *columns)
        self._rows = rows
        self._path = path
        self._map: mmap.mmap | None = None
        self._count = 0
        self._events: int | None = None  # descriptor
        self._ring: F64 = np.full((rows, len(self.columns)), -1.0)

    def open(self) -> None:
        """Make the file, if there is to be one; an older one is kept as `<name>.previous`. Where it cannot be made the
        ring is kept in memory alone, and the log says so."""
        if self._path is None:
            return
        head = json.dumps({"format": FORMAT, "columns": self.columns, "rows": self._rows}).encode()
        if len(head) >= HEADER:
            raise UsageError(f"black box: {len(self.columns)} columns do not fit in the header")
        size = HEADER + self._ring.nbytes
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for path in (self._path, events_path(self._path)):
                if path.exists():
                    os.replace(path, path.with_name(path.name + ".previous"))
            self._events = os.open(events_path(self._path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            with open(self._path, "w+b") as file:
                # Taken now: a page that cannot be had when it is written to would kill the process.
                os.posix_fallocate(file.fileno(), 0, size)
                self._map = mmap.mmap(file.fileno(), size)
        except OSError as error:  # the arm can be guarded without
            log.warning("black box %s: %s; kept in memory alone", self._path, error.strerror)
            return
        ring = np.frombuffer(self._map, dtype="<f8", offset=HEADER).reshape(self._ring.shape)
        ring[:] = self._ring
        self._ring = ring
        self._map[: len(head) + 1] = head + b"\n"

    def begin(self) -> F64:
        """The next row's cells (without the row number), to be filled and then `end`ed."""
        row = self._ring[self._count % self._rows]
        row[0] = -1.0
        return row[1:]

    def end(self) -> None:
        """The row is complete."""
        self._ring[self._count % self._rows, 0] = self._count
        self._count += 1

    def tell(self, t_ns: int, mode: str, reason: str) -> None:
        """The mode, or the reason for it, changed: a line of JSON beside the ring."""
        if self._events is not None:
            line = json.dumps({"t_ns": t_ns, "mode": mode, "reason": reason}) + "\n"
            with contextlib.suppress(OSError):  # a full disk is no reason to stop guarding
                os.write(self._events, line.encode())

    def rows(self) -> F64:
        """Copy of the complete rows, oldest first, (k, len(columns))."""
        return _in_order(self._ring)

    def close(self) -> None:
        """Keep the rows in memory and let go of the file (which stays)."""
        if self._map is not None:
            self._ring = self._ring.copy()
            self._map.flush()
            self._map.close()
            self._map = None
        if self._events is not None:
            os.close(self._events)
            self._events = None


def events_path(path: Path) -> Path:
    """Where the changes of mode stand: beside the black box; `<name>.previous` has `<name>.events.previous`."""
    if path.suffix == ".previous":
        return events_path(path.with_suffix("")).with_name(path.stem + ".events.previous")
    return path.with_name(path.name + ".events")


def read_events(path: Path) -> list[dict[str, Any]]:
    """Changes of mode of the black box at `path`, oldest first: t_ns, mode, reason."""
    found: list[dict[str, Any]] = []
    events = events_path(path)
    for line in events.read_text(errors="replace").splitlines() if events.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            found.append(
                {"t_ns": int(event["t_ns"]), "mode": str(event["mode"]), "reason": str(event["reason"])}
            )
    return found


def read_blackbox(path: Path) -> tuple[tuple[str, ...], F64]:
    """Column names and complete rows, oldest first, of the black box file at `path`.

    Raises `UsageError` when the file is no black box or is damaged.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    try:
        head = json.loads(raw[:HEADER].split(b"\n", 1)[0])
        if head["format"] != FORMAT:
            raise ValueError(head["format"])
        columns = tuple(head["columns"])
        ring = np.frombuffer(raw, dtype="<f8", offset=HEADER).reshape(head["rows"], len(columns))
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a Twinloop black box, or damaged ({error})") from None
    return columns, _in_order(ring)


def _in_order(ring: F64) -> F64:
    complete = ring[ring[:, 0] >= 0]
    return complete[np.argsort(complete[:, 0])]
