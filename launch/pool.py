"""Spawned worker processes that no signal hits and that do not outlive who started them."""

from __future__ import annotations

import ctypes
import multiprocessing as mp
import os
import signal
import sys
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from ..policies.interrupts import SIGNALS
from ..robot.errors import TwinloopError
from .stopping import deferred

PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent dies
# llvmpipe and torch would each start a thread a core in every worker, and fight over the cores.
THREADS = ("LP_NUM_THREADS", "OMP_NUM_THREADS")


@contextmanager
def worker_pool(count: int, begin: Callable[..., None], *args: Any) -> Generator[Executor, None, None]:
    """`count` processes, each of which called `begin(*args)` first and keeps to one thread.

    Signals that end the work reach this process alone, which decides; at the end, jobs that did not start are dropped
    and those that run are waited for. A worker that dies, killed or out of memory, raises `TwinloopError`; when
    this process dies, the workers do, too.
    """
    pool = _Pool(count, mp.get_context("spawn"), _begin, (begin, args))
    try:
        yield pool
    except BrokenProcessPool:
        raise TwinloopError(
            f"one of {count} worker processes died, killed or out of memory; what was saved is kept: go on with "
            f"fewer --workers, and with --resume where the command has it"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        pool.join()


class _Pool(ProcessPoolExecutor):
    """Starts its processes, as jobs come, with these signals blocked from their first instruction on."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.workers: set[BaseProcess] = set()

    def join(self) -> None:
        """Wait for the workers to end; when one was killed, kill the others: it may have taken the lock of
        the queue that they wait for with it."""
        while left := [worker for worker in self.workers if worker.is_alive()]:
            if any(worker.exitcode for worker in self.workers):
                for worker in left:
                    worker.kill()
            wait([worker.sentinel for worker in left])

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        before = {name: os.environ.get(name) for name in THREADS}
        os.environ.update(dict.fromkeys(THREADS, "1"))
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            with deferred():  # a process half started would tell of it
                future = super().submit(fn, *args, **kwargs)
                self.workers.update(
                    mp.active_children()
                )  # more only at the first jobs; the caller has no other
                return future
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _begin(begin: Callable[..., None], args: tuple[Any, ...]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = mp.parent_process()
        if parent is None or not parent.is_alive():  # it died before the kernel knew what to do then
            os._exit(1)
    begin(*args)
