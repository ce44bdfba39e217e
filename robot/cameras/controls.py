"""A V4L2 camera's controls: what a rig's `cameras.NAME.options` may set, and that the camera took it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2

from ..errors import DeviceError, RigError, nearest

EXPOSURE_UNIT_NS = 100_000  # V4L2_CID_EXPOSURE_ABSOLUTE counts 100 us
MANUAL_EXPOSURE = 1  # V4L2_EXPOSURE_MANUAL


@dataclass(frozen=True, slots=True)
class Control:
    """A number of the driver's, and the automatic that it ends."""

    property: int
    meaning: str
    automatic: tuple[int, float] | None = None


CONTROLS: Mapping[str, Control] = {
    "exposure": Control(
        cv2.CAP_PROP_EXPOSURE, "in units of 100 us", (cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL_EXPOSURE)
    ),
    "gain": Control(cv2.CAP_PROP_GAIN, "in the driver's steps"),
    "white_balance": Control(cv2.CAP_PROP_WB_TEMPERATURE, "in kelvin", (cv2.CAP_PROP_AUTO_WB, 0.0)),
    "focus": Control(cv2.CAP_PROP_FOCUS, "in the driver's steps", (cv2.CAP_PROP_AUTOFOCUS, 0.0)),
}
FOURCC = "fourcc"  # how pictures cross the cable: MJPG leaves room for several cameras on one USB hub


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises `RigError` for an option that is none, with the valid ones."""
    for key, value in options.items():
        where = f"cameras.{name}.options.{key}"
        if key == FOURCC:
            if not isinstance(value, str) or len(value) != 4 or not value.isascii():
                raise RigError(f"{where}: '{value}' must be four letters, as MJPG or YUYV")
        elif key not in CONTROLS:
            raise RigError(f"{where}: unknown option{nearest(key, (*CONTROLS, FOURCC))}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise RigError(f"{where}: {value!r:.40} must be a number, {CONTROLS[key].meaning}")


def set_controls(name: str, capture: Any, options: Mapping[str, Any]) -> None:
    """Set them. Raises `DeviceError` for one that the camera does not take: half set, its pictures mislead."""
    for key, control in CONTROLS.items():
        if key not in options:
            continue
        value = float(options[key])
        if control.automatic is not None:
            capture.set(*control.automatic)
        if not capture.set(control.property, value):
            raise DeviceError(
                f"camera {name}: it does not take {key} {value:g}; `v4l2-ctl -L` lists its controls"
            )
        got = capture.get(control.property)
        if got != value:
            raise DeviceError(
                f"camera {name}: {key} {value:g} became {got:g}; `v4l2-ctl -L` lists what it can do, set that"
            )


def set_format(name: str, capture: Any, options: Mapping[str, Any]) -> None:
    """The form of the pictures on the cable; before their size, which depends on it."""
    wanted = options.get(FOURCC)
    if wanted is None:
        return
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted))
    got = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("ascii", "replace")
    if got != wanted:
        raise DeviceError(
            f"camera {name}: {FOURCC} {wanted} became {got}; `v4l2-ctl --list-formats` lists its own"
        )


def exposure_ns(options: Mapping[str, Any]) -> int:
    """How long it exposes, where that was set; 0 where the camera chooses and does not say."""
    return round(float(options.get("exposure", 0.0)) * EXPOSURE_UNIT_NS)
