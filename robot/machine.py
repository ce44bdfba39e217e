"""Which port and camera is which on this machine: a small file of its own, for a rig describes a cell and travels.

For a rig that ships it is `$XDG_CONFIG_HOME/twinloop/<rig>.machine.yaml` (by default in `~/.config`), for a user's
own `<rig>.machine.yaml` beside it. `twinloop setup-devices` writes it; a person may. Whatever it names goes before
what the rig names: it was found out here, and a rig may have come from elsewhere.

    arms:
      arm: {port: /dev/serial/by-id/usb-1a86_USB_Single_Serial_58FA, calibration: my_arm.json}
    cameras:
      front: {device: /dev/v4l/by-id/usb-046d_C920-video-index0}
      wrist: {serial: "218622270000"}
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from .errors import RigError, nearest
from .rig import SIZE_MAX, Rig, load_rig
from .rig_yaml import StrictLoader

SUFFIX = ".machine.yaml"
HEAD = (
    "# Which port and camera is which on this machine, for the rig '{}'; `twinloop setup-devices` wrote it.\n"
)


@dataclass(frozen=True, slots=True)
class ArmPlace:
    """Where an arm is plugged in."""

    port: str | None = None  # serial port, by a name that stays, or an address
    calibration: str | None = None  # LeRobot's calibration file; a relative path starts at the machine file


@dataclass(frozen=True, slots=True)
class CameraPlace:
    """Which camera it is."""

    device: str | None = None  # as OpenCV opens it: a path, a number, a video file
    serial: str | None = None  # of a RealSense


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine file says."""

    arms: Mapping[str, ArmPlace] = field(default_factory=dict)
    cameras: Mapping[str, CameraPlace] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LocalRig:
    """A rig as it stands on this machine, and where its machine file is or would be."""

    rig: Rig  # ports, calibration files and devices filled in; its `hash()` is the plain rig's
    file: Path
    origins: Mapping[str, str]  # "arms.arm.port" -> who named it, for what the rig itself did not

    def origin(self, place: str) -> str:
        """` (from FILE)` for a place as `arms.arm.port`, or "" where nobody but the rig named it."""
        return f" (from {self.origins[place]})" if place in self.origins else ""

    def lines(self) -> list[str]:
        """A line for every arm with a port: `arm: port /dev/... (from FILE)`."""
        return [
            f"{name}: port {arm.port}{self.origin(f'arms.{name}.port')}"
            for name, arm in self.rig.arms.items()
            if arm.port is not None
        ]


def machine_path(name_or_path: str | Path) -> Path:
    """Where the machine file of a rig lies, given as to `load_rig`."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return path.with_name(path.stem + SUFFIX).absolute()
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification has relative paths ignored (XDG Base Directory, 0.8).
    folder = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return folder / "twinloop" / f"{name_or_path}{SUFFIX}"


def load_local_rig(name_or_path: str | Path, ports: Mapping[str, str] | None = None) -> LocalRig:
    """The rig with what its machine file says, and `ports` (arm -> port, from the command line) before both.

    Raises `RigError` for mistakes in either file, or an arm in `ports` that the rig does not have.
    """
    rig, file = load_rig(name_or_path), machine_path(name_or_path)
    return placed(rig, load_machine(file, rig), file, ports or {})


def placed(rig: Rig, machine: Machine, file: Path, ports: Mapping[str, str]) -> LocalRig:
    """As `load_local_rig`, of what is loaded already."""
    for name in ports:
        if name not in rig.arms:
            raise RigError(f"--port {name}: no arm is called '{name}'{nearest(name, rig.arms)}")
    origins: dict[str, str] = {}
    arms, cameras = dict(rig.arms), dict(rig.cameras)
    for name, arm in machine.arms.items():
        changes: dict[str, Any] = {f: v for f in _names(ArmPlace) if (v := getattr(arm, f)) is not None}
        origins |= {f"arms.{name}.{f}": str(file) for f in changes}
        if "calibration" in changes:
            changes["calibration"] = (file.parent / Path(changes["calibration"]).expanduser()).absolute()
        arms[name] = replace(arms[name], **changes)
    for name, camera in machine.cameras.items():
        changes = {f: v for f in _names(CameraPlace) if (v := getattr(camera, f)) is not None}
        origins |= {f"cameras.{name}.{f}": str(file) for f in changes}
        cameras[name] = replace(cameras[name], **changes)
    for name, port in ports.items():
        arms[name] = replace(arms[name], port=port)
        origins[f"arms.{name}.port"] = "--port"
    return LocalRig(replace(rig, arms=arms, cameras=cameras), file, origins)


def load_machine(file: Path, rig: Rig) -> Machine:
    """Read the machine file of `rig`; an empty `Machine` where there is none.

    Raises `RigError` that lists every mistake with its path in the file and the nearest valid name.
    """
    try:
        if not file.exists():
            return Machine()
        if not file.is_file() or file.stat().st_size > SIZE_MAX:
            raise RigError(
                f"{file}: not a machine file; remove it, and `twinloop setup-devices` writes another"
            )
        raw = yaml.load(file.read_text(), StrictLoader)
    except OSError as error:
        raise RigError(f"{file}: cannot read the machine file ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        at = f" line {where.line + 1}" if where else ""
        raise RigError(f"{file}:{at} not valid YAML: {getattr(error, 'problem', error)}") from None
    mistakes = list(_mistakes(raw, rig))
    if mistakes:
        head = f"{file}: {len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}"
        raise RigError("\n  ".join([head, *mistakes]))
    raw = raw or {}
    return Machine(
        {name: ArmPlace(**(arm or {})) for name, arm in (raw.get("arms") or {}).items()},
        {name: CameraPlace(**(camera or {})) for name, camera in (raw.get("cameras") or {}).items()},
    )


def machine_text(machine: Machine, rig: Rig) -> str:
    """The file's text; what is not known is left out."""
    content = {
        section: {
            name: {f.name: v for f in fields(place) if (v := getattr(place, f.name)) is not None}
            for name, place in getattr(machine, section).items()
        }
        for section in ("arms", "cameras")
    }
    kept = {key: {n: p for n, p in places.items() if p} for key, places in content.items()}
    body = {key: places for key, places in kept.items() if places}
    return HEAD.format(rig.name) + (yaml.safe_dump(body, sort_keys=False, width=200) if body else "{}\n")


def save_machine(file: Path, machine: Machine, rig: Rig) -> None:
    """Write the file whole or not at all. Raises `RigError` where it cannot be written, or would not load."""
    text = machine_text(machine, rig)
    mistakes = list(_mistakes(yaml.load(text, StrictLoader), rig))
    if mistakes:
        raise RigError("\n  ".join([f"{file}: not written, for", *mistakes]))
    fresh = ""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}-", delete=False) as out:
            fresh = out.name
            os.fchmod(out.fileno(), 0o644)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(fresh, file)
    except OSError as error:
        raise RigError(f"{file}: cannot write the machine file ({error.strerror})") from None
    finally:
        with contextlib.suppress(OSError):
            if fresh:
                os.unlink(fresh)


def _mistakes(raw: Any, rig: Rig) -> Iterator[str]:
    """One line a mistake."""
    if raw is None:
        return
    if not isinstance(raw, dict):
        yield f"a machine file is a mapping of fields{nearest('', _names(Machine))}"
        return
    for key in raw:
        if key not in _names(Machine):
            yield f"{key}: unknown field{nearest(key, _names(Machine))}"
    for section, known, of in (("arms", rig.arms, ArmPlace), ("cameras", rig.cameras, CameraPlace)):
        places = raw.get(section)
        if places is None:
            continue
        if not isinstance(places, dict):
            yield f"{section}: {places!r:.60} is not a mapping of the rig's {section}{nearest('', known)}"
            continue
        users: dict[str, str] = {}
        for name, place in places.items():
            where = f"{section}.{name}"
            if name not in known:
                yield f"{where}: the rig '{rig.name}' has no {section[:-1]} of that name{nearest(name, known)}"
                continue
            if place is not None and not isinstance(place, dict):
                yield f"{where}: {place!r:.60} is not a mapping with the fields {', '.join(_names(of))}"
                continue
            for key, value in (place or {}).items():
                if key not in _names(of):
                    yield f"{where}.{key}: unknown field{nearest(key, _names(of))}"
                elif not isinstance(value, str) or not value.strip():
                    yield f"{where}.{key}: {value!r:.60} is not a text; put it in quotes"
                elif wrong := _not_for(rig, section, name, key):
                    yield f"{where}.{key}: {wrong}"
                elif key != "calibration" and users.setdefault(value, where) != where:
                    yield f"{where}.{key}: '{value}' is {users[value]}'s already"


def _not_for(rig: Rig, section: str, name: str, key: str) -> str:
    """Why the field `key` says nothing to this kind of device."""
    if section != "cameras":
        return ""
    kind = rig.cameras[name].kind
    wanted = {"opencv": "device", "realsense": "serial"}.get(kind, key)  # a plug-in may look at either
    return "" if key == wanted else f"a camera of kind '{kind}' is chosen by its {wanted}; write {wanted}"


def _names(of: type) -> list[str]:
    return [f.name for f in fields(of)]
