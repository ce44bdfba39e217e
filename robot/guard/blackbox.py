"""The last seconds of everything the guard saw and did, in a ring of fixed size.

With a path the ring is a memory-mapped file: the kernel owns its pages, so it survives `kill -9` of this
process (not a power cut). File: one JSON line padded to `HEADER` bytes, then rows of little-endian float64.
Column 0 is the row's number, written last and -1 while the row is being written.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..types import F64

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
        self._ring: F64 = np.full((rows, len(self.columns)), -1.0)

    def open(self) -> None:
        """Make the file, if there is to be one; an older one is kept as `<name>.previous`."""
        if self._path is None:
            return
        head = json.dumps({"format": FORMAT, "columns": self.columns, "rows": self._rows}).encode()
        if len(head) >= HEADER:
            raise UsageError(f"black box: {len(self.columns)} columns do not fit in the header")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            os.replace(self._path, self._path.with_name(self._path.name + ".previous"))
        size = HEADER + self._ring.nbytes
        with open(self._path, "w+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
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


def read_blackbox(path: Path) -> tuple[tuple[str, ...], F64]:
    """Column names and complete rows, oldest first, of the black box file at `path`.

    Raises `UsageError` when the file is no black box or is damaged.
    """
    raw = Path(path).read_bytes()
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
