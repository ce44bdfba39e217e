"""The guard's process on the emulated arm: lateness, reactions, rings. One JSON line a figure.

Run: python benchmarks/process.py [--quick]

The guard runs at 200 and 500 Hz in its own process while torch saturates two threads of this one; beside it, in the
same run and under the same load, a bare loop on `clock_nanosleep` in a process of its own (the floor of this machine),
and a loop in the agent's own process that sleeps what is left of its period. Reaction times are read off the guard's
own states. Shared machines are noisy: look at ratios, and at what the floor shows.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from _figures import emit
from twinloop.robot.clock import RealClock
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.plan import HELLO, STATUS_RING
from twinloop.robot.process.ring import RingReader, RingWriter
from twinloop.robot.process.status import Status, StatusCodec
from twinloop.robot.rig import Rig, load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.emulate.process import EmulatorProcess

MS = 1_000_000
CLOCK = RealClock()
FLOOR = """
import ctypes, os, sys, time
import numpy as np
hz, seconds = float(sys.argv[1]), float(sys.argv[2])
try: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
except OSError: pass
period, late = round(1e9 / hz), []
due = time.monotonic_ns()
end = due + seconds * 1e9
while due < end:
    due += period
    while (left := due - time.monotonic_ns()) > 0:
        time.sleep(left * 1e-9)
    late.append(time.monotonic_ns() - due)
    if late[-1] > 3 * period: due = time.monotonic_ns()
print(" ".join(map(str, late)))
"""


@contextmanager
def busy(threads: int = 2) -> Iterator[None]:
    """Saturate `threads` of this process with torch, as a policy's inference would; nothing for 0."""
    ended = threading.Event()

    def work() -> None:
        import torch

        weights, x = torch.randn(768, 768), torch.randn(64, 768)
        while not ended.is_set():
            x = torch.tanh(x @ weights)

    running = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in running:
            thread.join()


def watch(guard: GuardProcess, seconds: float) -> list[Status]:
    """Every status of the guard for so long, while it is sent a chunk at 30 Hz."""
    assert guard._folder is not None
    ring, codec, seen = RingReader(guard._folder / STATUS_RING), StatusCodec(guard.rig), []
    ring.open()
    start, end = guard.arm_states["arm"].q.copy(), CLOCK.now() + seconds * 1e9
    while CLOCK.now() < end:
        now = CLOCK.now()
        q = start + [0.2 * np.sin(2e-9 * (now % 10**12)), 0, 0, 0, 0]
        guard.submit(ActionChunk(now, 33 * MS, {"arm": q[None]}, {}, now + 100 * MS))
        CLOCK.sleep_until(now + 33 * MS)
        seen += [codec.unpack(message.data) for message in ring.poll(1000)]
    return seen


def lateness(name: str, late_ms: np.ndarray, missed: float, **more: object) -> float:
    p50, p99, p999 = np.percentile(late_ms, [50, 99, 99.9])
    emit(
        f"{name}: p99",
        p99,
        "ms",
        p50=round(p50, 4),
        p999=round(p999, 3),
        missed_percent=round(100 * missed, 3),
        **more,
    )
    return float(p99)


def at_rate(rig: Rig, hz: float, seconds: float, threads: int) -> None:
    """The guard at `hz`, the bare loop, and a loop in the busy process, one after the other under the same load."""
    emulator = EmulatorProcess(rig)
    emulator.open()
    load = f"{hz:g} Hz, beside {threads} torch threads" if threads else f"{hz:g} Hz, nothing beside"
    try:
        fast = replace(rig, guard=replace(rig.guard, rate_hz=hz))
        guard = GuardProcess(fast, emulator.paths)
        guard.open()
        with busy(threads):
            seen = watch(guard, seconds)
            floor = subprocess.run(
                [sys.executable, "-c", FLOOR, str(hz), str(seconds)],
                capture_output=True,
                text=True,
                check=True,
            )
            inside = in_process(hz, min(seconds, 5.0))
        guard.close(unparked=True)
    finally:
        emulator.close()
    period_ms = 1000.0 / hz
    ticks, missed = seen[-1].ticks - seen[0].ticks, seen[-1].missed - seen[0].missed
    bare = np.array([int(x) for x in floor.stdout.split()]) * 1e-6
    best = lateness(f"bare loop, {load}", bare, float((bare > period_ms).mean()))
    late = np.array([status.late_ns for status in seen]) * 1e-6
    lateness(
        f"guard, {load}",
        late,
        missed / max(1, ticks + missed),
        ratio_to_bare=round(np.percentile(late, 99) / best, 2),
    )
    lateness(f"loop in the agent's process, {load}", inside, float((inside > period_ms).mean()))
    read = np.array([status.arms["arm"].t_ns - status.t_ns for status in seen]) * 1e-6
    emit(
        f"from the tick to the middle of its reading, {load}: p99",
        float(np.percentile(read, 99)),
        "ms",
        p50=round(float(np.median(read)), 3),
    )


def in_process(hz: float, seconds: float) -> np.ndarray:
    """A loop that sleeps what is left of its period, in this process; ms late against its own schedule."""
    late, begin, k = [], time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        np.clip(np.arange(6.0), 0.0, 3.0)
        time.sleep(max(0.0, 1.0 / hz - (time.perf_counter() - start)))
        k += 1
        late.append(1000.0 * (time.perf_counter() - start - 1.0 / hz))
    return np.array(late)


def reactions(rig: Rig, times: int) -> None:
    """How long after an agent's last word the arm holds, and after an e-stop it brakes."""
    with EmulatorProcess(rig) as emulator:
        guard = GuardProcess(rig, emulator.paths)
        guard.open()
        expiry, stop = [], []
        assert guard._folder is not None
        for _ in range(times):
            watch(guard, 0.4)
            last = CLOCK.now()
            while guard.mode == "run":
                CLOCK.sleep_until(CLOCK.now() + MS)
            status = guard.status
            assert status is not None
            expiry.append((status.t_ns - last) * 1e-6)
            watch(guard, 0.4)
            pressed = CLOCK.now()
            guard.estop("benchmark")
            while guard.status is not None and guard.status.mode != "estop":
                CLOCK.sleep_until(CLOCK.now() + 200_000)
            stop.append((guard.status.t_ns - pressed) * 1e-6 if guard.status else np.nan)
            CLOCK.sleep_until(CLOCK.now() + 500 * MS)
            guard.rearm()
        emit(
            "hung agent: last chunk to hold, worst",
            max(expiry),
            "ms",
            at_most=140,
            median=round(float(np.median(expiry)), 1),
        )
        emit(
            "e-stop: press to the tick that brakes, worst",
            max(stop),
            "ms",
            at_most=10,
            median=round(float(np.median(stop)), 2),
        )
        pid = json.loads((guard._folder / HELLO).read_text())["pid"]
        os.kill(pid, signal.SIGKILL)
        killed = CLOCK.now()
        while guard.status is None or guard.status.epoch == 0:
            CLOCK.sleep_until(CLOCK.now() + MS)
        emit("killed guard: until the next one holds the arm", (CLOCK.now() - killed) * 1e-9, "s")
        CLOCK.sleep_until(CLOCK.now() + 500 * MS)
        guard.close(unparked=True)


def rings(folder: Path) -> None:
    """What a message costs, in one process: write and read 900 bytes, and a 640x480 picture."""
    for name, size, count in (
        ("state of 900 bytes", 900, 20_000),
        ("picture of 640x480", 640 * 480 * 3, 500),
    ):
        path = folder / name.replace(" ", "-")
        writer = RingWriter(path, 8 << 20)
        writer.open()
        reader = RingReader(path)
        reader.open()
        data, spent = os.urandom(size), []
        for k in range(count):
            begin = time.perf_counter_ns()
            writer.write(1, data, k)
            reader.latest()
            spent.append(time.perf_counter_ns() - begin)
        emit(
            f"ring, {name}: write and read",
            float(np.median(spent)) * 1e-3,
            "us",
            p99=round(float(np.percentile(spent, 99)) * 1e-3, 1),
        )
        writer.close()
        reader.close()
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rig = load_rig("so101")
    seconds = 4.0 if quick else 20.0
    for threads in (0, 2):
        for hz in (200.0,) if quick else (200.0, 500.0):
            at_rate(rig, hz, seconds, threads)
    reactions(rig, 3 if quick else 10)
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path.cwd()
    rings(memory)
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    main()
