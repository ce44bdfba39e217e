"""Keep other programs from delaying this process, as far as the system lets us; and say how far that is."""

from __future__ import annotations

import ctypes
import gc
import os

from ..guard.protections import Protection

PRIORITY = 50  # below the kernel's own threads
_MCL_CURRENT, _MCL_FUTURE = 1, 2


def prepare(cpu: int | None = None) -> tuple[Protection, ...]:
    """Real-time scheduling, locked memory, one core (`cpu`, None = as it comes), no garbage collection; what was
    granted. `twinloop doctor` names the way to get the rest."""
    return (_scheduling(), _memory(), _core(cpu), _collector())


def _scheduling() -> Protection:
    if os.environ.get("TWINLOOP_REALTIME") == "0":
        return Protection("real_time", False, "TWINLOOP_REALTIME=0: other programs may delay the guard")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except (OSError, AttributeError) as error:
        return Protection(
            "real_time", False, f"SCHED_FIFO refused ({error}): other programs may delay the guard"
        )
    return Protection("real_time", True, f"SCHED_FIFO, priority {PRIORITY}")


def _memory() -> Protection:
    try:
        done = ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE)
    except (OSError, AttributeError) as error:
        return Protection("locked_memory", False, str(error))
    if done != 0:
        return Protection("locked_memory", False, f"refused ({os.strerror(ctypes.get_errno())})")
    return Protection("locked_memory", True, "no page of the guard is ever swapped out")


def _core(cpu: int | None) -> Protection:
    if cpu is None:
        return Protection("own_core", False, "not asked for")
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        return Protection("own_core", False, f"core {cpu} refused ({error})")
    return Protection("own_core", True, f"pinned to core {cpu}, which others may use as well")


def _collector() -> Protection:
    gc.collect()
    gc.freeze()
    gc.disable()
    return Protection("no_collector", True, "garbage collection is off in the guard's process")
