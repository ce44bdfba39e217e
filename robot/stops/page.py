"""The e-stop of a guard's session, as a page of memory: any process of this user may press it, at any time.

It does not pass through the orders, which may be full or come from somebody who hangs; and it is latched here, not in
the guard: one that is started anew finds it pressed. Counters: presses, those that re-arming took back,
and the looks of the sources' process.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from ..errors import DeviceError

NAME = "estop"
SIZE, TEXT = 4096, 64  # bytes of the page; where the reason stands
PRESSED, TAKEN_BACK, ALIVE = 0, 1, 2  # words of the page


class StopPage:
    """The page in the folder of a guard's session."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._map: mmap.mmap | None = None

    def open(self) -> None:
        """Make the page, or find it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                os.posix_fallocate(descriptor, 0, SIZE)
            except OSError as error:
                raise DeviceError(f"{self._path}: {error.strerror}; free some memory there") from None
            self._map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)

    @property
    def presses(self) -> int:
        """How often it was pressed."""
        return self._word(PRESSED)

    def press(self, reason: str) -> None:
        """Ask for the stop; from any process, thread or signal handler."""
        if self._map is None:
            raise DeviceError("e-stop: not open")
        text = reason.encode()[: SIZE - TEXT - 1]
        self._map[TEXT : TEXT + len(text) + 1] = text + b"\0"
        np.frombuffer(self._map, "<u8", 2)[PRESSED] = self.presses + 1

    def pressed(self) -> str | None:
        """The reason of a press that was not taken back, or None."""
        if self._word(PRESSED) == self._word(TAKEN_BACK):
            return None
        assert self._map is not None
        return self._map[TEXT:SIZE].split(b"\0", 1)[0].decode(errors="replace") or "e-stop"

    def take_back(self, presses: int) -> None:
        """Re-armed by somebody who knew of so many presses; later ones stay."""
        if self._map is None:
            raise DeviceError("e-stop: not open")
        np.frombuffer(self._map, "<u8", 2)[TAKEN_BACK] = presses

    @property
    def looks(self) -> int:
        """How often the process of the e-stop's sources has looked at them: one that stands still hangs or is dead."""
        return self._word(ALIVE)

    def looked(self) -> None:
        """It has looked once more."""
        if self._map is not None:
            np.frombuffer(self._map, "<u8", 3)[ALIVE] = self.looks + 1

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    def _word(self, index: int) -> int:
        if self._map is None:
            raise DeviceError("e-stop: not open")
        return int.from_bytes(self._map[8 * index : 8 * index + 8], "little")
