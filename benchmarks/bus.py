"""A bus cycle against the time its bytes need on the wire, and against the vendor's SDK. One JSON line a figure.

Run: python benchmarks/bus.py [--quick]

One cycle is what a driver asks every 5 ms: the feedback of all servos (sync read), then a goal for each (sync write).
Both sides in turns on the same emulated line, which carries every byte at the wire's speed; CPU time is this process's.
The line's process needs the same cores, and wakes up for every answer: its CPU time is shown beside.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
from _figures import emit
from _line import LineProcess
from _sides import DYNAMIXEL, FEETECH, SETTLE_S, Protocol, ours, theirs


def timed(side: Callable, protocol: Protocol, path: str, cycles: int) -> tuple[np.ndarray, float, int]:
    """Times of the whole cycles, ms, back to back; CPU time of this process a cycle, us; cycles that missed answers."""
    cycle, close = side(protocol, path)
    try:
        for _ in range(20):
            cycle()
        spent, incomplete = [], 0
        cpu = time.process_time()
        for _ in range(cycles):
            begin = time.perf_counter_ns()
            whole = cycle()
            incomplete += not whole
            if whole:
                spent.append((time.perf_counter_ns() - begin) * 1e-6)
        return np.array(spent), 1e6 * (time.process_time() - cpu) / cycles, incomplete
    finally:
        close()
        time.sleep(SETTLE_S)  # what is still on the line is nobody's


def compare(protocol: Protocol, rounds: int, cycles: int) -> None:
    """Figures of one vendor's line."""
    wire = protocol.wire_ms()
    emit(f"{protocol.name}: wire time of a cycle", wire, "ms")
    found: dict[str, list[tuple[np.ndarray, float, float]]] = {"ours": [], "SDK": []}
    missed = dict.fromkeys(found, 0)
    with LineProcess(protocol.vendor, protocol.baud) as line:
        for _ in range(rounds):
            for name, side in (("ours", ours), ("SDK", theirs)):
                before = line.cpu_s
                spent, cpu, incomplete = timed(side, protocol, line.path, cycles)
                missed[name] += incomplete
                found[name].append((spent, cpu, 1e6 * (line.cpu_s - before) / cycles))
    times = {name: np.concatenate([spent for spent, _, _ in runs]) for name, runs in found.items()}
    cpus = {name: min(cpu for _, cpu, _ in runs) for name, runs in found.items()}
    for name, values in times.items():
        p50, p99 = np.percentile(values, [50, 99])
        emit(
            f"{protocol.name}, {name}: cycle, p50",
            float(p50),
            "ms",
            p99=round(float(p99), 3),
            over_wire=round(float(p50 / wire), 3),
            incomplete_percent=round(100.0 * missed[name] / (len(values) + missed[name]), 3),
            cpu_us=round(cpus[name], 1),
            line_cpu_us=round(float(np.median([cpu for _, _, cpu in found[name]])), 1),
        )
    p50 = {name: float(np.median(values)) for name, values in times.items()}
    emit(f"{protocol.name}: our cycle over the wire's time, p50", p50["ours"] / wire, "ratio", at_most=1.5)
    emit(f"{protocol.name}: the SDK's cycle over ours, p50", p50["SDK"] / p50["ours"], "ratio")
    emit(
        f"{protocol.name}: CPU time of the SDK's cycle over ours",
        cpus["SDK"] / cpus["ours"],
        "ratio",
        at_least=1.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    for protocol in (FEETECH, DYNAMIXEL):
        compare(protocol, 3 if quick else 10, 400 if quick else 1000)
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    main()
