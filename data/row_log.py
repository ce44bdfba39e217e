"""The rows of the open episode, on disk within a tenth of a second: an Arrow IPC stream."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .spec import DatasetSpec

FLUSH_S = 0.1  # longest time that a row waits in memory


def row_schema(spec: DatasetSpec) -> pa.Schema:
    """Arrow columns of one row: vectors, scalars, and the dropped marks of the cameras."""
    fields = []
    for key, names in spec.vectors.items():
        single = len(names) == 1
        fields.append((key, pa.float32() if single else pa.list_(pa.float32(), len(names))))
    fields += [(key, pa.type_for_alias(dtype)) for key, dtype in spec.scalars.items()]
    fields += [(key, pa.int64()) for key in spec.dropped]
    return pa.schema(fields)


class RowLog:
    """Appends rows to a stream file from a thread of its own, so that a slow disk never delays the loop.

    What was written before a kill stays readable: a stream needs no footer, and each batch goes out in
    one `write`. A fault of the disk is kept in `error` and ends the log; rows after it are not written.
    """

    def __init__(self, path: Path, spec: DatasetSpec) -> None:
        self._path = path
        self._schema = row_schema(spec)
        self._batch_rows = max(1, int(FLUSH_S * spec.fps))
        self._pending: list[Sequence[Any]] = []
        self._queue: queue.SimpleQueue[list[Sequence[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="rows", daemon=True)
        self._descriptor = -1
        self._given = self._written = 0  # rows
        self.error: OSError | None = None

    def open(self) -> None:
        """Create the file. `OSError` when the disk refuses."""
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        _write_all(self._descriptor, self._schema.serialize())
        self._thread.start()

    def append(self, values: Sequence[Any]) -> None:
        """Add one row, values in the order of the schema. Returns at once."""
        self._pending.append(values)
        if len(self._pending) >= self._batch_rows:
            self._queue.put(self._pending)
            self._given += len(self._pending)
            self._pending = []

    @property
    def backlog(self) -> int:
        """Rows handed to the thread that it has not written yet; those of the last 0.1 s are not among them."""
        return self._given - self._written

    def close(self) -> None:
        """Write what is pending and end the stream; may be called twice."""
        if self._descriptor < 0:
            return
        if self._pending:
            self._queue.put(self._pending)
            self._pending = []
        self._queue.put(None)
        self._thread.join()
        os.close(self._descriptor)
        self._descriptor = -1

    def _work(self) -> None:
        while (rows := self._queue.get()) is not None:
            try:
                if self.error is None:
                    _write_all(self._descriptor, self._batch(rows).serialize())
            except OSError as error:
                self.error = error
            self._written += len(rows)

    def _batch(self, rows: list[Sequence[Any]]) -> pa.RecordBatch:
        columns = []
        for field, values in zip(self._schema, zip(*rows, strict=True), strict=True):
            if isinstance(field.type, pa.FixedSizeListType):
                flat = pa.array(np.concatenate(values))
                columns.append(pa.FixedSizeListArray.from_arrays(flat, field.type.list_size))
            else:
                columns.append(pa.array(values, field.type))
        return pa.record_batch(columns, schema=self._schema)


def _write_all(descriptor: int, buffer: pa.Buffer) -> None:
    view = memoryview(buffer)
    while view:
        view = view[os.write(descriptor, view) :]


def read_rows(path: Path, schema: pa.Schema) -> pa.Table:
    """All whole batches of a row log, however it ended. An unreadable start gives no rows."""
    batches: list[pa.RecordBatch] = []
    try:
        with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as stream:
            if stream.schema != schema:
                raise pa.ArrowInvalid(f"columns {stream.schema.names}, expected {schema.names}")
            for batch in stream:
                batches.append(batch)
    except (OSError, pa.ArrowInvalid):
        pass  # the file ends where its writer was killed
    return pa.Table.from_batches(batches, schema)


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column of vectors as `(n, d)`, of plain numbers as `(n, 1)`."""
    if not len(column):
        return np.zeros((0, 1))
    whole = pa.concat_arrays(column.chunks)
    flat = whole.flatten() if isinstance(whole, (pa.FixedSizeListArray, pa.ListArray)) else whole
    return flat.to_numpy(zero_copy_only=False).reshape(len(whole), -1)


def as_columns(values: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """numpy columns `(n,)` or `(n, d)` as Arrow: d > 1 becomes a list of fixed size, d = 1 a plain value."""
    found: dict[str, pa.Array] = {}
    for key, array in values.items():
        if array.ndim == 2 and array.shape[1] > 1:
            flat = pa.array(np.ascontiguousarray(array).ravel())
            found[key] = pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
        else:
            found[key] = pa.array(array.reshape(-1))
    return found
