"""This terminal as an e-stop button box: beats while it lives, a press for every line that is entered."""

from __future__ import annotations

import select
import sys

from ..robot.stops.client import Box
from .progress import say

BEAT_S = 0.2
PROMISE_MS = 1000  # a box that is silent for longer presses


def serve(box: Box, reason: str) -> None:
    """Until Ctrl-C, which says goodbye; the end of the input, and of the connection, press."""
    stopped = box.beat(PROMISE_MS)
    say(f"button box: Enter presses; Ctrl-C says goodbye; the stop is {'pressed' if stopped else 'clear'}")
    try:
        while True:
            ready, _, _ = select.select([sys.stdin], [], [], BEAT_S)
            if ready:
                line = sys.stdin.readline()
                box.press(reason)
                if not line:
                    return
            now = box.beat(PROMISE_MS)
            if now != stopped:
                say("stopped" if now else "clear")
            stopped = now
    except KeyboardInterrupt:
        box.bye()
