"""Memory rings between two processes: how long from the write until it is read. One JSON line a figure.

Run: python benchmarks/rings.py [--quick]

A writer in a process of its own writes a state (900 bytes) 200 times a second, or a 640x480 picture 30 times; this
process looks without pause, so that what is measured is the ring and not somebody's sleep. Peer in the same run: the
same bytes through a `multiprocessing.Pipe`, read as soon as they come.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import struct
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from _figures import emit
from twinloop.robot.process.ring import RingReader, RingWriter
from twinloop.robot.process.sessions import memory

STAMP = struct.Struct("<q")
MESSAGES = {"state of 900 bytes": (900, 200.0), "picture of 640x480": (640 * 480 * 3, 30.0)}
CAPACITY = 8 << 20  # bytes


def write(path: Path | None, pipe: Connection, size: int, hz: float, count: int) -> None:
    """Write `count` messages that begin with the time of writing, into the ring, or the pipe for no path."""
    ring = None if path is None else RingWriter(path, CAPACITY)
    if ring is not None:
        ring.open()
    rest, due = os.urandom(size - STAMP.size), time.monotonic() + 0.2
    pipe.send_bytes(b"ready")
    for _ in range(count):
        due += 1.0 / hz
        time.sleep(max(0.0, due - time.monotonic()))
        data = STAMP.pack(time.monotonic_ns()) + rest
        if ring is None:
            pipe.send_bytes(data)
        else:
            ring.write(1, data, 0)
    pipe.recv_bytes()  # until all is read


def through(kind: str, size: int, hz: float, count: int) -> np.ndarray:
    """Time from before the write until the bytes are here, us."""
    context = mp.get_context("spawn")
    path = memory() / f"twinloop-bench-{os.getpid()}"
    ours, theirs = context.Pipe()
    if kind == "ring":
        first = RingWriter(path, CAPACITY)
        first.open()
        first.close()
    writer = context.Process(
        target=write, args=(path if kind == "ring" else None, theirs, size, hz, count), daemon=True
    )
    writer.start()
    seen: list[int] = []
    try:
        ours.recv_bytes()
        if kind == "ring":
            reader = RingReader(path)
            reader.open()
            while len(seen) < count:
                for message in reader.poll():
                    seen.append(time.monotonic_ns() - STAMP.unpack_from(message.data)[0])
            reader.close()
        else:
            while len(seen) < count:
                if ours.poll(0.0):
                    data = ours.recv_bytes()
                    seen.append(time.monotonic_ns() - STAMP.unpack_from(data)[0])
        ours.send_bytes(b"done")
        writer.join()
    finally:
        path.unlink(missing_ok=True)
    return np.array(seen) * 1e-3


def alone(size: int, count: int) -> np.ndarray:
    """What writing and reading costs in one process, us."""
    path = memory() / f"twinloop-bench-{os.getpid()}"
    ring, reader, spent = RingWriter(path, CAPACITY), RingReader(path), []
    ring.open()
    try:
        reader.open()
        data = os.urandom(size)
        for k in range(count):
            begin = time.perf_counter_ns()
            ring.write(1, data, k)
            reader.latest()
            spent.append((time.perf_counter_ns() - begin) * 1e-3)
        reader.close()
        ring.close()
    finally:
        path.unlink(missing_ok=True)
    return np.array(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    seconds = 4.0 if parser.parse_args().quick else 20.0
    for name, (size, hz) in MESSAGES.items():
        spent = alone(size, 5000 if size < 1000 else 300)
        emit(
            f"ring, {name}: write and read in one process, p50",
            float(np.median(spent)),
            "us",
            p99=round(float(np.percentile(spent, 99)), 1),
        )
        found = {kind: through(kind, size, hz, round(seconds * hz)) for kind in ("ring", "pipe")}
        for kind, values in found.items():
            p50, p99 = np.percentile(values, [50, 99])
            emit(f"{kind}, {name}: from one process to the other, p50", float(p50), "us", p99=round(p99, 1))
        emit(
            f"ring, {name}: the pipe's time over ours, p50",
            float(np.median(found["pipe"]) / np.median(found["ring"])),
            "ratio",
            at_least=1.0,
        )
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    main()
