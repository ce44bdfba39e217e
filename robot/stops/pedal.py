"""A pedal: any Linux input device, read as the kernel's `struct input_event`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Sequence

from .config import KEYS, PedalStop
from .source import Press

EVENT = struct.Struct("llHHi")  # seconds, microseconds, type, code, value (linux/input.h)
EV_SYN, EV_KEY, SYN_DROPPED = 0, 1, 3  # linux/input-event-codes.h
AGAIN_NS = 250_000_000  # between two attempts to open it
READ = 64  # events
STATE = KEYS // 8 + 1  # bytes with a bit a key
EVIOCGKEY = 2 << 30 | STATE << 16 | ord("E") << 8 | 0x18  # _IOR('E', 0x18, char[STATE]), linux/input.h


class Pedal:
    """Implements `Source`. A key that is down keeps the stop pressed, also one that was before we looked. Events that
    the kernel had to drop count as a press, and a pedal that is pulled out where it is required."""

    name = "pedal"

    def __init__(self, config: PedalStop) -> None:
        self._config = config
        self._descriptor: int | None = None
        self._down: set[int] = set()
        self._fault: str | None = "not opened yet"
        self._tried_ns: int | None = None

    @property
    def fault(self) -> str | None:
        return self._fault

    @property
    def holds(self) -> str | None:
        if self._down:
            return f"key {min(self._down)} is held down"
        return self.fault if self._config.required else None

    @property
    def detail(self) -> str:
        key = "any key" if self._config.key is None else f"key {self._config.key}"
        return f"{self._config.device}, {key}"

    def look(self, now_ns: int, press: Press) -> None:
        if self._descriptor is None:
            if self._tried_ns is not None and now_ns - self._tried_ns < AGAIN_NS:
                return
            self._tried_ns = now_ns
            self._open()
            self._ask()
            for code in sorted(self._down):
                press(f"pedal, key {code} is held down")
        while self._descriptor is not None:
            try:
                data = os.read(self._descriptor, READ * EVENT.size)
            except BlockingIOError:
                return
            except OSError:  # ENODEV
                data = b""
            if not data:
                self._lose(press)
                return
            self._hear(data, press)

    def descriptors(self) -> Sequence[int]:
        return () if self._descriptor is None else (self._descriptor,)

    def close(self) -> None:
        self._down.clear()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self._config.device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._fault = why_closed(self._config.device, error)
        else:
            self._fault = None

    def _ask(self) -> None:
        """Which keys are down now; where it cannot tell (what is no input device), what the events said stands."""
        if self._descriptor is None:
            return
        state = bytearray(STATE)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, EVIOCGKEY, state)
            down = {code for code in range(KEYS + 1) if state[code // 8] >> code % 8 & 1}
            self._down = down if self._config.key is None else down & {self._config.key}

    def _lose(self, press: Press) -> None:
        self.close()
        self._fault = f"{self._config.device}: unplugged"
        if self._config.required:
            press("pedal unplugged")

    def _hear(self, data: bytes, press: Press) -> None:
        with contextlib.suppress(struct.error):  # half an event: the kernel gives none
            for _, _, kind, code, value in EVENT.iter_unpack(data):
                if kind == EV_KEY and self._config.key in (None, code):
                    if value:
                        self._down.add(code)
                        press(f"pedal, key {code}")
                    else:
                        self._down.discard(code)
                elif kind == EV_SYN and code == SYN_DROPPED:
                    press("pedal: events were lost")
                    self._ask()


def why_closed(device: str, error: OSError) -> str:
    """Why an input device cannot be opened, and the way out."""
    if isinstance(error, PermissionError):
        return f"{device}: no permission; add yourself to the group 'input'"
    return f"{device}: {error.strerror}; is it plugged in?"
