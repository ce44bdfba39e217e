"""An emulated device stands for hardware, which no program on the host delays."""

from __future__ import annotations

import os
from multiprocessing.process import BaseProcess

PRIORITY = 60  # above the guard's 50


def as_hardware(process: BaseProcess | None) -> bool:
    """Give `process` a real-time priority; whether the system allowed it."""
    if process is None or process.pid is None or os.environ.get("TWINLOOP_REALTIME") == "0":
        return False
    try:
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError:
        return False
    return True
