"""Teleoperation devices, inverse kinematics and takeover.

A device is made by a factory that is given a `Place`: those below, and those of plug-ins, entry points of the group
`twinloop.teleop`. A new one is one file and an entry point.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..robot.errors import UsageError, nearest

if TYPE_CHECKING:
    from .jog import JogDevice
    from .place import Place

GROUP = "twinloop.teleop"
DEVICES: Mapping[str, str] = MappingProxyType(  # name -> factory; imported when it is asked for
    {
        "keyboard": "place:keyboard",
        "gamepad": "place:gamepad",
        "spacemouse": "place:spacemouse",
        "web": "place:web",
        "remote": "place:remote",
        "leader": "place:leader",
        "scripted": "place:scripted",
    }
)


def device_names() -> list[str]:
    """Names that `make_device` knows, plug-ins' included."""
    return sorted({*DEVICES, *(point.name for point in entry_points(group=GROUP))})


def make_device(name: str, place: Place) -> JogDevice:
    """The device called `name`, not open yet. Raises `UsageError` that names the valid choices."""
    if name in DEVICES:
        module, _, factory = DEVICES[name].partition(":")
        return getattr(import_module(f".{module}", __name__), factory)(place)
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point.load()(place)
    raise UsageError(f"--device: unknown device '{name}'{nearest(name, device_names())}")
