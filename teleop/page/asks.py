"""What a browser may ask for, checked: it may come from anywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...robot.types import frozen
from ..controls import CONTROLS
from ..jog import Jog, still

JOG, CONTROL, NOTE = 1, 2, 3  # kinds of messages in the ring of asks
ASK_BYTES = 2_000
NOTE_MAX = 200  # letters
SPEED_M_S, SPEED_RAD_S, SPEED_GRIP_M_S = 0.2, 1.5, 0.1  # of a joystick at its end
REACH_M = 2.0  # no hand moves farther with one clutch


def checked(text: str | bytes) -> tuple[int, bytes] | None:
    """Kind and bytes for the ring of asks of a browser's message; None for one that is none."""
    if len(text) > ASK_BYTES:
        return None
    try:
        asked = json.loads(text)
    except ValueError:
        return None
    if not isinstance(asked, dict):
        return None
    if asked.get("type") == "control":
        control = asked.get("control")
        known = isinstance(control, str) and control in CONTROLS
        return (CONTROL, json.dumps(control).encode()) if known else None
    if asked.get("type") == "note":
        words = asked.get("text")
        if not isinstance(words, str):
            return None
        shown = "".join(letter for letter in words if letter.isprintable()).strip()[:NOTE_MAX]
        return NOTE, json.dumps(shown).encode()
    if asked.get("type") != "jog" or not isinstance(asked.get("engaged"), bool):
        return None
    parts: dict[str, Any] = {"engaged": asked["engaged"]}
    for name, most in (("linear", 1.0), ("angular", 1.0), ("moved", REACH_M), ("turned", math.pi + 1e-6)):
        value = asked.get(name)
        if value is None:
            continue
        if not _vector(value):
            return None
        parts[name] = [min(max(float(x), -most), most) for x in value]
    for name, low in (("grip", -1.0), ("width", 0.0)):
        value = asked.get(name)
        if value is not None:
            if not _number(value):
                return None
            parts[name] = min(max(float(value), low), 1.0)
    if (clutch := asked.get("clutch")) is not None:
        if not _number(clutch):
            return None
        parts["clutch"] = int(clutch)
    return JOG, json.dumps(parts).encode()


def jog_of(data: bytes, keys: tuple[str, ...]) -> Jog:
    """The `Jog` in the bytes that `checked` made of a browser's message."""
    asked: Mapping[str, Any] = json.loads(data)

    def vector(name: str, scale: float) -> Any:
        return frozen(scale * np.array(asked[name])) if name in asked else None

    linear, angular = vector("linear", SPEED_M_S), vector("angular", SPEED_RAD_S)
    return Jog(
        engaged=asked["engaged"],
        linear_m_s=still() if linear is None else linear,
        angular_rad_s=still() if angular is None else angular,
        grip_m_s=SPEED_GRIP_M_S * asked.get("grip", 0.0),
        width_share=asked.get("width"),
        moved_m=vector("moved", 1.0),
        turned_rad=vector("turned", 1.0),
        clutch=asked.get("clutch", 0),
        keys=keys,
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _vector(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_number(x) for x in value)
