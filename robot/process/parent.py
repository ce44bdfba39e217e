"""The process that this one was started for."""

from __future__ import annotations

import os
import select


class Parent:
    """Process `pid`, which holds the other end of this one's standard input.

    The pipe's end alone would not do: a child that the parent has forked (a data loader's worker) keeps it open.
    """

    def __init__(self, pid: int) -> None:
        self._poll = select.poll()
        self._poll.register(0, select.POLLHUP | select.POLLERR)
        self._dead = False
        try:
            self._poll.register(os.pidfd_open(pid), select.POLLIN)  # readable when the process has ended
        except ProcessLookupError:
            self._dead = True
        except OSError:  # a kernel without it: the pipe must do
            pass

    def gone(self) -> bool:
        """It has ended, or let go of the pipe."""
        return self._dead or bool(self._poll.poll(0))
