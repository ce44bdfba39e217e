"""A foot pedal that presses controls: any Linux input device, read as the kernel's `struct input_event`.

A pedal that stops the arm is the rig's (`estop.pedal`, robot/stops/pedal.py); this one begins and ends episodes while
both hands are busy.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ..robot.errors import DeviceError, UsageError, nearest
from ..robot.stops.config import KEYS
from ..robot.stops.pedal import EV_KEY, EV_SYN, EVENT, SYN_DROPPED, why_closed
from .controls import CONTROLS

ANY = 0  # in place of a key's code (KEY_RESERVED, which no key has): any key
ONE_PEDAL = ("start", "success")  # whichever of them means something now
AGAIN_NS = 250_000_000  # between two attempts to open it
READ = 64  # events
PRESSED = 1  # value of a key event; 2 is a repeat
EVIOCGRAB = 1 << 30 | 4 << 16 | ord("E") << 8 | 0x90  # _IOW('E', 0x90, int), linux/input.h
# Code of the first key of a row, linux/input-event-codes.h.
ROWS = {16: "qwertyuiop", 30: "asdfghjkl", 44: "zxcvbnm", 2: "1234567890"}
CODES: Mapping[str, int] = MappingProxyType(
    {letter: first + k for first, letters in ROWS.items() for k, letter in enumerate(letters)}
    | {f"f{k}": (58 if k < 11 else 76) + k for k in range(1, 13)}
)


@dataclass(frozen=True, slots=True)
class PedalKeys:
    """What a pedal's keys press."""

    device: str  # /dev/input/by-id/...; that name stays
    controls: Mapping[int, tuple[str, ...]] = field(default_factory=lambda: {ANY: ONE_PEDAL})  # by key code


def parse_pedal(text: str) -> PedalKeys:
    """`DEVICE`, or `DEVICE=KEY:CONTROL,...` with letters, f1..f12 or codes as keys; `DEVICE=CONTROL` is any key.

    Raises `UsageError` for what is none of these.
    """
    device, equals, rest = text.partition("=")
    if not device.startswith("/"):
        raise UsageError(f"--pedal {text}: its device comes first, as /dev/input/by-id/...-event-kbd")
    if not equals:
        return PedalKeys(device)
    controls: dict[int, tuple[str, ...]] = {}
    for part in rest.split(","):
        key, colon, control = part.rpartition(":")
        if control not in CONTROLS:
            raise UsageError(f"--pedal {text}: no control '{control}'{nearest(control, CONTROLS)}")
        code = _code(key) if colon else ANY
        if code is None:
            raise UsageError(
                f"--pedal {text}: no key '{key}'; valid: a letter, a digit, f1 to f12, a key code from 10 to {KEYS}"
            )
        if code in controls:
            raise UsageError(f"--pedal {text}: '{part}' stands where another control stands already")
        controls[code] = (control,)
    return PedalKeys(device, controls)


class FootPedal:
    """Gives the controls that a pedal presses. `open`, `read` without waiting, `close`."""

    def __init__(self, keys: PedalKeys) -> None:
        self._keys = keys
        self._descriptor: int | None = None
        self._tried_ns = 0
        self.trouble = ""  # why it presses nothing, or a key that means nothing; "" = all is well

    def open(self) -> None:
        """Raises `DeviceError` that says why it cannot be read."""
        device = self._keys.device
        try:
            self._descriptor = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(f"pedal {why_closed(device, error)}") from None
        with contextlib.suppress(OSError):  # its keys are no letters in the terminal, too
            fcntl.ioctl(self._descriptor, EVIOCGRAB, 1)
        self.trouble = ""

    def read(self, now_ns: int) -> tuple[str, ...]:
        """Controls that were pressed since the last look. A pedal that was pulled out is looked for again."""
        if self._descriptor is None and not self._again(now_ns):
            return ()
        pressed: list[str] = []
        while self._descriptor is not None:
            try:
                data = os.read(self._descriptor, READ * EVENT.size)
            except BlockingIOError:
                break
            except OSError:  # ENODEV
                data = b""
            if data:
                pressed += self._heard(data)
            else:
                self.close()
                self.trouble = f"pedal {self._keys.device}: unplugged; the session goes on without it"
        return tuple(pressed)

    def close(self) -> None:
        """May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _again(self, now_ns: int) -> bool:
        if now_ns - self._tried_ns < AGAIN_NS:
            return False
        self._tried_ns = now_ns
        with contextlib.suppress(DeviceError):
            self.open()
            return True
        return False

    def _heard(self, data: bytes) -> list[str]:
        pressed: list[str] = []
        controls = self._keys.controls
        with contextlib.suppress(struct.error):  # half an event: the kernel gives none
            for _, _, kind, code, value in EVENT.iter_unpack(data):
                if kind == EV_KEY and value == PRESSED:
                    found = controls.get(code, controls.get(ANY, ()))
                    pressed += found
                    name = _name(code)
                    what = f"pedal {self._keys.device}: key {name} has no control; add it as {name}:CONTROL"
                    self.trouble = "" if found else what
                elif kind == EV_SYN and code == SYN_DROPPED and ("estop",) in controls.values():
                    pressed.append("estop")  # the kernel lost events: it may have been one of them
        return pressed


def same_device(one: str, other: str) -> bool:
    """Whether both paths lead to one device."""
    return Path(one).resolve() == Path(other).resolve()


def _code(key: str) -> int | None:
    if key.lower() in CODES:
        return CODES[key.lower()]
    return int(key) if key.isdecimal() and 10 <= int(key) <= KEYS else None  # below are Esc and the digits


def _name(code: int) -> str:
    return next((name for name, known in CODES.items() if known == code), str(code))
