"""The rig file: which arms, grippers and cameras stand in which cell, and their limits.

One YAML file per rig, read with cattrs into the frozen dataclasses below. All mistakes are reported at once,
each with its path in the file and the nearest valid name. Lengths m, angles rad, times s or ms as the field's
name says; poses `X_WB` are `xyz_m` + `wxyz`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import cattrs
import yaml
from cattrs.gen import make_dict_structure_fn

from .errors import RigError, nearest
from .models import load_model
from .rig_checks import check_names, check_values, structure_mistakes
from .rig_yaml import StrictLoader
from .stops.config import EStops, GpioStop, PedalStop, SocketStop
from .types import JointSpec, frozen

SIZE_MAX = 200_000  # bytes of a rig file


@dataclass(frozen=True, slots=True)
class Pose:
    """Pose of a frame in its parent."""

    xyz_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    wxyz: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ArmLimits:
    """Limits the guard enforces on every joint of the arm (one number = the same for all)."""

    velocity_rad_s: float | tuple[float, ...] = 3.5
    acceleration_rad_s2: float | tuple[float, ...] = 30.0
    jerk_rad_s3: float | tuple[float, ...] = 1500.0
    torque_n_m: float | tuple[float, ...] = 2.9
    position_margin_rad: float = 0.02  # kept from each end of the description's joint range


@dataclass(frozen=True, slots=True)
class ArmConfig:
    """One arm of the rig."""

    model: str  # an arm description: `twinloop rigs --models`
    base: Pose = Pose()  # X_WB
    limits: ArmLimits = ArmLimits()
    port: str | None = None  # serial port or address; None = find it (hardware only)
    calibration: Path | None = None  # LeRobot calibration file of this arm, beside the rig


@dataclass(frozen=True, slots=True)
class GripperConfig:
    """One gripper; `arm` names the arm that carries it."""

    arm: str
    speed_m_s: float = 0.25
    acceleration_m_s2: float = 2.5
    jerk_m_s3: float = 120.0
    force_n: float = 20.0  # while it takes hold
    hold_n: float = 8.0  # what it holds on with, for ever
    hold_after_s: float = 1.0  # above `hold_n`; see robot/guard/grip.py


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """One camera. `mount` is "world", or the name of an arm whose wrist carries it."""

    width: int = 640  # px
    height: int = 480  # px
    fps: float = 30.0
    kind: str = "opencv"  # "opencv" | "realsense" | a plug-in; with --sim the first two are emulated
    mount: str = "world"
    pose: Pose | None = None  # X_WC or X_EC (x right, y down, z forward); None = the description's mount
    fovy_deg: float = 50.0
    serial: str | None = None
    device: str | None = None
    latency_ms: float = 30.0  # mid-exposure to observation
    options: Mapping[str, Any] = field(default_factory=dict)  # for plug-ins


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-aligned box in the world frame, m."""

    min_m: tuple[float, float, float]
    max_m: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Table:
    """The plane the arm works on. `height_m` is its z in the world frame."""

    height_m: float = 0.0
    clearance_m: float = -0.004  # how close the guard's capsules may come (< 0: capsules may dip in)


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """What the guard enforces besides the arms' own limits. Everything is on by default."""

    rate_hz: float = 200.0
    expiry_ms: float = 100.0  # longest time a command stays valid after its last row
    heartbeat_ms: float = 200.0  # longest pause of a remote operator whose dead-man is armed
    stale_state_ms: float = 50.0
    stale_camera_ms: float = 250.0
    tracking_error_rad: float = 0.6  # commanded minus measured, sustained
    tracking_error_ms: float = 500.0
    self_collision_m: float = 0.005  # smallest distance between capsules of links that are not neighbours
    between_arms_m: float = 0.08  # the same for two arms, each of which lags behind its command
    lookahead: int = 4  # poses checked on the way to the next stop
    temperature_derate_c: float = 60.0
    temperature_stop_c: float = 65.0
    rejects_to_fault: int = 3  # bad chunks in a row that latch a fault
    park_speed: float = 0.35  # share of the velocity limits used to park


@dataclass(frozen=True, slots=True)
class Rig:
    """A rig as its file describes it."""

    name: str
    arms: Mapping[str, ArmConfig]
    grippers: Mapping[str, GripperConfig] = field(default_factory=dict)
    cameras: Mapping[str, CameraConfig] = field(default_factory=dict)
    control_hz: float = 30.0
    workspace: Box = Box((-0.6, -0.6, -0.05), (0.6, 0.6, 0.8))
    table: Table = Table()
    guard: GuardConfig = GuardConfig()
    leader: bool = False  # a person leads its arms: the guard may let go of them wherever they are
    estop: EStops = EStops()  # sources beside the agent's own; whatever is named here is on
    notes: str = ""

    def joint_spec(self, arm: str) -> JointSpec:
        """Joint names and the limits the guard keeps for `arm` (description range less the margin)."""
        config = self.arms[arm]
        model = load_model(config.model)
        n = len(model.joints)
        lo, hi = model.joint_ranges()
        limits = config.limits
        margin = limits.position_margin_rad

        def per_joint(value: float | tuple[float, ...]) -> Any:
            return frozen([value] * n if isinstance(value, float | int) else value)

        return JointSpec(
            names=model.joints,
            q_min=frozen(lo + margin),
            q_max=frozen(hi - margin),
            dq_max=per_joint(limits.velocity_rad_s),
            ddq_max=per_joint(limits.acceleration_rad_s2),
            dddq_max=per_joint(limits.jerk_rad_s3),
            tau_max=per_joint(limits.torque_n_m),
        )

    def gripper_of(self, arm: str) -> str | None:
        """Name of the gripper that `arm` carries, or None."""
        return next((name for name, gripper in self.grippers.items() if gripper.arm == arm), None)

    def state_names(self) -> tuple[str, ...]:
        """Component names of `observation.state`: all arms' joints in rig order, then the grippers.

        One-arm rigs use "<joint>.pos" and "gripper.pos"; others prefix the arm's or gripper's name.
        """
        single = len(self.arms) == 1
        names = [
            f"{joint}.pos" if single else f"{arm}.{joint}.pos"
            for arm, config in self.arms.items()
            for joint in load_model(config.model).joints
        ]
        names += ["gripper.pos" if single and len(self.grippers) == 1 else f"{g}.pos" for g in self.grippers]
        return tuple(names)

    def hash(self) -> str:
        """Twelve hex digits that change with the arms, their limits, where cameras look from, or the rate."""
        plain = cattrs.Converter(unstruct_collection_overrides={}).unstructure(self)
        kept = {key: plain[key] for key in ("arms", "grippers", "cameras", "control_hz")}
        for arm in kept["arms"].values():
            for field_name in ("port", "calibration"):
                arm.pop(field_name, None)
        for camera in kept["cameras"].values():  # where it looks from matters here; the rest is a device's
            for field_name in ("width", "height", "fps", "kind", "serial", "device", "latency_ms", "options"):
                camera.pop(field_name, None)
        return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


def rig_names() -> list[str]:
    """Names of the rigs that ship with Twinloop."""
    return sorted(p.name[:-5] for p in resources.files("twinloop.rigs").iterdir() if p.name.endswith(".yaml"))


def load_rig(name_or_path: str | Path) -> Rig:
    """Read a rig by its name (shipped rigs) or its path (`*.yaml`).

    Raises `RigError` that lists every mistake with its path in the file and the nearest valid name.
    """
    text = str(name_or_path)
    path = Path(text)
    if path.suffix in (".yaml", ".yml"):
        try:
            if not path.is_file() and path.exists():
                raise RigError(f"{path}: not a file; a rig is a YAML file")
            if path.exists() and path.stat().st_size > SIZE_MAX:
                raise RigError(f"{path}: larger than {SIZE_MAX // 1000} kB; a rig is a short YAML file")
            source = path.read_text()
        except OSError as error:
            raise RigError(f"{path}: cannot read the rig file ({error.strerror})") from None
        except UnicodeDecodeError:
            raise RigError(f"{path}: not a text file; a rig is YAML in UTF-8") from None
    elif text in rig_names():
        path = Path(f"{text}.yaml")
        source = (resources.files("twinloop.rigs") / path.name).read_text()
    else:
        raise RigError(f"unknown rig '{text}'{nearest(text, rig_names())}; or give the path of a .yaml file")
    try:
        raw = yaml.load(source, StrictLoader)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        at = f" line {where.line + 1}" if where else ""
        raise RigError(f"{path}:{at} not valid YAML: {getattr(error, 'problem', error)}") from None
    except RecursionError:
        raise RigError(f"{path}: nested too deep for a rig") from None
    except ValueError as error:  # a date that is none, say
        raise RigError(f"{path}: not valid YAML: {error}; put texts in quotes") from None
    rig = parse_rig(raw, str(path))
    beside = {
        name: replace(arm, calibration=_beside(path, arm.calibration)) for name, arm in rig.arms.items()
    }
    socket = rig.estop.socket
    if socket is not None:
        socket = replace(socket, token_file=_beside(path, socket.token_file))
    return replace(rig, arms=beside, estop=replace(rig.estop, socket=socket))


def _beside(rig: Path, file: Path | None) -> Path | None:
    """A path in the rig file is meant from where that lies."""
    return None if file is None else (rig.parent / file.expanduser()).absolute()


def parse_rig(raw: Any, file: str) -> Rig:
    """Turn the parsed YAML `raw` into a `Rig`; `file` is named in errors."""
    if not isinstance(raw, dict):
        raise RigError(f"{file}: a rig is a mapping of fields{nearest('', [f.name for f in fields(Rig)])}")
    mistakes = list(check_names(raw))
    rig: Rig | None = None
    try:
        rig = _converter().structure(raw, Rig)
    except cattrs.BaseValidationError as error:
        mistakes = list(structure_mistakes(error, "")) + mistakes
    if rig is not None:
        mistakes += check_values(rig)
    if mistakes or rig is None:
        head = f"{file}: {len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}"
        raise RigError("\n  ".join([head, *dict.fromkeys(mistakes)]))
    return rig


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)

    def number(value: Any, _: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r:.60} is not a number")
        return float(value)

    def integer(value: Any, _: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{value!r:.60} is not a whole number")
        return value

    def switch(value: Any, _: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r:.60} is neither true nor false")
        return value

    def text(value: Any, _: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r:.60} is not a text; put it in quotes")
        return value

    def number_or_list(value: Any, _: Any) -> float | tuple[float, ...]:
        if isinstance(value, list):
            return tuple(number(v, float) for v in value)
        return number(value, float)

    converter.register_structure_hook(float, number)
    converter.register_structure_hook(int, integer)
    converter.register_structure_hook(bool, switch)
    converter.register_structure_hook(str, text)
    converter.register_structure_hook(float | tuple[float, ...], number_or_list)
    converter.register_structure_hook(str | None, lambda v, t: None if v is None else text(v, t))
    converter.register_structure_hook(Path | None, lambda v, t: None if v is None else Path(text(v, t)))
    converter.register_structure_hook(
        Pose | None, lambda v, t: None if v is None else converter.structure(v, Pose)
    )
    for kind in (SocketStop, PedalStop, GpioStop):
        converter.register_structure_hook(kind | None, _or_none(converter, kind))
    converter.register_structure_hook(int | None, lambda v, t: None if v is None else integer(v, t))
    parts = (Pose, ArmLimits, ArmConfig, GripperConfig, CameraConfig, Box, Table, GuardConfig)
    for cls in (*parts, SocketStop, PedalStop, GpioStop, EStops, Rig):
        plain = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
        converter.register_structure_hook(cls, _needs_mapping(cls, plain))
    return converter


def _or_none(converter: cattrs.Converter, kind: type) -> Any:
    return lambda value, _: None if value is None else converter.structure(value, kind)


def _needs_mapping(cls: type, plain: Any) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            names = ", ".join(f.name for f in fields(cls))
            raise ValueError(f"{value!r:.60} is not a mapping with the fields {names}")
        return plain(value, cls)

    return structure
