"""`twinloop setup-devices`: find out which port and camera is which, number servos, write udev rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from ..devices.ports import Places
    from ..devices.setup import Setup


@dataclass(frozen=True, slots=True)
class Command:
    """Set up the devices of a rig on this machine: ports are told apart by moving an arm by hand or pulling its
    plug, cameras by covering the lens. Every question has a default. The answers go into the rig's machine file,
    each as soon as it is given. No torque is switched and nothing moves; only --ids writes into servos.

    Example:
        twinloop setup-devices --rig so101
        twinloop setup-devices --rig so101 --port arm=/dev/ttyACM0 --yes
        twinloop setup-devices --rig so101 --ids
    """

    rig: str = "so101"
    """Rig name or path of a rig file."""
    port: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """ARM=PORT: an arm's serial port or address, in place of the question."""
    camera: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """CAMERA=DEVICE: a camera's device, or serial number of a RealSense, in place of the question."""
    calibration: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """ARM=FILE: an arm's calibration file (LeRobot's JSON), in place of the question."""
    yes: bool = False
    """Take the default of every question; ends with an error where nothing tells which device is meant."""
    ids: bool = False
    """Number the servos of a new arm (--arm), one at a time: id and baud rate."""
    arm: str | None = None
    """The arm that --ids is about; not needed where there is one."""
    udev: bool = False
    """Print rules for udev (access without root, short waits, names); as root, install them after a question."""
    look_in: Path | None = None
    """One more folder to look in: links to serial ports (as an emulator's), videos in place of cameras."""

    def run(self) -> int:
        from ...robot.clock import RealClock
        from ...robot.errors import UsageError
        from ...robot.machine import machine_path
        from ...robot.rig import load_rig
        from ..devices.dialogue import Dialogue
        from ..devices.local import named
        from ..devices.ports import Places
        from ..devices.setup import Setup
        from ..progress import say

        if self.look_in is not None and not self.look_in.is_dir():
            raise UsageError(f"--look-in {self.look_in}: no folder")
        rig, file = load_rig(self.rig), machine_path(self.rig)
        ports = named("--port", self.port, rig.arms)
        cameras = named("--camera", self.camera, rig.cameras)
        calibrations = named("--calibration", self.calibration, rig.arms)
        places = Places(look_in=None if self.look_in is None else self.look_in.absolute())
        setup = Setup.begin(rig, file, Dialogue(self.yes), places, RealClock())
        if self.udev:
            return self._udev(setup, places)
        if self.ids:
            return self._ids(setup, ports)
        say(f"rig {rig.name}: arms {', '.join(rig.arms)}; cameras {', '.join(rig.cameras) or 'none'}")
        say(f"answers go into {file}, each as it is given; Ctrl-C keeps those before")
        setup.run(ports, cameras, calibrations)
        left = _left(setup)
        say(f"left out: {', '.join(left)}" if left else f"now: twinloop doctor --rig {self.rig}")
        return 1 if left else 0

    def _ids(self, setup: Setup, ports: Mapping[str, str]) -> int:
        from ...robot.errors import UsageError, nearest
        from ..devices.numbering import number_servos
        from ..devices.search import port_opener
        from ..progress import say

        arms = setup.rig.arms
        if self.arm is None and len(arms) > 1:
            raise UsageError(f"--ids: of which arm? add --arm, one of: {', '.join(arms)}")
        name = self.arm or next(iter(arms))
        if name not in arms:
            raise UsageError(f"--arm {name}: no arm is called '{name}'{nearest(name, arms)}")
        line = setup.line(name)
        if line is None:
            raise UsageError(f"--ids: the servos of '{name}' ({arms[name].model}) are numbered by its maker")
        if self.yes:
            raise UsageError(
                "--ids --yes: a person has to connect one servo after the other; leave --yes out"
            )
        port = ports.get(name) or setup.port(name, line)
        if port is None:
            return 1
        done = number_servos(name, line, port_opener(port, line.kind, setup.clock), setup.dialogue)
        left = [id for id in line.joints if id not in done]
        say(f"numbered: {', '.join(map(str, sorted(done))) or 'none'}" + (f"; left: {left}" if left else ""))
        return 1 if left else 0

    def _udev(self, setup: Setup, places: Places) -> int:
        from ..devices.ports import serial_devices
        from ..devices.udev import offer, rules

        devices = {device.path: device for device in serial_devices(places)}
        arms = {name: devices[p.port] for name, p in setup.machine.arms.items() if p.port in devices}
        offer(rules(arms, self.rig), setup.dialogue)
        return 0


def _left(setup: Setup) -> Sequence[str]:
    """Devices that the machine file and the rig name no place for."""
    arms = [
        f"arm '{name}'"
        for name, arm in setup.rig.arms.items()
        if not (setup.machine.arms.get(name) and setup.machine.arms[name].port) and arm.port is None
    ]
    cameras = [
        f"camera '{name}'"
        for name, camera in setup.rig.cameras.items()
        if name not in setup.machine.cameras and camera.kind in ("opencv", "realsense")
        if not (camera.device or camera.serial)
    ]
    return [*arms, *cameras]
