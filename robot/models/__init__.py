"""Arm descriptions: one MJCF a model that serves guard, inverse kinematics and twin.

A shipped description is a pair of files in this folder: `<name>.xml` and `<name>.py`, whose `MODEL` is an
`ArmModel`. Others come from installed packages through the entry-point group `twinloop.models` (the entry
point's value is an `ArmModel`, its name the model's name).
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..errors import RigError, nearest
from ..types import F64, frozen
from .jaw import GripperMap

ENTRY_POINTS = "twinloop.models"
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class ArmModel:
    """Description of one arm and, where it has one, its gripper. Joint angles rad, lengths m.

    `mjcf` holds the arm alone, standing at its base frame `B`: geoms of group 2 are seen, those of group 3
    touch, capsules of group 4 named `guard_<body>_<k>` are what the guard keeps apart.
    """

    name: str
    mjcf: Path
    joints: tuple[str, ...]  # the arm's joints; THE joint order
    gripper_joint: str | None
    base_site: str  # base frame B
    tool_site: str  # end effector frame E
    grasp_site: str  # between the pads: x approach, y from the moving pad to the fixed one, z = x cross y
    camera_site: str | None  # lens of the wrist camera, MuJoCo camera axes (looks along -z, y up)
    rest_q_rad: F64  # (n,) folded; torque may go off here
    home_q_rad: F64  # (n,) ready over the table, gripper down and forward
    gripper: GripperMap | None = None
    fixed_pad_m: float | None = (
        None  # grasp site to the face of the pad that stands still; None = both pads move
    )
    servos: tuple[str, ...] = ()  # a joint each, the gripper's last; names of sim/servo.py; () = STS3215

    def servo_of(self, joint: str) -> str:
        """Name of the servo that drives `joint`."""
        if not self.servos:
            return "sts3215_7v4"
        return self.servos[-1] if joint == self.gripper_joint else self.servos[self.joints.index(joint)]

    def joint_ranges(self) -> tuple[F64, F64]:
        """Ends of the joints' ranges, (n,) rad each, read-only, from the MJCF."""
        ranges = _ranges(self.mjcf)
        lo, hi = zip(*(ranges[joint] for joint in self.joints), strict=True)
        return frozen(lo), frozen(hi)

    def gripper_range(self) -> tuple[float, float]:
        """Ends of the gripper joint's range, rad (m for a prismatic one)."""
        if self.gripper_joint is None:
            raise RigError(f"arm description '{self.name}' has no gripper")
        return _ranges(self.mjcf)[self.gripper_joint]

    @property
    def gripper_width_max_m(self) -> float:
        """Largest width between the pads, m; the smallest is 0."""
        return self._gripper().width_max_m

    @property
    def gripper_lever_m(self) -> float:
        """Torque of the gripper joint over force between the pads, m."""
        return self._gripper().lever_m

    def width_to_angle(self, width_m: ArrayLike) -> F64:
        """Gripper joint coordinate (rad) for a width between the pads (m); any shape."""
        return self._gripper().width_to_angle(width_m)

    def angle_to_width(self, angle_rad: ArrayLike) -> F64:
        """Width between the pads (m) for a gripper joint coordinate (rad); any shape."""
        return self._gripper().angle_to_width(angle_rad)

    def _gripper(self) -> GripperMap:
        if self.gripper is None:
            raise RigError(f"arm description '{self.name}' has no gripper")
        return self.gripper


def model_names() -> list[str]:
    """Names that `load_model` knows: shipped descriptions and those of installed packages."""
    return sorted({*_shipped(), *_plugins()})


@functools.cache
def load_model(name: str) -> ArmModel:
    """The arm description called `name`. Raises `RigError` that names the valid choices."""
    if name in _shipped():
        model, where = importlib.import_module(f"{__name__}.{name}").MODEL, f"{__name__}.{name}"
    elif name in _plugins():
        where = f"entry point '{name}' of group '{ENTRY_POINTS}'"
        try:
            model = _plugins()[name].load()
        except Exception as error:
            raise RigError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    else:
        raise RigError(f"unknown arm description '{name}'{nearest(name, model_names())}")
    if not isinstance(model, ArmModel):
        raise RigError(f"{where} is a {type(model).__name__}; an ArmModel is needed")
    return model


def _shipped() -> list[str]:
    return [path.stem for path in _HERE.glob("*.xml") if path.with_suffix(".py").exists()]


def _plugins() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}


@functools.cache
def _ranges(mjcf: Path) -> dict[str, tuple[float, float]]:
    import mujoco

    try:
        model = mujoco.MjModel.from_xml_path(str(mjcf))
    except ValueError as error:
        raise RigError(f"{mjcf}: not a valid MJCF: {error}") from None
    ends = np.where(model.jnt_limited[:, None].astype(bool), model.jnt_range, [-np.inf, np.inf])
    return {model.joint(j).name: (float(ends[j, 0]), float(ends[j, 1])) for j in range(model.njnt)}
