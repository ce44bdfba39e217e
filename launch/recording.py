"""A recording of a real arm, opened for replay: its numbers as rad and m in the rig's order."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.reader import Dataset
from ..robot.errors import DatasetError, RigError, UsageError, nearest
from ..robot.lerobot_units import LeRobotUnits
from ..robot.models import ArmModel, load_model
from ..robot.rig import Rig
from ..robot.types import F64, frozen


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded episode of one arm: rows at `fps`, joints in the rig's order."""

    index: int
    fps: int
    asked_q: F64  # (T, n) rad, commanded
    real_q: F64  # (T, n) rad, measured
    asked_width_m: F64 | None  # (T,)
    real_width_m: F64 | None  # (T,)


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset opened for replay, and how its numbers become rad and m."""

    dataset: Dataset
    rig: Rig
    arm: str
    model: ArmModel
    units: LeRobotUnits | None  # None: the dataset is in SI units
    mapping: str  # which map was used, in words
    columns: Mapping[str, tuple[int, ...]]  # feature -> index of each component in the rig's order
    zeros_rad: F64 | None = None  # (n,) added to every joint angle; None: the map's zeros as they are

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of what is compared: the arm's joints, then the gripper's."""
        gripper = self.model.gripper_joint
        return (*self.model.joints, *((gripper,) if self.has_gripper and gripper else ()))

    @property
    def has_gripper(self) -> bool:
        return self.rig.gripper_of(self.arm) is not None

    def episode(self, index: int) -> Recording:
        """Read episode `index`. Raises `DatasetError` for values that are no numbers."""
        found = self.dataset.episode(index).columns
        asked_q, asked_width = self._si(found["action"], "action", index)
        real_q, real_width = self._si(found["observation.state"], "observation.state", index)
        return Recording(index, self.dataset.spec.fps, asked_q, real_q, asked_width, real_width)

    def jaw(self, width_m: F64) -> F64:
        """Angle of the jaw, rad, for widths between the pads, m; shut tighter than 0 counts as 0."""
        return self.model.width_to_angle(np.clip(width_m, 0.0, None))

    def _si(self, values: np.ndarray, key: str, index: int) -> tuple[F64, F64 | None]:
        rows = np.asarray(values, dtype=np.float64)[:, self.columns[key]]
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            raise DatasetError(f"{self.dataset.root}: episode {index}, row {bad[0]}: {key} is not finite")
        si = rows if self.units is None else self.units.to_si(rows, self.joints)
        n = len(self.model.joints)
        q = si[:, :n] if self.zeros_rad is None else si[:, :n] + self.zeros_rad
        return frozen(q), frozen(np.clip(si[:, n], 0.0, None)) if self.has_gripper else None


def open_source(root: Path, rig: Rig, calibration: Path | None = None, degrees: bool = False) -> Source:
    """Open the dataset at `root` for replay on the one arm of `rig`.

    `calibration`: LeRobot's file of the recorded arm, for datasets in LeRobot's units; without, the rig's
    file is taken, then the joint ranges of the arm description. `degrees`: the joints are in LeRobot's
    degrees, not -100..100. Raises a one-line `TwinloopError` for whatever does not fit.
    """
    if len(rig.arms) != 1:
        raise UsageError(f"rig '{rig.name}' has {len(rig.arms)} arms; replay takes rigs with one arm")
    arm, config = next(iter(rig.arms.items()))
    model = load_model(config.model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*video missing")  # pictures are not replayed
        dataset = Dataset(root).open()
    columns = {key: _order(dataset, key, rig) for key in ("action", "observation.state")}
    if str(dataset.spec.extra.get("units", "")).startswith("SI"):
        if calibration is not None or degrees:
            raise UsageError(f"{root}: is in rad and m already; leave out --calibration and --degrees")
        return Source(dataset, rig, arm, model, None, "the dataset's own rad and m", columns)
    path = calibration or config.calibration
    mode = "degrees" if degrees else "range_m100_100"
    if path is None:
        units = LeRobotUnits.nominal(model, mode)
    else:
        try:
            units = LeRobotUnits.from_file(path, model, mode)
        except UnicodeDecodeError:
            raise RigError(f"{path}: not a LeRobot calibration file (not a text)") from None
        except RigError as error:
            head, *mistakes = [line.strip() for line in str(error).splitlines()]
            raise RigError(f"{head}: {'; '.join(mistakes)}" if mistakes else head) from None
    return Source(dataset, rig, arm, model, units, units.source, columns)


def _order(dataset: Dataset, key: str, rig: Rig) -> tuple[int, ...]:
    vectors = dataset.spec.vectors
    if key not in vectors:
        raise DatasetError(f"{dataset.root}: no vector column '{key}' to replay{nearest(key, vectors)}")
    names, wanted = tuple(vectors[key]), rig.state_names()
    for name in names:
        if name not in wanted:
            raise DatasetError(
                f"{dataset.root}: {key} has '{name}', which rig '{rig.name}' has not{nearest(name, wanted)}"
            )
    for name in wanted:
        if name not in names:
            raise DatasetError(
                f"{dataset.root}: {key} lacks '{name}' of rig '{rig.name}'{nearest(name, names)}"
            )
    return tuple(names.index(name) for name in wanted)
