"""Calibration files of an arm: where LeRobot keeps them, and whether one is this arm's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...robot.arms.servo_line import ServoHealth
from ...robot.errors import RigError
from ...robot.lerobot_units import motor_names, read_calibration
from ...robot.models import load_model

OFFSET_TICKS = 8  # by which a servo and its calibration file may differ


def lerobot_folder() -> Path:
    """Where LeRobot 0.6 (`utils/constants.py`) keeps calibrations, as its environment variables have it."""
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")
    home = Path(os.environ.get("HF_LEROBOT_HOME") or cache / "lerobot")
    return Path(os.environ.get("HF_LEROBOT_CALIBRATION") or home / "calibration").expanduser()


def calibration_files(model: str, seen: Mapping[int, ServoHealth]) -> Iterator[Path]:
    """LeRobot's files of followers that fit description and servos; without a servo to ask there are none."""
    for path in sorted(lerobot_folder().glob("robots/*/*.json")) if seen else ():
        try:
            if not fits(path, model, seen):
                yield path
        except RigError:
            continue  # of another arm


def fits(path: Path, model: str, seen: Mapping[int, ServoHealth]) -> list[str]:
    """What the servos remember otherwise than the file says: LeRobot writes each offset into both.

    Raises `RigError` for a file that is none of this arm description.
    """
    description = load_model(model)
    entries = read_calibration(path, description)
    other: list[str] = []
    for joint in motor_names(description):
        found, offset = seen.get(entries[joint].id), entries[joint].homing_offset
        if found is not None and found.offset is not None and abs(found.offset - offset) > OFFSET_TICKS:
            other.append(f"{joint} {found.offset} in the servo, {offset} in the file")
    return other
