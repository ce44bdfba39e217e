"""Ctrl-C, SIGTERM, a closed terminal: the first ends the work; the next cannot break off its parking and saving."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..policies import interrupts

LOOK_AGAIN_S = 0.02

_asked: list[int] = []  # signals inside `stopping`
_shields = 0
_waiting = False  # a signal came inside `deferred`


@contextmanager
def stopping() -> Iterator[None]:
    """Inside, the first of `interrupts.SIGNALS` raises `KeyboardInterrupt`, wherever the work is; no other does.

    A process that was asked to stop ignores them from then on, so that its exit code stays `exit_code()`.
    """
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
        yield
        return
    _asked.clear()
    interrupts.seen.clear()
    before = {number: signal.signal(number, _handle) for number in interrupts.heard()}
    alarm = signal.signal(signal.SIGALRM, _look_again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if asked() or interrupts.seen else handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, a signal waits for the end: for parking, and for writing an episode."""
    global _shields, _waiting  # noqa: PLW0603 - signals belong to the process
    _shields += 1
    try:
        yield
    finally:
        _shields -= 1
        if _waiting and not _shields:
            _waiting = False
            raise KeyboardInterrupt


def asked() -> bool:
    """A signal came. Long work looks, too: Python drops what is raised in a callback of its garbage collector."""
    return bool(_asked)


def exit_code() -> int:
    """As a shell has it: 143 after SIGTERM, 130 after Ctrl-C, 129 after a hangup."""
    return 128 + [*_asked, *interrupts.seen, signal.SIGINT][0]


def _handle(number: int, frame: FrameType | None) -> None:
    _asked.append(number)
    known = len(_asked) + len(interrupts.seen)
    if known == 1:
        _stop(frame)
    elif known == 2:
        os.write(2, interrupts.AGAIN % os.getpid())  # print could find stderr's own lock held


def _look_again(_: int, frame: FrameType | None) -> None:
    _stop(frame)


def _stop(frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, unless that must wait."""
    global _waiting  # noqa: PLW0603
    if _shields:
        _waiting = True
    elif _importing(frame):
        signal.setitimer(signal.ITIMER_REAL, LOOK_AGAIN_S)
    else:
        raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported; some extension modules abort the process when that is broken off."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
