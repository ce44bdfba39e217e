"""The e-stop sources that a rig declares (`estop:` in its file), and what can be wrong there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KEYS = 767  # KEY_MAX of Linux: codes of keys and buttons are below
LINES = 1024


@dataclass(frozen=True, slots=True)
class SocketStop:
    """A TCP port that `twinloop estop --host` and button boxes press through."""

    port: int
    bind: str = "127.0.0.1"  # address to listen on; any but this machine's own needs a token
    token_file: Path | None = None  # text file with at least 16 characters, readable by its owner alone
    required: bool = False  # the arms run only while a box is connected that has promised beats


@dataclass(frozen=True, slots=True)
class PedalStop:
    """A pedal, button or keyboard as a Linux input device."""

    device: str  # /dev/input/by-id/...; that name stays
    key: int | None = None  # key code that presses; None = any key of the device
    required: bool = True  # the arms run only while it is plugged in


@dataclass(frozen=True, slots=True)
class GpioStop:
    """A normally closed contact from a GPIO line to ground: a pressed button and a cut wire both open it."""

    line: int
    chip: str = "/dev/gpiochip0"
    required: bool = True  # the arms run only while the line can be read


@dataclass(frozen=True, slots=True)
class EStops:
    """All of a rig's sources; whatever is declared is on."""

    socket: SocketStop | None = None
    pedal: PedalStop | None = None
    gpio: GpioStop | None = None

    @property
    def declared(self) -> tuple[str, ...]:
        """Names of the sources that the rig has."""
        return tuple(name for name in ("socket", "pedal", "gpio") if getattr(self, name) is not None)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of those without which the arms do not run."""
        return tuple(name for name in self.declared if getattr(self, name).required)


def mistakes(stops: EStops) -> Iterator[str]:
    """What is wrong in values that have the right types."""
    socket, pedal, gpio = stops.socket, stops.pedal, stops.gpio
    if socket is not None:
        if not 1024 <= socket.port <= 65535:
            yield f"estop.socket.port: {socket.port} must be within 1024..65535"
        own = is_loopback(socket.bind)
        if own is None:
            yield f"estop.socket.bind: '{socket.bind}' is no IP address; for example 127.0.0.1, or 0.0.0.0 for all"
        elif not own and socket.token_file is None:
            yield f"estop.socket.bind: others reach {socket.bind}: it needs a token_file (or bind 127.0.0.1)"
    if pedal is not None:
        if not pedal.device.startswith("/"):
            yield f"estop.pedal.device: '{pedal.device}' must be a path, as /dev/input/by-id/..."
        if pedal.key is not None and not 1 <= pedal.key <= KEYS:
            yield f"estop.pedal.key: {pedal.key} must be a Linux key code within 1..{KEYS}, or left out for any key"
    if gpio is not None:
        if not gpio.chip.startswith("/dev/"):
            yield f"estop.gpio.chip: '{gpio.chip}' must be a device, as /dev/gpiochip0"
        if not 0 <= gpio.line < LINES:
            yield f"estop.gpio.line: {gpio.line} must be within 0..{LINES - 1}"


def is_loopback(address: str) -> bool | None:
    """Whether only this machine reaches `address`; None when it is none."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return None
