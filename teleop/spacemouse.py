"""A 3Dconnexion SpaceMouse as a Cartesian device, from its raw HID reports.

Reports: 1 = translation and 2 = rotation, three little-endian int16 each, about -350..350; newer ones send all six in
report 1; 3 = buttons, a bit each (as seen on SpaceNavigator, Compact, Pro and Wireless; libspnav and pyspacemouse agree
on them). In the device's axes x is to the right, y towards the user, z down.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from ..robot.errors import DeviceError
from ..robot.types import F64
from .jog import Jog

VENDORS = (0x046D, 0x256F)  # Logitech, which sold the first ones, and 3Dconnexion
NAMES = ("space", "3dconnexion")
FULL = 350.0  # counts at the end of the cap's travel
DEADZONE = 0.08
SPEED_M_S, SPEED_RAD_S, SPEED_GRIP_M_S = 0.2, 1.4, 0.08
STILL_NS = 200_000_000  # it repeats what it feels; a cap at rest may end without a report of zeros
REPORTS_MAX = 64  # taken at one look
HELP = "push and turn the cap; left button shuts the jaw, right button opens it; both: success"
Opener = Callable[[], Any]


def open_hid() -> Any:
    """The first SpaceMouse there is. Raises `DeviceError` without hidapi, without one, or without the right to it."""
    try:
        import hid
    except ImportError:
        raise DeviceError("spacemouse: hidapi is not installed; pip install 'twinloop[spacemouse]'") from None
    found = [
        entry
        for entry in hid.enumerate()
        if entry["vendor_id"] in VENDORS
        and any(name in str(entry["product_string"]).lower() for name in NAMES)
    ]
    if not found:
        raise DeviceError("spacemouse: none found; is it plugged in, or its receiver?")
    device = hid.device()
    try:
        device.open_path(found[0]["path"])
    except OSError:
        raise DeviceError(
            f"spacemouse: {found[0]['product_string']} cannot be opened; `twinloop setup-devices --udev` prints the "
            "rule that lets you"
        ) from None
    device.set_nonblocking(True)
    return device


class SpaceMouse:
    """Implements `JogDevice`; `opener` hands out a device with hidapi's `read(size)` and `close()`.

    There is no clutch: a cap at rest is at rest. A device that is gone is not engaged.
    """

    name = "spacemouse"

    def __init__(self, opener: Opener = open_hid) -> None:
        self._opener = opener
        self._device: Any = None
        self._axes: F64 = np.zeros(6)  # -1..1, device's axes
        self._felt_ns = 0
        self._buttons = 0
        self._gone = False

    def open(self) -> None:
        self._device, self._gone, self._buttons = self._opener(), False, 0
        self._axes = np.zeros(6)

    def read(self, now_ns: int) -> Jog:
        before = self._buttons
        for _ in range(REPORTS_MAX):
            try:
                report = bytes(self._device.read(64))
            except (OSError, ValueError):
                self._gone = True
                break
            if not report:
                break
            self._take(report, now_ns)
        if self._gone or now_ns - self._felt_ns > STILL_NS:
            self._axes[:] = 0.0
        x, y, z, pitch, roll, yaw = _live(self._axes)
        both = self._buttons & 3 == 3
        grip = 0.0 if both else float(bool(self._buttons & 2)) - float(bool(self._buttons & 1))
        return Jog(
            engaged=not self._gone,
            linear_m_s=SPEED_M_S * np.array([-y, -x, -z]),
            angular_rad_s=SPEED_RAD_S * np.array([-roll, -pitch, -yaw]),
            grip_m_s=SPEED_GRIP_M_S * grip,
            keys=("success",) if both and before & 3 != 3 else (),
        )

    def feel(self, clamped: bool) -> None:
        """It has nothing to be felt with."""

    def close(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.close()

    def _take(self, report: bytes, now_ns: int) -> None:
        kind, data = report[0], report[1:]
        if kind == 3 and data:
            self._buttons = data[0]
            return
        if kind not in (1, 2) or len(data) < 6:
            return  # a battery's state, or what a newer one says besides
        values = struct.unpack_from("<6h" if kind == 1 and len(data) >= 12 else "<3h", data)
        first = 0 if kind == 1 else 3
        self._axes[first : first + len(values)] = np.array(values) / FULL
        self._felt_ns = now_ns


def _live(axes: F64) -> F64:
    """Axes in -1..1 with nothing in the dead zone."""
    beyond = np.maximum(np.abs(axes) - DEADZONE, 0.0) / (1.0 - DEADZONE)
    return np.sign(axes) * np.minimum(beyond, 1.0)
