"""A camera as `twinloop doctor --rig` looks at it: there, permitted, and what it really delivers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...robot.buses.port import port_owners
from ...robot.cameras.realsense import library
from ...robot.errors import DeviceError
from ...robot.machine import LocalRig
from ..doctor_checks import Check
from .camera_probe import Look, look_through
from .ports import Places

DARK = 8.0  # mean of 0..255 below which nothing is to be seen
SLOW = 0.85  # share of the rig's rate
USB3_MBIT = 5000
VIDEOS = ("*.mp4", "*.mkv", "*.avi")


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """A camera that is plugged in, or a video that stands in for one."""

    device: str  # as a rig or machine file names it: a path that stays, or a RealSense's serial number
    name: str
    usb_mbit: int | None = None  # speed of its USB port, where known


def video_cameras(places: Places) -> list[FoundCamera]:
    """V4L2 capture devices by stable name, each once, and the videos in `look_in`."""
    found: dict[str, FoundCamera] = {}
    folders = [places.dev / "v4l/by-id", places.dev / "v4l/by-path"]
    named = [p for f in folders if f.is_dir() for p in sorted(f.glob("*-video-index0"))]
    for path in [*named, *sorted(places.dev.glob("video*"))]:
        node = os.path.realpath(path)
        about = places.sys / "class/video4linux" / Path(node).name
        if node in found or not os.path.exists(node) or _text(about / "index") not in ("", "0"):
            continue  # index 1 and up: a camera's metadata, or a second stream
        if "RealSense" in _text(about / "name"):
            continue  # opened by serial number
        found[node] = FoundCamera(str(path), _text(about / "name"), usb_speed(node, places))
    if places.look_in is not None:
        for path in sorted(p for pattern in VIDEOS for p in places.look_in.glob(pattern)):
            found[str(path)] = FoundCamera(str(path), "video")
    return list(found.values())


def realsense_cameras() -> list[FoundCamera]:
    """RealSense cameras by serial number. Raises `DeviceError` where the library is missing."""
    rs = library()
    return [
        FoundCamera(_info(rs, d, "serial_number"), _info(rs, d, "name"), _usb_type(rs, d))
        for d in rs.context().query_devices()
    ]


def usb_speed(node: str, places: Places) -> int | None:
    """Mbit/s of the USB port that the video device `node` is at; None where it is at none."""
    start = Path(os.path.realpath(places.sys / "class/video4linux" / Path(node).name / "device"))
    for folder in (start, *start.parents):
        with contextlib.suppress(ValueError):
            if (folder / "speed").exists():
                return int(float(_text(folder / "speed")))
    return None


def camera_checks(local: LocalRig, name: str, rig: str, places: Places) -> Iterator[Check]:
    """The findings about camera `name`; `rig` is what the user calls the rig."""
    config, title = local.rig.cameras[name], f"{name} camera"
    setup = f"twinloop setup-devices --rig {rig}"
    try:
        if config.kind == "realsense":
            found, usb = _realsense(local, name)
        else:
            found, usb = _video(local, name, places)
    except DeviceError as error:
        yield Check(title, "fail", str(error), setup)
        return
    try:
        look = look_through(local.rig, name)
    except DeviceError as error:
        yield Check(title, "fail", f"{found}: {error}", "end other programs that use it; plug it in anew")
        return
    yield look_check(local, name, found, usb, look)


def look_check(local: LocalRig, name: str, found: str, usb_mbit: int | None, look: Look) -> Check:
    """What the pictures of camera `name` say."""
    config, title = local.rig.cameras[name], f"{name} camera"
    port = "" if usb_mbit is None else f", USB {3 if usb_mbit >= USB3_MBIT else 2} ({usb_mbit} Mbit/s)"
    detail = f"{found}: {look.width}x{look.height} at {look.rate_hz:.1f} Hz, brightness {look.brightness:.0f}{port}"
    if look.brightness < DARK:
        return Check(title, "warn", f"{detail}: dark", "take its cap off, switch the light on")
    if not look.changed:
        return Check(title, "warn", f"{detail}: every picture is the same", "plug it in anew")
    slow_usb = usb_mbit is not None and usb_mbit < USB3_MBIT
    if look.rate_hz < SLOW * config.fps:
        hint = ", use a USB 3 port and cable" if slow_usb else ""
        fix = f"give it more light, a USB port of its own{hint}; or lower cameras.{name}.fps in the rig"
        return Check(title, "warn", f"{detail}; the rig wants {config.fps:g} Hz", fix)
    if (look.width, look.height) != (config.width, config.height):
        fix = f"write the size that it has into cameras.{name} of the rig"
        return Check(title, "warn", f"{detail}; the rig wants {config.width}x{config.height}: resized", fix)
    if slow_usb and config.kind == "realsense":
        return Check(
            title, "warn", f"{detail}: depth needs USB 3", "use a USB 3 port and the camera's own cable"
        )
    return Check(title, "ok", detail)


def _realsense(local: LocalRig, name: str) -> tuple[str, int | None]:
    """Description and USB speed of the camera that will be opened. Raises `DeviceError`."""
    config, origin = local.rig.cameras[name], local.origin(f"cameras.{name}.serial")
    if "device" in config.options:
        return str(config.options["device"]), None
    found = realsense_cameras()
    listed = ", ".join(f"{one.device} ({one.name})" for one in found) or "none"
    if config.serial is None:
        if len(found) != 1:
            raise DeviceError(f"no serial named, and there is not one RealSense but {len(found)}: {listed}")
        return f"{listed}, the only one", found[0].usb_mbit
    for one in found:
        if one.device == config.serial:
            return f"{one.name} {one.device}{origin}", one.usb_mbit
    raise DeviceError(f"no RealSense with serial {config.serial}{origin}; there is: {listed}")


def _video(local: LocalRig, name: str, places: Places) -> tuple[str, int | None]:
    config, origin = local.rig.cameras[name], local.origin(f"cameras.{name}.device")
    listed = ", ".join(one.device for one in video_cameras(places)) or "none"
    if config.device is None and config.kind == "opencv":
        raise DeviceError(f"no device named; cameras here: {listed}")
    device = config.device or ""
    node = str(places.dev / f"video{device}") if device.isdigit() else device
    if not node.startswith(f"{places.dev}/"):
        return f"{device or config.kind}{origin}", None
    if not os.path.exists(node):
        raise DeviceError(f"{device}{origin}: not there; cameras here: {listed}")
    if not os.access(node, os.R_OK | os.W_OK):
        raise DeviceError(
            f"{device}{origin}: may not be opened by this user; sudo usermod -aG video $USER, then log in again"
        )
    if owners := port_owners(node):
        raise DeviceError(f"{device}{origin}: in use by process {', '.join(map(str, owners))}; left alone")
    return f"{device}{origin}", usb_speed(os.path.realpath(node), places)


def _info(rs: Any, device: Any, what: str) -> str:
    kind = getattr(rs.camera_info, what)
    return str(device.get_info(kind)) if device.supports(kind) else "?"


def _usb_type(rs: Any, device: Any) -> int | None:
    """From librealsense's "3.2" or "2.1"."""
    version = _info(rs, device, "usb_type_descriptor")
    return {"3": USB3_MBIT, "2": 480}.get(version[:1])


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
