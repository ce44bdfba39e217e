"""Whether what is recorded now belongs into a dataset that is there; what does not is said before anything moves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...data.meta import load_meta
from ...data.spec import DatasetSpec
from ...robot.errors import DatasetError, UsageError
from ...robot.rig import Rig

KEYS = ("backend", "camera_fps", "calibration")  # beside what `DatasetSpec.differences` looks at


def with_devices(spec: DatasetSpec, rig: Rig, cameras: Sequence[str], real: bool) -> DatasetSpec:
    """`spec`, with what else must stay as it is: the cameras' rates, and how the real arms are calibrated."""
    fps = {name: rig.cameras[name].fps for name in cameras}
    extra = {**spec.extra, "camera_fps": fps, "calibration": calibrations(rig) if real else {}}
    return replace(spec, extra=extra)


def calibrations(rig: Rig) -> dict[str, str]:
    """Twelve hex digits of each arm's calibration file. Raises `UsageError` for one that cannot be read."""
    found: dict[str, str] = {}
    for name, arm in rig.arms.items():
        if arm.calibration is not None:
            try:
                found[name] = hashlib.sha256(Path(arm.calibration).read_bytes()).hexdigest()[:12]
            except OSError as error:
                raise UsageError(
                    f"{arm.calibration}: calibration of arm '{name}' cannot be read ({error.strerror})"
                ) from None
    return found


def check_match(root: Path, spec: DatasetSpec) -> None:
    """Raise `DatasetError` that lists why episodes with `spec` do not belong into the dataset at `root`."""
    if not (root / "meta" / "info.json").exists():
        return
    meta = load_meta(root)
    wrong = meta.spec.differences(spec)
    known: Mapping[str, Any] = meta.spec.extra
    wrong += [
        f"{key}: dataset {known[key]}, now {spec.extra.get(key)}"
        for key in KEYS
        if key in known and known[key] != spec.extra.get(key)
    ]
    if wrong and not (meta.entries or meta.notes):
        raise DatasetError(
            f"{root}: is empty, and was begun with other settings: {'; '.join(wrong)}; remove that folder, or name "
            "another one"
        )
    if wrong:
        raise DatasetError(
            f"{root}: does not fit what is recorded now: {'; '.join(wrong)}; record with the same rig and settings, "
            "or into a new folder"
        )


def next_seed(root: Path, first: int) -> int:
    """The seed after those of the dataset's episodes; `first` where there are none."""
    if not (root / "meta" / "info.json").exists():
        return first
    meta = load_meta(root)
    seeds = [note.get("info", {}).get("seed") for note in meta.notes.values()]
    return max([first, *(seed + 1 for seed in seeds if isinstance(seed, int))])
