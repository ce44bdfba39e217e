"""Drivers of real arms. A new one is one file and an entry point in the group `twinloop.arms`.

The entry point's name is that of the arm description, its value a factory `(name, rig, port, clock) ->
ArmDevices`; nothing is opened by it. Shipped drivers stand in `SHIPPED`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from ..errors import RigError, nearest
from ..interfaces import Arm, Clock, Gripper
from ..rig import Rig

ENTRY_POINTS = "twinloop.arms"
SHIPPED: Mapping[str, str] = MappingProxyType(  # description -> module in this folder
    {
        "so101": "so101",
        "so100": "so101",
        "koch": "koch",
        "viperx": "viperx",
        "franka": "franka",
        "trossen": "trossen",
        "ur5e": "ur",
        "xarm7": "xarm",
    }
)


@dataclass(frozen=True, slots=True)
class ArmDevices:
    """An arm and the gripper that it carries."""

    arm: Arm
    gripper: Gripper | None


ArmFactory = Callable[[str, Rig, str, Clock], ArmDevices]


def driver_names() -> list[str]:
    """Arm descriptions for which there is a driver."""
    return sorted({*SHIPPED, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def arm_driver(model: str) -> ArmFactory:
    """The factory of devices for arm description `model`. Raises `RigError` that names those with a driver."""
    if model in SHIPPED:
        return importlib.import_module(f"{__name__}.{SHIPPED[model]}").connect
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == model:
            found: Any = point.load()
            return found
    raise RigError(f"no driver for the arm description '{model}'{nearest(model, driver_names())}")
