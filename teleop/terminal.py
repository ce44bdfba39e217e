"""How a terminal is set while its keys are controls."""

from __future__ import annotations

import os
import termios
import tty

CHARACTERS = 6  # place of the control characters in what `tcgetattr` returns


def cbreak(fd: int) -> None:
    """Keys at once. Ctrl-C stays Ctrl-C; Ctrl-backslash, a slip beside the key that re-arms, does not kill any more."""
    tty.setcbreak(fd)
    attributes = termios.tcgetattr(fd)
    attributes[CHARACTERS][termios.VQUIT] = os.fpathconf(fd, "PC_VDISABLE").to_bytes(1, "little")
    termios.tcsetattr(fd, termios.TCSADRAIN, attributes)
