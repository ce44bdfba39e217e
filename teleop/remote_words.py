"""What the operator's machine and the robot's say to each other: JSON, checked, no longer than `asks.ASK_BYTES`.

Operator to robot, about 60 times a second, a look:
    {"n": number of the look, "t": operator's clock ns, "echo": robot's clock ns of the newest word that was heard,
     "held": ns since then, "jog": {field: value}, "keys": [[number, control], ...] until they are acknowledged}
Robot to operator, a word, when there is one to answer or to tell:
    {"n", "echo": number and time of the newest look, "held", "t": robot's clock ns, "keys": number of the newest key
     that was taken, "ignored": messages that were none, "why", "felt": {...}, "session": {...} where it is new}
Each side reckons the round trip on its own clock alone: now - echo - held.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import numpy as np

from ..robot.types import frozen
from .controls import CONTROLS
from .jog import Jog
from .page.asks import ASK_BYTES, REACH_M

HAND, FELT = "hand", "felt"  # rings in the page's folder: looks for the loop, what the hand is to feel
JOINTS_MAX = 16
KEYS_MAX = 16  # that wait for their acknowledgement
LATEST_NS = 2**63
HINTS = {f.name: get_type_hints(Jog)[f.name] for f in fields(Jog) if f.name != "keys"}
LIMITS = (  # of a field by the end of its name, the longer ends first: nobody's hand asks for more
    ("_rad_s", 10.0),
    ("_m_s", 2.0),
    ("_share", 1.0),
    ("_rad", 4 * math.pi),
    ("_m", REACH_M),
)


class NoLook(ValueError):
    """A message that is no look; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the operator's device, as it is sent."""

    n: int
    t_ns: int  # operator's clock
    jog: Mapping[str, Any]  # as `plain` made it
    echo_ns: int | None = None  # robot's clock; None before anything was heard
    held_ns: int = 0
    keys: Sequence[tuple[int, str]] = ()

    def text(self) -> str:
        return json.dumps(
            {
                "n": self.n,
                "t": self.t_ns,
                "echo": self.echo_ns,
                "held": self.held_ns,
                "jog": self.jog,
                "keys": self.keys,
            },
            separators=(",", ":"),
        )


def plain(jog: Jog) -> dict[str, Any]:
    """The fields of `jog` as JSON has them, without its keys and without what is None."""
    values = {name: getattr(jog, name) for name in HINTS}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
        if value is not None
    }


def jog_of(asked: Mapping[str, Any], keys: tuple[str, ...] = ()) -> Jog:
    """The `Jog` whose fields `look_of` has checked."""
    values: dict[str, Any] = {
        name: frozen(value) if isinstance(value, list) else value for name, value in asked.items()
    }
    return Jog(**values, keys=keys)


def look_of(text: str | bytes) -> Look:
    """The look in a message from anywhere. Raises `NoLook`."""
    if len(text) > ASK_BYTES:
        raise NoLook(f"{len(text)} bytes; limit {ASK_BYTES}")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise NoLook("no JSON") from None
    if not isinstance(said, dict) or not isinstance(said.get("jog"), dict):
        raise NoLook("no look")
    for name in ("n", "t", "held"):
        if not _whole(said.get(name)):
            raise NoLook(f"{name}: no whole number")
    if said.get("echo") is not None and not _whole(said["echo"]):
        raise NoLook("echo: no whole number")
    for name, value in said["jog"].items():
        if (why := _trouble(name, value)) is not None:
            raise NoLook(f"jog.{name[:40]}: {why}")
    keys = said.get("keys", [])
    if not isinstance(keys, list) or len(keys) > KEYS_MAX:
        raise NoLook(f"keys: at most {KEYS_MAX}")
    for key in keys:
        known = isinstance(key, list) and len(key) == 2 and _whole(key[0]) and isinstance(key[1], str)
        if not known or key[1] not in CONTROLS:
            raise NoLook(f"keys: {json.dumps(key)[:40]} is none")
    found = [(number, control) for number, control in keys]
    return Look(said["n"], said["t"], said["jog"], said.get("echo"), said["held"], found)


def _trouble(name: str, value: Any) -> str | None:
    """Why `value` cannot be the field `name` of a `Jog`."""
    hint = HINTS.get(name)
    if hint is None:
        return "no such field"
    if hint is bool:
        return None if isinstance(value, bool) else "true or false"
    if hint is int:
        return None if _whole(value) else "no whole number"
    most = next((most for end, most in LIMITS if name.endswith(end)), REACH_M)
    if hint in (float, float | None):
        return _beyond([value], most)
    if not isinstance(value, list):
        return "no vector"
    if not (1 <= len(value) <= JOINTS_MAX if name.startswith("q_") else len(value) == 3):
        return f"a vector of {len(value)}"
    return _beyond(value, most)


def _beyond(values: Sequence[Any], most: float) -> str | None:
    for x in values:
        if not isinstance(x, int | float) or isinstance(x, bool):
            return "no number"
        if not abs(x) <= most:  # NaN is not, either
            return f"{x:g}; limit {most:g}" if isinstance(x, float) else f"limit {most:g}"
    return None


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LATEST_NS


class RoundTrips:
    """Round trips of the last `window_ns`."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._kept: deque[tuple[int, int]] = deque()  # when, ns, and how long, ns

    def add(self, now_ns: int, trip_ns: int) -> None:
        self._kept.append((now_ns, trip_ns))
        while now_ns - self._kept[0][0] > self._window_ns:
            self._kept.popleft()

    def clear(self) -> None:
        self._kept.clear()

    @property
    def least_ns(self) -> int | None:
        return min((trip for _, trip in self._kept), default=None)

    def text(self) -> str:
        """Median and worst, "" without any."""
        if not self._kept:
            return ""
        trips = sorted(trip for _, trip in self._kept)
        return f"{trips[len(trips) // 2] * 1e-6:.0f} ms, worst {trips[-1] * 1e-6:.0f}"
