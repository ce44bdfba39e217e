"""What a person may press besides moving the arm: the same names on keyboard, gamepad, page and pedal."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CONTROLS: Mapping[str, str] = MappingProxyType(
    {
        "start": "begin an episode",
        "success": "end it as a success",
        "failure": "end it as a failure",
        "rerecord": "throw the running episode away and begin it anew",
        "discard": "throw the last saved episode away",
        "pause": "stand still; again: go on",
        "takeover": "the person takes the arm from the policy, or gives it back",
        "note": "add a note to the episode",
        "estop": "stop, latched",
        "rearm": "leave the stop",
        "quit": "end the session",
    }
)
KEYS: Mapping[str, str] = MappingProxyType(  # a character of the terminal -> control
    {
        "\n": "start",
        "\r": "start",
        "y": "success",
        "n": "failure",
        "b": "rerecord",
        "\x7f": "discard",
        "p": "pause",
        "t": "takeover",
        "m": "note",
        " ": "estop",
        "\\": "rearm",
        "q": "quit",
    }
)
NAMES: Mapping[str, str] = MappingProxyType({"\n": "Enter", "\r": "Enter", "\x7f": "Backspace", " ": "Space"})


def key_line() -> str:
    """The keys in one line, for the terminal."""
    shown = {control: NAMES.get(key, key) for key, control in KEYS.items()}
    return ", ".join(f"{key} {control}" for control, key in shown.items())
