"""Errors with one root.

Every message names the file, field, value, limit and valid choices, and the way out. The command line
prints the message of a `TwinloopError` as one line and exits with code 2; anything else is a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TwinloopError(Exception):
    """Root of all errors that a user can meet."""


class RigError(TwinloopError):
    """A rig file, or something it names, is wrong. The message lists every mistake at once."""


class UsageError(TwinloopError):
    """An argument on the command line or of a public call is wrong."""


class DatasetError(TwinloopError):
    """A dataset is missing, damaged, from the future, or does not fit what is asked of it."""


class CheckpointError(TwinloopError):
    """A checkpoint is damaged or was made for another rig, joints, cameras or normalisation."""


class DeviceError(TwinloopError):
    """A device (arm, gripper, camera, renderer) cannot be opened or stopped answering."""


class StaleData(DeviceError):
    """The latest sample of a device is older than allowed; carries the age in ns."""

    def __init__(self, device: str, age_ns: int, limit_ns: int) -> None:
        super().__init__(
            f"{device}: latest sample is {age_ns / 1e6:.1f} ms old, limit {limit_ns / 1e6:.1f} ms; "
            f"check its cable and its rate, or raise max_age in the rig"
        )
        self.device = device
        self.age_ns = age_ns
        self.limit_ns = limit_ns


class GuardFault(TwinloopError):
    """The guard has latched a fault: the arm holds until `Guard.rearm()` is called."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return `"; did you mean 'x'? valid: a, b, c"`, the tail of a message about an unknown name."""
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"; {hint}valid: {', '.join(known) if known else '(none)'}"
