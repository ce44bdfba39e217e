"""LeRobot's units for joint positions <-> rad, with or without the arm's calibration file.

LeRobot stores an arm's positions in one of two ways (`mode`): "range_m100_100", in which -100..100 spans
the range that was recorded by hand at calibration, or "degrees" from the middle of that range. The gripper
is 0..100 of its range in both, 0 = shut. A calibration file holds for every motor `id`, `drive_mode`,
`homing_offset`, `range_min`, `range_max`, the last three in encoder ticks, 4096 a turn. Formulae:
`_normalize` and `_unnormalize` of LeRobot 0.6, `motors/motors_bus.py`; `drive_mode` turns the sign in both
range modes and plays no part in degrees, where LeRobot also counts 4095 ticks a turn.

Where zero is. With a calibration file, the middle of the recorded range of an arm joint is taken to be the
middle of the joint's range in the arm description, and the shut end of the gripper's range the lower end of
its joint's. One tick is 2 pi / 4096. For the SO-101 the middles are joint angle 0, but for wrist_roll, where
it is 0.049 rad: the gripper is level there. LeRobot records 0..4095 for wrist_roll, so its middle is where
the person held it at calibration: expect an offset of some degrees from arm to arm.

Without a file, the recorded ranges are taken to be those of the description. Real arms differ: the SO-101
that recorded `SamueleSandrini/record-test` has, by the steps of its data, ranges of 224, 202, 194, 201, 337
and 130 degrees; the description's are 220, 200, 194, 190, 320 and 110.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .errors import RigError, UsageError, nearest
from .models import ArmModel
from .types import F64

Mode = Literal["range_m100_100", "degrees"]
MODES: tuple[Mode, ...] = ("range_m100_100", "degrees")
TICKS = 4096  # a turn, STS3215 and XL330
IDS = 252  # the highest of a Dynamixel servo; Feetech's is 253
OFFSET_TICKS = 16 * TICKS  # more is no offset of a servo
SPAN_TICKS = 100  # 9 degrees
DEGREE_TICKS = TICKS - 1  # a turn, as LeRobot's degrees count it


@dataclass(frozen=True, slots=True)
class MotorCalibration:
    """One motor's entry of a LeRobot calibration file."""

    id: int
    drive_mode: int  # 1 = ticks grow against the joint's positive direction
    homing_offset: int  # ticks; lives in the motor and plays no part here
    range_min: int  # ticks
    range_max: int  # ticks


@dataclass(frozen=True, slots=True)
class LeRobotUnits:
    """Conversion for one arm. Make it with `nominal` or `from_file`."""

    model: ArmModel
    mode: Mode
    motors: Mapping[str, MotorCalibration] | None  # None: the description's ranges
    source: str  # which map this is, for logs and dataset metadata

    @classmethod
    def nominal(cls, model: ArmModel, mode: Mode = "range_m100_100") -> LeRobotUnits:
        """The map for an arm whose calibration is unknown: its ranges are those of the description."""
        _check_mode(mode)
        return cls(model, mode, None, f"description '{model.name}' (no calibration file), {mode}")

    @classmethod
    def from_file(cls, path: str | Path, model: ArmModel, mode: Mode = "range_m100_100") -> LeRobotUnits:
        """The map that LeRobot's calibration file `path` (JSON) gives.

        Raises `RigError` that names file, motor, field, value and what would be valid.
        """
        _check_mode(mode)
        return cls(model, mode, read_calibration(path, model), f"calibration {path}, {mode}")

    def to_rad(self, values: ArrayLike, names: Sequence[str]) -> F64:
        """LeRobot values (..., k) of the motors `names` -> joint angles (..., k), rad.

        Names are those of joints ("elbow_flex") or of features ("elbow_flex.pos"); the gripper's angle is
        that of its joint. Values outside -100..100 are converted, not clipped. Raises `UsageError` for an
        unknown name or a wrong shape.
        """
        zero_rad, slope = self._lines(names)
        return zero_rad + slope * _columns(values, names)

    def from_rad(self, angles_rad: ArrayLike, names: Sequence[str]) -> F64:
        """Joint angles (..., k), rad -> LeRobot values (..., k): inverse of `to_rad`, nothing clipped."""
        zero_rad, slope = self._lines(names)
        return (_columns(angles_rad, names) - zero_rad) / slope

    def to_si(self, values: ArrayLike, names: Sequence[str]) -> F64:
        """As `to_rad`, but the gripper comes as the width between its pads, m."""
        out = self.to_rad(values, names)
        for k in self._grippers(names):
            out[..., k] = self.model.angle_to_width(out[..., k])
        return out

    def from_si(self, values: ArrayLike, names: Sequence[str]) -> F64:
        """As `from_rad`, but the gripper is given as the width between its pads, m."""
        angles = _columns(values, names).copy()
        for k in self._grippers(names):
            angles[..., k] = self.model.width_to_angle(angles[..., k])
        return self.from_rad(angles, names)

    def _grippers(self, names: Sequence[str]) -> list[int]:
        return [k for k, name in enumerate(names) if _motor(name) == self.model.gripper_joint]

    def _lines(self, names: Sequence[str]) -> tuple[F64, F64]:
        table = np.array([self._line(_motor(name)) for name in names]).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def _line(self, motor: str) -> tuple[float, float]:
        """Joint angle at value 0, rad, and rad per unit."""
        model = self.model
        known = motor_names(model)
        if motor not in known:
            raise UsageError(f"arm description '{model.name}' has no motor '{motor}'{nearest(motor, known)}")
        gripper = motor == model.gripper_joint
        if gripper:
            low, high = model.gripper_range()
        else:
            index = model.joints.index(motor)
            low, high = (float(end[index]) for end in model.joint_ranges())
        span, sign = high - low, 1.0
        if self.motors is not None:
            entry = self.motors[motor]
            span = (entry.range_max - entry.range_min) * 2.0 * np.pi / TICKS
            sign = -1.0 if entry.drive_mode else 1.0
        if gripper:
            return low, span / 100.0
        middle = 0.5 * (low + high)
        if self.mode == "degrees":
            # Without a file the degrees are true ones, and the sign is the joint's.
            degree = np.pi / 180.0 if self.motors is None else DEGREE_TICKS / 360.0 * 2.0 * np.pi / TICKS
            return middle, sign * degree
        return middle, span / 200.0


def motor_names(model: ArmModel) -> tuple[str, ...]:
    """Names of the arm's motors as LeRobot orders them: the joints, then the gripper."""
    return (*model.joints, *((model.gripper_joint,) if model.gripper_joint is not None else ()))


def read_calibration(path: str | Path, model: ArmModel) -> dict[str, MotorCalibration]:
    """Read a LeRobot calibration file (JSON) of `model`: motor -> entry.

    Raises `RigError` that lists every mistake with file, motor, field, value and what would be valid.
    """
    try:
        raw = json.loads(Path(path).read_text(), object_pairs_hook=_once)
    except OSError as error:
        raise RigError(f"{path}: cannot read the calibration file ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise RigError(f"{path}: not valid JSON: {error}") from None
    known = motor_names(model)
    if not isinstance(raw, dict) or "motor_names" in raw:
        older = "; this is the format of LeRobot before 0.2: calibrate again" if isinstance(raw, dict) else ""
        raise RigError(f"{path}: expected one entry for each motor ({', '.join(known)}){older}")
    mistakes = [f"unknown motor '{name}'{nearest(name, known)}" for name in raw if name not in known]
    mistakes += [f"motor '{name}' is missing" for name in known if name not in raw]
    for name in known:
        if name in raw:
            mistakes += [f"motor '{name}'{text}" for text in _mistakes(raw[name])]
    if not mistakes:
        mistakes = _mixed_up({name: raw[name]["id"] for name in known})
    if mistakes:
        raise RigError(
            "\n  ".join([f"{path}: {len(mistakes)} mistake{'s' * (len(mistakes) > 1)}", *mistakes])
        )
    return {name: MotorCalibration(**raw[name]) for name in known}


def _mistakes(entry: Any) -> list[str]:
    names = [field.name for field in fields(MotorCalibration)]
    if not isinstance(entry, dict):
        return [f": {entry!r} is not a mapping with the fields {', '.join(names)}"]
    found = [f", unknown field '{key}'{nearest(key, names)}" for key in entry if key not in names]
    for name in names:
        value = entry.get(name)
        if name not in entry:
            found.append(f", field {name} is missing")
        elif isinstance(value, bool) or not isinstance(value, int):
            found.append(f", field {name}: {value!r} is not a whole number")
        elif name == "id" and not 1 <= value <= IDS:
            found.append(f", field id: {value} is not within 1..{IDS}")
        elif name == "homing_offset" and abs(value) > OFFSET_TICKS:
            found.append(
                f", field homing_offset: {value} is not within {-OFFSET_TICKS}..{OFFSET_TICKS} ticks"
            )
        elif name == "drive_mode" and value not in (0, 1):
            found.append(f", field drive_mode: {value} is neither 0 nor 1")
        elif name in ("range_min", "range_max") and not 0 <= value < TICKS:
            found.append(f", field {name}: {value} is not within 0..{TICKS - 1} ticks")
    if not found and entry["range_min"] >= entry["range_max"]:
        found.append(f", field range_min: {entry['range_min']} is not below range_max {entry['range_max']}")
    elif not found and entry["range_max"] - entry["range_min"] < SPAN_TICKS:
        span = entry["range_max"] - entry["range_min"]
        found.append(
            f", field range_max: {span} ticks above range_min; no joint moves by less than {SPAN_TICKS}"
        )
    return found


def _mixed_up(ids: Mapping[str, int]) -> list[str]:
    """What is wrong with the motors' `ids`: LeRobot numbers them from the base to the jaw."""
    usual = dict(enumerate(ids, 1))
    found: list[str] = []
    for name, id in ids.items():
        if usual.get(id, name) != name:
            found.append(f"motor '{name}', field id: {id} is that of '{usual[id]}'")
        elif list(ids.values()).count(id) > 1:
            found.append(f"motor '{name}', field id: {id} stands at another motor, too")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(n for n in names if names.count(n) > 1)}' stands there twice")
    return found


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise UsageError(f"unknown LeRobot unit mode '{mode}'{nearest(mode, MODES)}")


def _motor(name: str) -> str:
    return name.removesuffix(".pos")


def _columns(values: ArrayLike, names: Sequence[str]) -> F64:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != len(names):
        raise UsageError(f"values of shape {array.shape} do not fit {len(names)} names: {', '.join(names)}")
    return array
