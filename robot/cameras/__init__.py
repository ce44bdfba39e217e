"""Cameras by kind. A new camera is one file and an entry point in the group `twinloop.cameras`.

The entry point names a factory `(name, config, clock) -> Camera`. The kinds in `EMULATED` stand for real
devices that the twin emulates with `--sim`; every other kind is opened as it is, in the twin too.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from ..errors import RigError, nearest
from ..interfaces import Camera, Clock
from ..rig import CameraConfig

EMULATED = ("opencv", "realsense")
CameraFactory = Callable[[str, CameraConfig, Clock], Camera]


def camera_kinds() -> list[str]:
    """Every kind that a rig may name."""
    return sorted({*EMULATED, *(point.name for point in entry_points(group="twinloop.cameras"))})


def camera_factory(name: str, config: CameraConfig) -> CameraFactory:
    """The plug-in that opens camera `name`; raises `RigError` that names the valid kinds."""
    for point in entry_points(group="twinloop.cameras"):
        if point.name == config.kind:
            return point.load()
    raise RigError(f"cameras.{name}.kind: unknown kind '{config.kind}'{nearest(config.kind, camera_kinds())}")
