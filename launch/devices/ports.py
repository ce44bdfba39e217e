"""Serial ports of this machine: what is plugged in, by names that stay, and what is wrong with a port."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...robot.buses.port import MEMORY_DEVICES, port_owners
from ..doctor_checks import Check

PATTERNS = ("ttyUSB*", "ttyACM*")
LATENCY_MAX_MS = 1


@dataclass(frozen=True, slots=True)
class Places:
    """Where the system shows its devices; `look_in` is one more folder, of links to serial ports and of videos."""

    dev: Path = Path("/dev")
    sys: Path = Path("/sys")
    look_in: Path | None = None


@dataclass(frozen=True, slots=True)
class SerialDevice:
    """A serial port that is plugged in."""

    path: str  # the name that stays the same, where there is one
    node: str  # what it stands for now, as /dev/ttyACM0
    usb: str = ""  # "1a86:55d3", where it is known
    serial: str = ""  # serial number of the adapter, where it has one
    product: str = ""


def serial_devices(places: Places) -> list[SerialDevice]:
    """All ports, those with a stable name by that, in the order of their names."""
    found: dict[str, SerialDevice] = {}
    for path in _candidates(places):
        node = os.path.realpath(path)
        if node not in found and is_port(node):
            found[node] = _described(str(path), node, places)
    return sorted(found.values(), key=lambda device: device.path)


def stable_name(port: str, places: Places) -> str:
    """The name of `port` that stays the same when it is plugged in elsewhere or anew; `port` where it has none."""
    node = os.path.realpath(port)
    return next((device.path for device in serial_devices(places) if device.node == node), port)


def is_port(path: str) -> bool:
    """Whether a device that may be a serial port is at the other end of `path` now."""
    try:
        found = os.stat(path)
        return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) != MEMORY_DEVICES
    except OSError:
        return False


def port_check(name: str, path: str, origin: str, places: Places) -> Check:
    """Whether the port of arm `name` is there, permitted and free; `origin` tells who named it."""
    what = f"{path}{origin}"
    here = ", ".join(device.path for device in serial_devices(places)) or "no serial port"
    if not os.path.exists(path):
        fix = f"plug it in, or choose anew: twinloop setup-devices; there is: {here}"
        return Check(f"{name} port", "fail", f"{what}: not there", fix)
    if not is_port(path):
        return Check(
            f"{name} port", "fail", f"{what}: not a serial port", f"name another one; there is: {here}"
        )
    if owners := port_owners(path):
        named = ", ".join(f"{pid} ({_command(pid)})" for pid in owners)
        return Check(f"{name} port", "warn", f"{what}: in use by process {named}; left alone", f"end {named}")
    if not os.access(path, os.R_OK | os.W_OK):
        group = _group(path)
        fix = f"sudo usermod -aG {group} $USER  # then log in again; or: twinloop setup-devices --udev"
        return Check(f"{name} port", "fail", f"{what}: may not be opened by this user", fix)
    device = _described(path, os.path.realpath(path), places)
    about = " ".join(part for part in (device.product, device.usb) if part)
    node = "" if device.node == path else f" -> {device.node}"
    return Check(f"{name} port", "ok", f"{what}{node}{f', {about}' if about else ''}")


def latency_check(name: str, path: str, places: Places) -> Check | None:
    """The FTDI adapter's timer; None for another adapter."""
    node = Path(os.path.realpath(path)).name
    timer = places.sys / "class/tty" / node / "device/latency_timer"
    try:
        found = int(timer.read_text())
    except (OSError, ValueError):
        return None
    if found > LATENCY_MAX_MS:
        fix = f"echo 1 | sudo tee {timer}  # for good: twinloop setup-devices --udev"
        return Check(f"{name} latency", "warn", f"the adapter keeps answers for {found} ms; 1 is wanted", fix)
    return Check(f"{name} latency", "ok", f"FTDI latency timer {found} ms")


def _candidates(places: Places) -> Iterator[Path]:
    """Stable names first: what another name shows again is known by then."""
    for folder in (places.look_in, places.dev / "serial/by-id", places.dev / "serial/by-path"):
        if folder is not None and folder.is_dir():
            yield from sorted(path for path in folder.iterdir() if path.is_symlink())
    for pattern in PATTERNS:
        yield from sorted(places.dev.glob(pattern))


def _described(path: str, node: str, places: Places) -> SerialDevice:
    """What the USB device says that the port belongs to (Linux, sysfs: the interface's parent)."""
    start = places.sys / "class/tty" / Path(node).name / "device"
    for folder in (start, *(Path(os.path.realpath(start)).parents)):
        if (folder / "idVendor").exists():
            ids = f"{_line(folder / 'idVendor')}:{_line(folder / 'idProduct')}"
            return SerialDevice(path, node, ids, _line(folder / "serial"), _line(folder / "product"))
    return SerialDevice(path, node)


def _line(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _command(pid: int) -> str:
    return _line(Path(f"/proc/{pid}/comm")) or "ended"


def _group(path: str) -> str:
    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name
    except (KeyError, OSError):
        return "dialout"
