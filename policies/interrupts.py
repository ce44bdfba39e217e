"""Ctrl-C, SIGTERM and a closed terminal as a flag, so that work ends between two steps and not within one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AGAIN = b"\ntwinloop: still parking and saving; `kill -KILL %d` would end it at once\n"

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: the terminal was closed

seen: list[int] = []  # signals caught by the latest `interrupts()`


def heard() -> list[signal.Signals]:
    """`SIGNALS` to act on: `nohup` ignores the last, and means it."""
    return [n for n in SIGNALS if n is not signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Inside, `SIGNALS` only make the yielded function true: nobody can break off the saving.

    Outside the main thread, to which Python delivers signals, it is always false.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    seen.clear()

    def handle(number: int, _: object) -> None:
        seen.append(number)
        if len(seen) == 2:
            os.write(2, AGAIN % os.getpid())  # print could find stderr's own lock held

    before = {number: signal.signal(number, handle) for number in heard()}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
