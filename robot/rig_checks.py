"""What can be wrong in a rig file, one line a mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import cattrs

from .errors import nearest
from .models import load_model, model_names
from .stops import config as stops

if TYPE_CHECKING:
    from .rig import Pose, Rig

# The largest values that still limit something: about ten times what the fastest small arms do.
_ARM_MAX = {
    "velocity_rad_s": 50.0,
    "acceleration_rad_s2": 2000.0,
    "jerk_rad_s3": 200_000.0,
    "torque_n_m": 500.0,
}
_GRIPPER_MAX = {
    "speed_m_s": 5.0,
    "acceleration_m_s2": 200.0,
    "jerk_m_s3": 20_000.0,
    "force_n": 1000.0,
    "hold_n": 200.0,
    "hold_after_s": 10.0,
}
NAME = re.compile(r"\w[\w .-]{0,63}")  # it becomes part of paths and of a terminal's lines
FAR_M = 10.0  # nothing of a rig stands farther from the origin of its cell
_GUARD_RANGE = {
    "rate_hz": (50.0, 1000.0),
    "expiry_ms": (1.0, 2000.0),
    "heartbeat_ms": (10.0, 2000.0),
    "stale_state_ms": (1.0, 1000.0),
    "stale_camera_ms": (1.0, 5000.0),
    "tracking_error_rad": (0.01, 3.2),
    "tracking_error_ms": (1.0, 5000.0),
    "self_collision_m": (0.0, 0.1),
    "between_arms_m": (0.0, 0.3),
    "lookahead": (1, 50),
    "temperature_derate_c": (20.0, 90.0),
    "temperature_stop_c": (20.0, 90.0),
    "rejects_to_fault": (1, 100),
    "park_speed": (0.01, 1.0),
}


def structure_mistakes(error: BaseException, path: str) -> Iterator[str]:
    """Flatten a cattrs exception tree into one line a mistake; `path` is dotted, as in the file."""
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        valid = [f.name for f in fields(error.cl)] if is_dataclass(error.cl) else []
        for key in sorted(error.extra_fields):
            yield f"{_join(path, key)}: unknown field{nearest(key, valid)}"
    elif isinstance(error, BaseExceptionGroup):
        for child in error.exceptions:
            yield from structure_mistakes(child, path + _place(child))
    elif isinstance(error, KeyError):
        yield f"{_join(path, '')}: missing"
    else:
        what = {AttributeError: "is not a mapping of names", TypeError: "is not a list"}
        text = what.get(type(error), str(error)).partition(" to structure as ")[0]
        yield f"{path.lstrip('.') or 'rig'}: {text}"


def _place(error: BaseException) -> str:
    for note in reversed(getattr(error, "__notes__", [])):
        told = getattr(note, "__dict__", {})  # of cattrs' notes; a plain text has a method `index`
        name, index = told.get("name"), told.get("index")
        if name is not None:
            return f".{name}"
        if index is not None:
            return f".{index}" if isinstance(index, str) else f"[{index}]"
    return ""


def _join(path: str, key: str) -> str:
    return f"{path}.{key}".strip(".") or "rig"


def check_names(raw: Mapping[str, Any]) -> Iterator[str]:
    """Names that refer to other names; looked at even when a field elsewhere is wrong."""
    arms = raw.get("arms") if isinstance(raw.get("arms"), dict) else {}
    for name, arm in (arms or {}).items():
        model = arm.get("model") if isinstance(arm, dict) else None
        if isinstance(model, str) and model not in model_names():
            yield f"arms.{name}.model: unknown arm description '{model}'{nearest(model, model_names())}"
    for name, gripper in (raw.get("grippers") or {}).items() if isinstance(raw.get("grippers"), dict) else ():
        arm = gripper.get("arm") if isinstance(gripper, dict) else None
        if isinstance(arm, str) and arm not in (arms or {}):
            yield f"grippers.{name}.arm: no arm is called '{arm}'{nearest(arm, arms or {})}"
    for name, camera in (raw.get("cameras") or {}).items() if isinstance(raw.get("cameras"), dict) else ():
        mount = camera.get("mount", "world") if isinstance(camera, dict) else "world"
        choices = ["world", *(arms or {})]
        if isinstance(mount, str) and mount not in choices:
            yield f"cameras.{name}.mount: nothing is called '{mount}'{nearest(mount, choices)}"


def check_values(rig: Rig) -> list[str]:
    """Values that have the right type and are still wrong."""
    wrong: list[str] = []
    called = [("name", rig.name), *(("arms", n) for n in rig.arms), *(("grippers", n) for n in rig.grippers)]
    for where, name in (*called, *(("cameras", n) for n in rig.cameras)):
        if not NAME.fullmatch(name):
            wrong.append(
                f"{where}: {name!r:.60} is no name; letters, digits, '_', '-', '.' and spaces, at most 64, a letter, "
                "digit or '_' first"
            )
    if not rig.arms:
        wrong.append("arms: a rig needs at least one arm")
    for name, arm in rig.arms.items():
        if arm.model not in model_names():
            continue  # `check_names` has told
        n = len(load_model(arm.model).joints)
        for f in fields(arm.limits):
            value = getattr(arm.limits, f.name)
            values = value if isinstance(value, tuple) else (value,)
            where = f"arms.{name}.limits.{f.name}"
            if isinstance(value, tuple) and len(value) != n:
                wrong.append(f"{where}: {len(value)} values for the {n} joints of '{arm.model}'")
            highest = _ARM_MAX.get(f.name)
            if highest is not None and any(not 0 < v <= highest for v in values):
                wrong.append(
                    f"{where}: {value} must be above 0 and at most {highest:g}; limits cannot be switched off"
                )
        if not 0 <= arm.limits.position_margin_rad <= 0.5:  # NaN fails too
            value = arm.limits.position_margin_rad
            wrong.append(f"arms.{name}.limits.position_margin_rad: {value} must be within 0..0.5 rad")
        wrong += _check_pose(f"arms.{name}.base", arm.base)
    carried: dict[str, str] = {}
    for name, gripper in rig.grippers.items():
        for field_name, highest in _GRIPPER_MAX.items():
            value = getattr(gripper, field_name)
            if not 0 < value <= highest:
                wrong.append(
                    f"grippers.{name}.{field_name}: {value} must be above 0 and at most {highest:g}; "
                    "limits cannot be switched off"
                )
        if gripper.arm in carried:
            wrong.append(f"grippers.{name}.arm: '{gripper.arm}' carries '{carried[gripper.arm]}' already")
        carried[gripper.arm] = name
    for name, camera in rig.cameras.items():
        for size in ("width", "height"):
            value = getattr(camera, size)
            if not 16 <= value <= 4096 or value % 2:
                wrong.append(f"cameras.{name}.{size}: {value} must be an even number of pixels in 16..4096")
        if not 0 < camera.fps <= 1000:
            wrong.append(f"cameras.{name}.fps: {camera.fps} must be within 0..1000 Hz")
        if not 1 <= camera.fovy_deg <= 170:
            wrong.append(f"cameras.{name}.fovy_deg: {camera.fovy_deg} must be within 1..170 degrees")
        if not 0 <= camera.latency_ms <= 1000:
            wrong.append(f"cameras.{name}.latency_ms: {camera.latency_ms} must be within 0..1000 ms")
        if camera.pose is not None:
            wrong += _check_pose(f"cameras.{name}.pose", camera.pose)
    guard = rig.guard
    for name, (lowest, highest) in _GUARD_RANGE.items():
        value = getattr(guard, name)
        if not lowest <= value <= highest:
            wrong.append(f"guard.{name}: {value} must be within {lowest:g}..{highest:g}")
    wrong += stops.mistakes(rig.estop)
    if guard.temperature_derate_c > guard.temperature_stop_c:
        wrong.append(
            f"guard.temperature_derate_c: {guard.temperature_derate_c} must not be above temperature_stop_c "
            f"({guard.temperature_stop_c})"
        )
    if not -0.05 <= rig.table.clearance_m <= 0.2:
        wrong.append(f"table.clearance_m: {rig.table.clearance_m} must be within -0.05..0.2 m")
    if not -2 <= rig.table.height_m <= 2:
        wrong.append(f"table.height_m: {rig.table.height_m} must be within -2..2 m")
    if not 1 <= rig.control_hz <= guard.rate_hz:
        wrong.append(f"control_hz: {rig.control_hz} must be within 1..guard.rate_hz ({guard.rate_hz})")
    if any(
        not -FAR_M <= lo < hi <= FAR_M
        for lo, hi in zip(rig.workspace.min_m, rig.workspace.max_m, strict=True)
    ):
        wrong.append(
            f"workspace: min_m {rig.workspace.min_m} must be below max_m {rig.workspace.max_m}, "
            f"both within {-FAR_M:g}..{FAR_M:g} m"
        )
    return wrong


def _check_pose(where: str, pose: Pose) -> list[str]:
    norm = sum(v * v for v in pose.wxyz) ** 0.5
    wrong = []
    if not abs(norm - 1) < 1e-3:
        wrong.append(f"{where}.wxyz: {pose.wxyz} is not a unit quaternion (norm {norm:.4f})")
    if not all(abs(v) <= FAR_M for v in pose.xyz_m):  # NaN fails too
        wrong.append(f"{where}.xyz_m: {pose.xyz_m} must be within {-FAR_M:g}..{FAR_M:g} m")
    return wrong
