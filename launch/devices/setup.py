"""The guided way from plugged-in devices to a machine file, saved after every answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...robot.arms.servo_line import ServoHealth, ServoLine, servo_line, tcp_port
from ...robot.buses.port import port_owners
from ...robot.errors import DeviceError, RigError, UsageError
from ...robot.interfaces import Clock
from ...robot.machine import ArmPlace, CameraPlace, Machine, load_machine, machine_text, save_machine
from ...robot.rig import Rig
from ..progress import say
from .arm_checks import ANY_TCP_PORT, reach
from .calibrations import calibration_files, fits
from .camera_checks import FoundCamera, realsense_cameras, video_cameras
from .camera_probe import open_source
from .dialogue import Dialogue
from .identify import unplugged, wiggled
from .identify_cameras import covered, pictures
from .ports import Places, SerialDevice, is_port, serial_devices, stable_name
from .search import port_opener

ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")  # of a host; whether it is there is asked
SKIP, AGAIN = ("s", "leave it out for now"), ("n", "look again")


@dataclass(slots=True)
class Setup:
    """Finds out where the devices of `rig` are and keeps `file` up to date with it."""

    rig: Rig
    file: Path
    dialogue: Dialogue
    places: Places
    clock: Clock
    machine: Machine

    @classmethod
    def begin(cls, rig: Rig, file: Path, dialogue: Dialogue, places: Places, clock: Clock) -> Setup:
        """With what the file says already. Raises `RigError` for mistakes in it."""
        return cls(rig, file, dialogue, places, clock, load_machine(file, rig))

    def run(
        self, ports: Mapping[str, str], cameras: Mapping[str, str], calibrations: Mapping[str, str]
    ) -> None:
        """Ask about all arms, then all cameras; what is given needs no question."""
        for name in self.rig.arms:
            self.arm(name, ports.get(name), calibrations.get(name))
        for name in self.rig.cameras:
            self.camera(name, cameras.get(name))
        if self.machine.arms or self.machine.cameras:
            say(f"\n{self.file}:\n{machine_text(self.machine, self.rig)}")
        else:
            say(f"\nnothing was found: no {self.file.name} is written")

    # ---------------------------------------------------------------- arms

    def arm(self, name: str, port: str | None = None, calibration: str | None = None) -> None:
        """Port and calibration file of one arm."""
        line = self.line(name)
        if line is None:
            self._address(name, port)
            return
        if port is None:
            port = self.port(name, line)
        elif not is_port(port):
            here = ", ".join(self._port_names()) or "none plugged in"
            what = "not a serial port" if Path(port).exists() else "not there"
            raise UsageError(f"--port {name}={port}: {what}; serial ports: {here}")
        if port is None:
            return
        self._save_arm(name, port=stable_name(port, self.places))
        seen = self._seen(name, port, line)
        if line.calibrated:
            self._calibration(name, seen, calibration)

    def port(self, name: str, line: ServoLine) -> str | None:
        """Ask which port; None: left out. A port that another arm has is offered with a word about that."""
        known = self._arm(name).port or self.rig.arms[name].port
        what = f"arm '{name}' ({self.rig.arms[name].model}, {len(line.joints)} servos)"
        while True:
            found = serial_devices(self.places)
            others = {p.port for n, p in self.machine.arms.items() if n != name}
            free = [device for device in found if device.path not in others]
            options = {str(k): self._about(device) for k, device in enumerate(found, 1)}
            options |= {
                "w": "move the arm by hand, and see whose servos turn (its power on)",
                "u": "pull its plug, and see which port goes away",
            }
            if not found:
                options = {}
                say(
                    f"\nno serial port is plugged in (looked in {self.places.dev}/serial/by-id, ttyUSB, ttyACM)"
                )
            default = self._default(known, found, free)
            if self.dialogue.yes and default not in (*map(str, range(1, len(found) + 1)), SKIP[0]):
                raise UsageError(
                    f"{what}: {len(found)} ports, and nothing tells which; name it: --port {name}=PORT, one of "
                    f"{', '.join(device.path for device in found)}"
                )
            answer = self.dialogue.choose(f"\n{what}: which port?", options | dict([AGAIN, SKIP]), default)
            if answer == SKIP[0]:
                return None
            if answer.isdigit():
                return found[int(answer) - 1].path
            chosen = None
            if answer == "w":
                chosen = wiggled(f"arm '{name}'", self._buses(free or found, line), line, self.clock)
            elif answer == "u":
                chosen = unplugged(f"arm '{name}'", self._port_names, self.clock)
            if chosen is not None:
                return chosen

    def line(self, name: str) -> ServoLine | None:
        """The servos of an arm by its description; a calibration file that does not fit must not be in the way."""
        bare = replace(self.rig.arms[name], calibration=None)
        return servo_line(replace(self.rig, arms={**self.rig.arms, name: bare}), name)

    def _port_names(self) -> list[str]:
        return [device.path for device in serial_devices(self.places)]

    def _about(self, device: SerialDevice) -> str:
        used = [n for n, place in self.machine.arms.items() if place.port == device.path]
        words = [device.path, device.product, device.usb, f"(now arm '{used[0]}')" if used else ""]
        return " ".join(word for word in words if word)

    def _default(self, known: str | None, found: list[SerialDevice], free: list[SerialDevice]) -> str:
        for k, device in enumerate(found, 1):
            if known in (device.path, device.node):
                return str(k)
        if len(free) == 1:
            return str(found.index(free[0]) + 1)
        if not found:
            return SKIP[0] if self.dialogue.yes else AGAIN[0]
        return "w"

    def _buses(self, devices: list[SerialDevice], line: ServoLine) -> dict[str, Any]:
        """Buses of the ports that nobody uses."""
        buses = {}
        for device in devices:
            if owners := port_owners(device.path):
                say(f"left out: {device.path}: in use by process {', '.join(map(str, owners))}")
                continue
            buses[device.path] = port_opener(device.path, line.kind, self.clock)(line.baud)
        return buses

    def _seen(self, name: str, port: str, line: ServoLine) -> dict[int, ServoHealth]:
        """What the servos at `port` say of themselves, and how many there are; reads alone."""
        seen: dict[int, ServoHealth] = {}
        if owners := port_owners(port):
            say(f"{port} is in use by process {', '.join(map(str, owners))}: its servos are not asked")
            return seen
        bus = port_opener(port, line.kind, self.clock)(line.baud)
        try:
            bus.open()
            for id in line.joints:
                if bus.ping(id):
                    seen[id] = line.kind.health(bus, id)
        except DeviceError as error:
            say(str(error))
        finally:
            bus.close()
        hint = (
            "" if len(seen) == len(line.joints) else "; is its power on? `twinloop doctor --rig` tells more"
        )
        say(f"{name}: {len(seen)} of {len(line.joints)} servos answer{hint}")
        return seen

    def _calibration(self, name: str, seen: Mapping[int, ServoHealth], given: str | None) -> None:
        """Ask for the calibration file; those of LeRobot that fit the servos' own memory are offered."""
        model = self.rig.arms[name].model
        if given is not None:
            fits(Path(given).expanduser(), model, {})  # raises
            self._save_arm(name, calibration=str(Path(given).expanduser().absolute()))
            return
        known = self._arm(name).calibration
        others = {place.calibration for other, place in self.machine.arms.items() if other != name}
        found = (str(path) for path in calibration_files(model, seen) if str(path) not in others)
        offered = known or next(found, "none")
        while True:
            question = f"calibration file of '{name}' (LeRobot's JSON; none: not calibrated)"
            answer = self.dialogue.ask(question, offered)
            if answer == "none":
                return
            path = (
                self.file.parent / Path(answer).expanduser() if answer == known else Path(answer).expanduser()
            )
            try:
                other = fits(path, model, seen)
            except RigError as error:
                say(str(error))
                if self.dialogue.yes:
                    return
                offered = "none"
                continue
            if other:
                say(f"another arm's, or an old one; offsets: {', '.join(other)}")
                if not self.dialogue.confirm("take it all the same?", default=False):
                    offered = "none"
                    if self.dialogue.yes:
                        return
                    continue
            self._save_arm(name, calibration=answer if answer == known else str(path.absolute()))
            return

    def _address(self, name: str, given: str | None) -> None:
        """An arm whose control box has an address."""
        known = self._arm(name).port or self.rig.arms[name].port or ""
        question = (
            f"\narm '{name}' ({self.rig.arms[name].model}): address of its control box (s: leave it out)"
        )
        answer = given or self.dialogue.ask(question, known or "s")
        while not (answer == "s" or ADDRESS.fullmatch(answer)):
            wrong = f"'{answer}' is no address: an IP address or a host's name, as 192.168.1.2"
            if given or self.dialogue.yes:
                raise UsageError(f"--port {name}: {wrong}")
            say(wrong)
            answer = self.dialogue.ask(question, known or "s")
        if answer == "s":
            return
        self._save_arm(name, port=answer)
        found = reach(name, answer, tcp_port(self.rig, name) or ANY_TCP_PORT, "")
        say(found.detail if found.status == "ok" else f"{found.detail}; {found.fix}")

    def _arm(self, name: str) -> ArmPlace:
        return self.machine.arms.get(name, ArmPlace())

    def _save_arm(self, name: str, **changes: str) -> None:
        arms = {**self.machine.arms, name: replace(self._arm(name), **changes)}
        for other, place in self.machine.arms.items():  # a port is one arm's
            if other != name and "port" in changes and place.port == changes["port"]:
                say(f"{changes['port']} was arm '{other}', which has none now")
                arms[other] = replace(place, port=None)
        self._save(replace(self.machine, arms=arms))

    # ---------------------------------------------------------------- cameras

    def camera(self, name: str, given: str | None = None) -> None:
        """Which camera it is."""
        config = self.rig.cameras[name]
        if config.kind not in ("opencv", "realsense"):
            say(f"\ncamera '{name}': of kind '{config.kind}', which says itself what it opens")
            return
        if given is not None:
            self._save_camera(name, given)
            return
        what = f"camera '{name}' ({config.kind}, {config.width}x{config.height})"
        place = self._camera(name)
        known = place.device or place.serial or config.device or config.serial
        while True:
            found = self._cameras(config.kind)
            others = {c.device or c.serial for n, c in self.machine.cameras.items() if n != name}
            free = [camera for camera in found if camera.device not in others]
            numbers = {str(k): camera.device for k, camera in enumerate(found, 1)}
            options = {str(k): _named(camera) for k, camera in enumerate(found, 1)}
            if found:
                options |= {"c": "cover its lens, and see whose picture goes dark"}
                options |= {"p": "a picture of each, as files", "u": "pull its plug"}
            else:
                say(f"\nno {config.kind} camera is plugged in")
            default = next((k for k, device in numbers.items() if device == known), None)
            if default is None and len(free) == 1:
                default = next(k for k, device in numbers.items() if device == free[0].device)
            if default is None:
                default = "c" if found and not self.dialogue.yes else SKIP[0]
            answer = self.dialogue.choose(f"\n{what}: which?", options | dict([AGAIN, SKIP]), default)
            if answer == SKIP[0]:
                return
            chosen = numbers.get(answer)
            if answer == "c":
                chosen = covered(
                    f"camera '{name}'",
                    [camera.device for camera in free or found],
                    lambda device: open_source(self._with(name, device), name),
                    self.clock,
                )
            elif answer == "u":
                chosen = unplugged(
                    f"camera '{name}'",
                    lambda kind=config.kind: [c.device for c in self._cameras(kind)],
                    self.clock,
                )
            elif answer == "p":
                pictures(numbers, lambda device: open_source(self._with(name, device), name))
            if chosen is not None:
                self._save_camera(name, chosen)
                return

    def _cameras(self, kind: str) -> list[FoundCamera]:
        if kind == "opencv":
            return video_cameras(self.places)
        try:
            return realsense_cameras()
        except DeviceError as error:
            say(str(error))
            return []

    def _with(self, name: str, device: str) -> Rig:
        """The rig with `device` as camera `name`."""
        config = self.rig.cameras[name]
        changes: dict[str, Any] = {"serial" if config.kind == "realsense" else "device": device}
        return replace(self.rig, cameras={**self.rig.cameras, name: replace(config, **changes)})

    def _camera(self, name: str) -> CameraPlace:
        return self.machine.cameras.get(name, CameraPlace())

    def _save_camera(self, name: str, device: str) -> None:
        realsense = self.rig.cameras[name].kind == "realsense"
        place = CameraPlace(serial=device) if realsense else CameraPlace(device=device)
        cameras = {**self.machine.cameras, name: place}
        for other, its in self.machine.cameras.items():
            if other != name and its == place:
                say(f"{device} was camera '{other}', which has none now")
                cameras[other] = CameraPlace()
        self._save(replace(self.machine, cameras=cameras))

    def _save(self, machine: Machine) -> None:
        save_machine(self.file, machine, self.rig)
        self.machine = machine


def _named(camera: FoundCamera) -> str:
    usb = "" if camera.usb_mbit is None else f"(USB, {camera.usb_mbit} Mbit/s)"
    return " ".join(word for word in (camera.device, camera.name, usb) if word)
