"""Messages from one process to others through a memory-mapped file; nobody waits for anybody.

The file is a header and a ring of bytes. A message stands at a position that only grows; the header's `head` is
moved behind it when it is complete, so that one whose writer was killed in the middle never appears. A reader that
was too slow loses what was written over, and counts it; a CRC tells what was written over while it was being read.
Header: magic, capacity, head, last (the position of the newest message), each 8 bytes, little-endian.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DeviceError, UsageError

MAGIC = int.from_bytes(b"TWLRING1", "little")
HEADER = 64
CAPACITY, HEAD, LAST = 1, 2, 3  # words of the header
ALIGN = 8
_RECORD = struct.Struct("<QqIIII")  # position, time ns, producer's pid, kind, size, CRC-32 of the rest
_CHECKED = struct.Struct("<QqIII")
GAP = 0  # kind of what fills the ring's end when the next message does not fit there
TRIES = 8

Part = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `kind` is above 0, `position` grows from message to message."""

    position: int
    t_ns: int
    pid: int
    kind: int
    data: bytes


class RingWriter:
    """Writes the ring at `path`, of `capacity` bytes; goes on behind what another writer left there."""

    def __init__(self, path: Path, capacity: int = 1 << 20) -> None:
        self.path = path
        self._capacity = capacity
        self._map: mmap.mmap | None = None
        self._words = np.zeros(HEADER // 8, dtype="<u8")

    def open(self) -> None:
        if not self.path.exists():
            fresh = self.path.with_name(f".{self.path.name}")
            with fresh.open("wb") as file:
                file.write(struct.pack("<QQQQ", MAGIC, self._capacity, 0, 0).ljust(HEADER, b"\0"))
                file.flush()
                _reserve(file.fileno(), HEADER + self._capacity, self.path)
            os.replace(fresh, self.path)
        self._map, self._words = _mapped(self.path, mmap.ACCESS_WRITE)
        self._capacity = int(self._words[CAPACITY])

    def write(self, kind: int, data: bytes | Sequence[Part], t_ns: int) -> int:
        """Append a message, whole or in parts; returns its position. Raises `UsageError` when it is larger than a
        quarter of the ring."""
        ring, words = self._map, self._words
        if ring is None:
            raise DeviceError(f"ring {self.path.name}: not open")
        parts = (data,) if isinstance(data, bytes) else data
        length = sum(len(part) for part in parts)
        size = _rounded(_RECORD.size + length)
        if size > self._capacity // 4:
            raise UsageError(
                f"ring {self.path.name}: a message of {length} bytes; limit {self._capacity // 4}"
            )
        at = int(words[HEAD])
        left = self._capacity - at % self._capacity
        if left < size:
            if left >= _RECORD.size:
                self._put(ring, at, GAP, (), 0, t_ns)
            at += left
        self._put(ring, at, kind, parts, length, t_ns)
        words[LAST] = at
        words[HEAD] = at + size
        return at

    def close(self) -> None:
        self._words = np.zeros(HEADER // 8, dtype="<u8")  # lets go of the map
        if self._map is not None:
            self._map.close()
            self._map = None

    def _put(
        self, ring: mmap.mmap, at: int, kind: int, parts: Sequence[Part], length: int, t_ns: int
    ) -> None:
        pid, place = os.getpid(), HEADER + at % self._capacity
        crc = zlib.crc32(_CHECKED.pack(at, t_ns, pid, kind, length))
        for part in parts:
            crc = zlib.crc32(part, crc)
        _RECORD.pack_into(ring, place, at, t_ns, pid, kind, length, crc)
        place += _RECORD.size
        for part in parts:
            ring[place : place + len(part)] = part
            place += len(part)


class RingReader:
    """Reads the ring at `path` from its newest message on (`from_start`: from its first); never writes."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self.path = path
        self.lost = 0  # bytes that were written over before they were read
        self.damaged = 0  # messages that were no message any more
        self._from_start = from_start
        self._map: mmap.mmap | None = None
        self._words = np.zeros(HEADER // 8, dtype="<u8")
        self._capacity = 0
        self._at = -1  # where to read on; not begun

    def open(self) -> None:
        """Begin, or go on where it was closed. Raises `DeviceError` when there is no ring."""
        try:
            self._map, self._words = _mapped(self.path, mmap.ACCESS_READ)
        except OSError as error:
            raise DeviceError(f"ring {self.path}: {error.strerror}") from None
        self._capacity = int(self._words[CAPACITY])
        head = int(self._words[HEAD])
        if not 0 <= self._at <= head:  # another ring stands there
            self._at = 0 if self._from_start else head

    def poll(self, most: int = 64) -> Iterator[Message]:
        """What has come since the last call, oldest first, `most` messages at most."""
        for _ in range(most):
            head = int(self._words[HEAD])
            if self._at >= head:
                return
            if head - self._at > self._capacity * 3 // 4:  # the writer may be at work on it
                self.lost += head - self._at
                self._at = head
                return
            left = self._capacity - self._at % self._capacity
            message = self._read(self._at) if left >= _RECORD.size else None
            if left < _RECORD.size or (message is not None and message.kind == GAP):
                self._at += left
                continue
            if message is None:
                self.damaged += 1
                self._at = head
                return
            self._at += _rounded(_RECORD.size + len(message.data))
            yield message

    def latest(self) -> Message | None:
        """The newest message; None when there is none, or the writer is too fast to be read."""
        for _ in range(TRIES):
            if not int(self._words[HEAD]):
                return None
            message = self._read(int(self._words[LAST]))
            if message is not None:
                return message
        return None

    def close(self) -> None:
        self._words = np.zeros(HEADER // 8, dtype="<u8")
        if self._map is not None:
            self._map.close()
            self._map = None

    def _read(self, at: int) -> Message | None:
        ring = self._map
        if ring is None:
            raise DeviceError(f"ring {self.path.name}: not open")
        place = HEADER + at % self._capacity
        position, t_ns, pid, kind, size, crc = _RECORD.unpack_from(ring, place)
        if position != at or size > self._capacity:
            return None
        data = ring[place + _RECORD.size : place + _RECORD.size + size]
        if zlib.crc32(data, zlib.crc32(_CHECKED.pack(position, t_ns, pid, kind, size))) != crc:
            return None
        return Message(position, t_ns, pid, kind, data)


def _reserve(descriptor: int, size: int, path: Path) -> None:
    """Take the room now: a page that cannot be had when it is written to kills the process."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise DeviceError(
            f"{path}: {error.strerror}; {size / 1e6:.1f} MB are needed there, in memory: free some"
        ) from None


def _mapped(path: Path, access: int) -> tuple[mmap.mmap, np.ndarray]:
    with path.open("r+b" if access == mmap.ACCESS_WRITE else "rb") as file:
        ring = mmap.mmap(file.fileno(), 0, access=access)
    words = np.frombuffer(ring, "<u8", HEADER // 8)  # aligned: a word is read and written as one
    if int(words[0]) != MAGIC:
        raise DeviceError(f"ring {path}: is none")
    return ring, words


def _rounded(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
