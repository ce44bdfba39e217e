"""The e-stop of a guard's session, as a page of memory: any process of this user may press it, at any time.

It does not pass through the orders, which may be full or come from somebody who hangs; and it is latched here, not in
the guard: one that is started anew finds it pressed. Words: the mark of the last press, the mark that re-arming took
back, and the looks of the sources' process. A mark is drawn at random and not counted up, so that of presses at the
same moment, from processes that know nothing of each other, none can look like one that was taken back.
"""

from __future__ import annotations

import mmap
import os
import secrets
from pathlib import Path

from ..errors import DeviceError

NAME = "estop"
SIZE, TEXT = 4096, 64  # bytes of the page; where the reason stands
PRESSED, TAKEN_BACK, ALIVE = 0, 1, 2  # words of 8 bytes; aligned, so that each is read and written whole


class StopPage:
    """The page in the folder of a guard's session."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._map: mmap.mmap | None = None
        self._words: memoryview | None = None

    def open(self) -> None:
        """Make the page, or find it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                os.posix_fallocate(descriptor, 0, SIZE)
            except OSError as error:
                raise DeviceError(f"{self._path}: {error.strerror}; free some memory there") from None
            self._map = mmap.mmap(descriptor, SIZE)
            self._words = memoryview(self._map)[:TEXT].cast("Q")
        finally:
            os.close(descriptor)

    @property
    def mark(self) -> int:
        """Which press was the last: no two have the same mark; 0 before the first."""
        return self._open_words()[PRESSED]

    def press(self, reason: str) -> None:
        """Ask for the stop; from any process, thread or signal handler."""
        words = self._open_words()
        assert self._map is not None
        text = reason.encode(errors="replace")[: SIZE - TEXT - 1]
        self._map[TEXT : TEXT + len(text) + 1] = text + b"\0"
        words[PRESSED] = secrets.randbits(64) | 1

    def pressed(self) -> str | None:
        """The reason of a press that was not taken back, or None."""
        words = self._open_words()
        if words[PRESSED] == words[TAKEN_BACK]:
            return None
        assert self._map is not None
        return self._map[TEXT:SIZE].split(b"\0", 1)[0].decode(errors="replace") or "e-stop"

    def take_back(self, mark: int) -> None:
        """Re-armed by somebody who knew of the press with this mark as the last; later ones stay."""
        self._open_words()[TAKEN_BACK] = mark

    @property
    def looks(self) -> int:
        """How often the process of the e-stop's sources has looked at them: one that stands still hangs or is dead."""
        return self._open_words()[ALIVE]

    def looked(self) -> None:
        """It has looked once more."""
        if self._words is not None:
            self._words[ALIVE] = self._words[ALIVE] + 1

    def close(self) -> None:
        words, self._words = self._words, None
        if words is not None:
            words.release()
        if self._map is not None:
            self._map.close()
            self._map = None

    def _open_words(self) -> memoryview:
        if self._words is None:
            raise DeviceError("e-stop: not open")
        return self._words
