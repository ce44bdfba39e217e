"""A gripper whose calls wait for its motion or a slow serial line: it has threads of its own, the arm never waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from ..interfaces import Clock
from .controller import END_S, ended

log = logging.getLogger(__name__)

READ_S = 0.01  # between two looks at the width
AGAIN_S = 0.5  # after a call that failed
STEP_M = 0.0005  # a goal that differs less from the last one starts no move


class HandCalls(Protocol):
    """What a vendor's gripper is asked to do; `width` and `move` are called by two threads at a time."""

    def width(self) -> float:
        """Metres between the pads. Raises `DeviceError`."""
        ...

    def move(self, width_m: float, closing: bool) -> None:
        """Go to a width, m, and return when that is done or under way. Raises `DeviceError`."""
        ...

    def close(self) -> None:
        """Let go of the gripper's connection, if it has one."""
        ...


class Hand:
    """Latest width and newest goal of a gripper. Only a changed goal starts a move; goals between are skipped."""

    def __init__(self, name: str, calls: HandCalls, clock: Clock) -> None:
        self.name = name
        self._calls = calls
        self._clock = clock
        self._changed = threading.Condition()  # guards what follows
        self._goal_m: float | None = None
        self._ending = False
        self._told = ""
        self._latest = (calls.width(), clock.now())
        self._threads = [
            threading.Thread(
                target=self._again, args=(work,), name=f"{name} {work.__name__.strip('_')}", daemon=True
            )
            for work in (self._read, self._move)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def latest(self) -> tuple[float, int]:
        """Width (m) and when it was measured (ns)."""
        return self._latest

    def go(self, width_m: float) -> None:
        """A new goal; returns at once."""
        with self._changed:
            self._goal_m = width_m
            self._changed.notify_all()

    def close(self) -> None:
        """End both threads; a move that is under way ends by itself."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(END_S)
        ended(self._calls.close)

    def _again(self, work: Callable[[float | None], float | None]) -> None:
        moved: float | None = None
        while not self._ending:
            try:
                moved = work(moved)
            except Exception as error:  # the width grows stale, and the guard holds because of that
                if str(error) != self._told:
                    log.warning("%s: %s", self.name, error)
                    self._told = str(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._ending, AGAIN_S)

    def _read(self, _: float | None) -> None:
        self._latest = (self._calls.width(), self._clock.now())
        with self._changed:
            self._changed.wait_for(lambda: self._ending, READ_S)

    def _move(self, last: float | None) -> float | None:
        def due() -> bool:
            return self._goal_m is not None and (last is None or abs(self._goal_m - last) > STEP_M)

        with self._changed:
            self._changed.wait_for(lambda: due() or self._ending)
            goal = self._goal_m
        if self._ending or goal is None:
            return last
        self._calls.move(goal, goal < self._latest[0])
        return goal
