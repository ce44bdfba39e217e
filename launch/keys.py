"""Single keys of the terminal, while something else runs; nothing where the input is no terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..teleop.terminal import cbreak

LOOK_S = 0.1


class Keys:
    """Calls `actions[key]` when that key (one character) is pressed, from a thread of its own, between `open` and
    `close`. `fd` is the terminal, by default standard input."""

    def __init__(self, actions: Mapping[str, Callable[[], object]], fd: int | None = None) -> None:
        self._actions = dict(actions)
        self._fd = fd
        self._before: list[Any] | None = None
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    @property
    def active(self) -> bool:
        """Whether there is a terminal to read."""
        return self._thread is not None

    def open(self) -> None:
        fd = self._fd
        if fd is None:
            try:
                fd = sys.stdin.fileno()
            except (OSError, ValueError, AttributeError):
                return
        if not os.isatty(fd) or in_background(fd):
            return
        self._fd, self._before = fd, termios.tcgetattr(fd)
        cbreak(fd)
        self._end.clear()
        self._thread = threading.Thread(target=self._watch, args=(fd,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._end.set()
            self._thread.join()
            self._thread = None
        if self._before is not None and self._fd is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._before = None

    def __enter__(self) -> Keys:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self, fd: int) -> None:
        while not self._end.is_set():
            if not select.select([fd], [], [], LOOK_S)[0]:
                continue
            try:
                typed = os.read(fd, 16).decode(errors="ignore")
            except OSError:
                return
            if not typed:
                return
            for key in typed:
                if key in self._actions:
                    self._actions[key]()


def in_background(fd: int) -> bool:
    """Whether another program has the terminal now: touching its settings would stop this one."""
    try:
        return os.tcgetpgrp(fd) != os.getpgrp()
    except OSError:
        return False  # not the terminal that controls us
