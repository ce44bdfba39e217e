"""What the guard does besides following: told to whoever sits at the terminal, once it lasts."""

from __future__ import annotations

from collections.abc import Callable

LASTS_NS = 300_000_000  # a chunk that expired between two steps is nobody's news


class ModesTold:
    """`look` at the guard's mode in every step; `say` gets a line when the arm stands, and why, and when it goes on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._since_ns: int | None = None  # the guard has not followed
        self._told = ""

    def look(self, now_ns: int, mode: str, reason: str) -> None:
        """`mode` and `reason` of the guard at `now_ns`."""
        if mode == "run":
            if self._told:
                self._say("guard: goes on")
            self._since_ns, self._told = None, ""
            return
        self._since_ns = now_ns if self._since_ns is None else self._since_ns
        text = f"guard: {mode}: {reason}"
        if text != self._told and now_ns - self._since_ns >= LASTS_NS:
            self._told = text
            self._say(text)
