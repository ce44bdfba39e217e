"""udev rules for servo adapters and cameras: access without root, short waits, names of the arms."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ...robot.errors import UsageError
from ..progress import say
from .dialogue import Dialogue
from .ports import SerialDevice

# Before 73-seat-late.rules, which makes `uaccess` an access list for who sits at the machine (systemd).
FILE = Path("/etc/udev/rules.d/70-twinloop.rules")
RELOAD = ("udevadm control --reload-rules", "udevadm trigger")
ADAPTERS = {  # USB vendor of what arms are plugged in with
    "1a86": "WCH: the bus boards of SO-100 and SO-101",
    "0403": "FTDI: U2D2 of Dynamixel arms, and others",
    "2f5d": "Robotis: OpenRB-150",
}
INTEL = "8086"  # RealSense, which is opened through libusb


def rules(arms: Mapping[str, SerialDevice], rig: str) -> str:
    """The text of the rules; `arms` (arm -> its adapter) get links under /dev/twinloop where adapters can be told."""
    lines = [
        f"# Rules for the devices of robot arms; `twinloop setup-devices --rig {rig} --udev` wrote them.",
        f"# They belong into {FILE}; then: sudo {RELOAD[0]}; sudo {RELOAD[1]}",
        "",
        "# Serial adapters: the group dialout, and whoever sits at the machine.",
    ]
    for vendor, what in ADAPTERS.items():
        lines.append(f"# {what}")
        lines.append(
            f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor}", GROUP="dialout", MODE="0660", TAG+="uaccess"'
        )
    lines += [
        "# FTDI adapters keep an answer for 16 ms unless they are told not to.",
        'ACTION=="add", SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"',
        "",
        "# Cameras: the group video; RealSense through libusb: plugdev.",
        'SUBSYSTEM=="video4linux", GROUP="video", MODE="0660", TAG+="uaccess"',
        f'SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{INTEL}", '
        'GROUP="plugdev", MODE="0664", TAG+="uaccess"',
    ]
    named = {arm: device for arm, device in arms.items() if device.serial and device.usb}
    if named:
        lines += ["", f"# The arms of the rig {rig}, by the serial number of their adapter."]
    for arm, device in named.items():
        vendor, _, product = device.usb.partition(":")
        serial, link = _plain(device.serial, "?"), _plain(f"{rig}_{arm}", "_")  # "?" matches any letter
        lines.append(
            f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}", '
            f'ATTRS{{serial}}=="{serial}", SYMLINK+="twinloop/{link}"'
        )
    return "\n".join(lines) + "\n"


def offer(text: str, dialogue: Dialogue, file: Path = FILE, *, root: bool | None = None) -> bool:
    """Print the rules, and where they go; with root's rights ask whether to install them. True: installed."""
    say(text)
    if not (os.geteuid() == 0 if root is None else root):
        say(f"put this into {file} (as root), then: sudo {RELOAD[0]}; sudo {RELOAD[1]}")
        return False
    if file.exists() and file.read_text() == text:
        say(f"{file} says the same already")
        return False
    replaced = " in place of what is there" if file.exists() else ""
    if not dialogue.confirm(f"write this into {file}{replaced}?", default=False):
        say("nothing was written")
        return False
    _write(file, text)
    say(f"written: {file}")
    for command in RELOAD:
        if dialogue.confirm(f"run `{command}` now?"):
            _run(command)
    return True


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".twinloop-", delete=False) as out:
            out.write(text)
            os.fchmod(out.fileno(), 0o644)
        os.replace(out.name, file)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; put the rules there by hand") from None


def _run(command: str) -> None:
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"{command}: {error}; restart the machine instead")
        return
    say(f"{command}: {'done' if done.returncode == 0 else done.stderr.strip() or done.returncode}")


def _plain(text: str, other: str) -> str:
    """Letters that need no quoting in a rule; `other` in place of the rest."""
    return "".join(c if c.isascii() and c.isalnum() or c in "_-.:" else other for c in text)
