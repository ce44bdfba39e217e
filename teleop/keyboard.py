"""The keyboard of a terminal as a Cartesian device: works over SSH, without X and without rights.

A terminal tells of presses and repeats, never of a release. So a press moves for `PULSE_NS`, about as long as
repeats are apart: held keys move on, and a hand that lets go (or a connection that is lost) stops the arm.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import termios
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ..robot.errors import DeviceError
from ..robot.types import F64
from .controls import KEYS
from .jog import Jog
from .terminal import cbreak

PULSE_NS = 120_000_000
LINE_MAX = 200  # letters of a text
SPEED_M_S, SPEED_RAD_S, SPEED_GRIP_M_S = 0.12, 0.8, 0.08
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)  # arrows and the like are no letters
FACTORS = {"1": 0.25, "2": 1.0, "3": 2.0}
MOVES: Mapping[str, tuple[int, float]] = MappingProxyType(  # key -> axis (x y z roll pitch yaw grip), direction
    {
        "w": (0, 1.0), "s": (0, -1.0), "a": (1, 1.0), "d": (1, -1.0), "r": (2, 1.0), "f": (2, -1.0),
        "u": (3, -1.0), "o": (3, 1.0), "i": (4, -1.0), "k": (4, 1.0), "j": (5, 1.0), "l": (5, -1.0),
        "x": (6, 1.0), "z": (6, -1.0),
    }
)  # fmt: skip
HELP = "w/s forward/back, a/d left/right, r/f up/down, u/o roll, i/k pitch, j/l yaw, x/z open/close, 1/2/3 slow to fast"


class Keyboard:
    """Implements `JogDevice` on the terminal `fd`, by default standard input; roll, pitch and yaw are about the axes
    of W. Keys of `controls.KEYS` are controls, others are ignored."""

    name = "keyboard"

    def __init__(self, fd: int | None = None) -> None:
        self._fd = fd
        self._before: list[Any] | None = None
        self._until_ns = np.zeros(7, np.int64)  # by axis: until when it moves
        self._direction: F64 = np.zeros(7)
        self._factor = 1.0
        self._gone = False
        self.line: str | None = None  # what is being typed since `ask`
        self._answer: str | None = None

    def ask(self) -> None:
        """From now on what is typed is text, to the end of a line; nothing moves, and no key is a control."""
        self.line, self._answer = "", None

    def answer(self) -> str | None:
        """The line that was typed, once; None while there is none."""
        found, self._answer = self._answer, None
        return found

    def open(self) -> None:
        """Read keys as they are pressed. Raises `DeviceError` where there is no terminal."""
        fd = self._fd
        if fd is None:
            try:
                fd = sys.stdin.fileno()
            except (OSError, ValueError, AttributeError):
                fd = -1
        if fd < 0 or not os.isatty(fd):
            raise DeviceError(
                "keyboard: standard input is no terminal; run it in one, or choose another --device"
            )
        self._fd, self._before = fd, termios.tcgetattr(fd)
        cbreak(fd)
        self._gone = False

    def read(self, now_ns: int) -> Jog:
        controls = tuple(KEYS[key] for key in self._typed(now_ns) if key in KEYS)
        moving = (self._until_ns > now_ns) * self._direction * self._factor
        return Jog(
            engaged=not self._gone,
            linear_m_s=moving[:3] * SPEED_M_S,
            angular_rad_s=moving[3:6] * SPEED_RAD_S,
            grip_m_s=float(moving[6]) * SPEED_GRIP_M_S,
            keys=controls,
        )

    def feel(self, clamped: bool) -> None:
        """A terminal has nothing to feel; its bell is the session's."""

    def close(self) -> None:
        if self._before is not None and self._fd is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._before = None

    def _typed(self, now_ns: int) -> str:
        """What was typed since the last look; keys that move are noted."""
        assert self._fd is not None
        try:  # made non-blocking, the terminal would be so for what is printed too
            if not select.select([self._fd], [], [], 0.0)[0]:
                return ""
            data = os.read(self._fd, 256)
        except OSError:
            data = b""
        if not data:  # the terminal is gone
            self._gone = True
            return ""
        text = ESCAPES.sub("", data.decode(errors="ignore"))
        if self.line is not None:
            text = self._write(text)
        typed = text.lower()
        for key in typed:
            if key in FACTORS:
                self._factor = FACTORS[key]
            elif key in MOVES:
                axis, direction = MOVES[key]
                self._direction[axis], self._until_ns[axis] = direction, now_ns + PULSE_NS
        return typed

    def _write(self, text: str) -> str:
        """Take `text` up to the end of the line; what comes after it."""
        assert self.line is not None
        for k, letter in enumerate(text):
            if letter in "\r\n":
                self.line, self._answer = None, self.line.strip()
                return text[k + 1 :]
            if letter in "\x7f\b":
                self.line = self.line[:-1]
            elif letter.isprintable():
                self.line = (self.line + letter)[:LINE_MAX]
        return ""
