"""A bad line: what lost and damaged answers do to a 200 Hz cycle. One JSON line a figure.

Run: python benchmarks/bus_faults.py [--quick]

One in a hundred answers is lost and one in a hundred damaged, for 60 s of real time; the same cycle on the clean line
and, on both, with the vendor's SDK, in the same run. Counted are cycles that took longer than a period (5 ms): the
next deadline was missed because of them.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
from _figures import emit
from _line import LineProcess
from _sides import FEETECH, SETTLE_S, ours, theirs

PERIOD_S = 0.005
BAD = {"lost": 0.01, "damaged": 0.01}
CLEAN = dict.fromkeys(BAD, 0.0)


def paced(
    side: Callable, line: LineProcess, faults: dict[str, float], seconds: float
) -> tuple[np.ndarray, int]:
    """Time of every cycle, ms, on absolute deadlines; how many missed an answer. `faults` begin after setting up."""
    cycle, close = side(FEETECH, line.path)
    spent, incomplete = [], 0
    try:
        line.faults(**faults)
        due = time.monotonic()
        end = due + seconds
        while due < end:
            due = max(due + PERIOD_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            begin = time.perf_counter()
            incomplete += not cycle()
            spent.append(1e3 * (time.perf_counter() - begin))
    finally:
        line.faults(**CLEAN)
        close()
        time.sleep(SETTLE_S)
    return np.array(spent), incomplete


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    seconds = {"clean": 5.0 if quick else 20.0, "bad": 10.0 if quick else 60.0}
    late: dict[tuple[str, str], float] = {}
    with LineProcess(FEETECH.vendor, FEETECH.baud) as line:
        for state, faults in (("clean", CLEAN), ("bad", BAD)):
            for name, side in (("ours", ours), ("SDK", theirs)):
                spent, incomplete = paced(side, line, faults, seconds[state])
                late[name, state] = 100.0 * float((spent > 1e3 * PERIOD_S).mean())
                emit(
                    f"{state} line, {name}: cycles longer than 5 ms",
                    late[name, state],
                    "%",
                    cycles=len(spent),
                    incomplete=incomplete,
                    p50_ms=round(float(np.median(spent)), 3),
                    p99_ms=round(float(np.percentile(spent, 99)), 3),
                    max_ms=round(float(spent.max()), 2),
                )
    emit(
        "bad line, ours: cycles longer than 5 ms, beyond those of the clean line",
        max(0.0, late["ours", "bad"] - late["ours", "clean"]),
        "%",
        at_most=0.1,
        SDK=round(max(0.0, late["SDK", "bad"] - late["SDK", "clean"]), 3),
    )
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    main()
