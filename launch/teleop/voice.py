"""What a person hears: the terminal's bell, and spoken prompts where espeak-ng is installed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys

PROGRAM = "espeak-ng"
BELL_NS = 400_000_000  # between two bells at least


class Voice:
    """Says and rings; never waits. `quiet`: says nothing; the bell stays, as the guard's clamps must be heard."""

    def __init__(self, quiet: bool = False) -> None:
        self._program = None if quiet else shutil.which(PROGRAM)
        self._speaking: subprocess.Popen[bytes] | None = None
        self._rang_ns: int | None = None

    def say(self, text: str) -> None:
        """Speak `text`; what is being spoken is broken off."""
        if self._program is None:
            return
        self.close()
        with contextlib.suppress(OSError):
            self._speaking = subprocess.Popen(
                [self._program, "--", text],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def ring(self, now_ns: int) -> None:
        """The terminal's bell."""
        if self._rang_ns is not None and now_ns - self._rang_ns < BELL_NS:
            return
        self._rang_ns = now_ns
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr.isatty():
                sys.stderr.write("\a")
                sys.stderr.flush()

    def close(self) -> None:
        speaking, self._speaking = self._speaking, None
        if speaking is not None:
            if speaking.poll() is None:
                speaking.kill()
            speaking.wait()
