"""What a dataset holds: its rate, its vectors and scalars, its cameras."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..robot.errors import DatasetError
from .codec import VideoCodec
from .layout import FORMAT, IMAGE_PREFIX, dropped_key, image_key

SCALAR_DTYPES = ("float64", "float32", "int64", "bool")
# Columns that every LeRobotDataset has; the writer fills them.
FIXED = {
    "timestamp": "float32",  # s since the episode's first row, frame_index / fps
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
GROWING = ("sources", "limit_names", "modes")  # lists in `extra` that a session may append to
STRICT = ("rig", "rig_hash", "units", "task")  # what must be the same when recording goes on
SHOWN = 4  # names of components in a message
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """Features of a dataset. Columns of data carry SI units: rad, m, s, N; pictures are RGB uint8."""

    fps: int  # rows a second
    robot_type: str
    vectors: Mapping[str, tuple[str, ...]]  # feature -> names of its components, float32
    scalars: Mapping[str, str] = field(default_factory=dict)  # feature -> one of SCALAR_DTYPES
    cameras: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # camera -> (height, width) px
    extra: Mapping[str, Any] = field(default_factory=dict)  # JSON-able; "twinloop" in info.json

    def check(self, codec: VideoCodec) -> None:
        """Raise `DatasetError` that lists every mistake in the spec."""
        wrong: list[str] = []
        if not (isinstance(self.fps, int) and 0 < self.fps <= 1000):
            wrong.append(f"fps {self.fps!r}: expected a whole number from 1 to 1000")
        if not self.vectors and not self.scalars:
            wrong.append("no vectors and no scalars: nothing to record")
        for key in (*self.vectors, *self.scalars):
            if not _NAME.fullmatch(key):
                wrong.append(f"feature '{key}': use letters, digits, '.', '_', '-'")
            elif key in FIXED or key in map(dropped_key, self.cameras):
                wrong.append(f"feature '{key}': the writer fills this one itself; drop it from the spec")
            elif "image" in key:
                wrong.append(f"feature '{key}': only cameras may have 'image' in their name (LeRobot)")
        for key in self.vectors.keys() & self.scalars.keys():
            wrong.append(f"feature '{key}': is both a vector and a scalar")
        for key, names in self.vectors.items():
            if not names or len(set(names)) != len(names):
                wrong.append(f"feature '{key}': needs one or more distinct component names, has {names}")
        for key, dtype in self.scalars.items():
            if dtype not in SCALAR_DTYPES:
                wrong.append(f"feature '{key}': dtype '{dtype}'; valid: {', '.join(SCALAR_DTYPES)}")
        for camera, (height, width) in self.cameras.items():
            if not _NAME.fullmatch(camera):
                wrong.append(f"camera '{camera}': use letters, digits, '.', '_', '-'")
            try:
                codec.check(camera, height, width)
            except DatasetError as error:
                wrong.append(str(error))
        if wrong:
            raise DatasetError("dataset spec: " + "; ".join(wrong))

    @property
    def dropped(self) -> tuple[str, ...]:
        """The features in which the writer notes dropped frames, one a camera."""
        return tuple(dropped_key(camera) for camera in self.cameras)

    def features(self, codec: VideoCodec) -> dict[str, dict[str, Any]]:
        """The `features` of info.json."""
        found: dict[str, dict[str, Any]] = {}
        for key, names in self.vectors.items():
            found[key] = {"dtype": "float32", "shape": [len(names)], "names": list(names)}
        for camera, (height, width) in self.cameras.items():
            found[image_key(camera)] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": codec.feature_info(height, width, self.fps),
            }
        scalars = {**self.scalars, **dict.fromkeys(self.dropped, "int64"), **FIXED}
        for key, dtype in scalars.items():
            found[key] = {"dtype": dtype, "shape": [1], "names": None}
        return found

    def differences(self, other: DatasetSpec) -> list[str]:
        """What keeps recordings with the spec `other` out of a dataset with this one; empty when it fits."""
        found = []
        if self.fps != other.fps:
            found.append(f"fps: dataset {self.fps}, now {other.fps}")
        if self.robot_type != other.robot_type:
            found.append(f"robot type: dataset '{self.robot_type}', now '{other.robot_type}'")
        for key in STRICT:
            if self.extra.get(key) != other.extra.get(key):
                found.append(f"{key}: dataset {self.extra.get(key)!r}, now {other.extra.get(key)!r}")
        names = []
        for title, mine, theirs in (
            ("names of", self.vectors, other.vectors),
            ("dtype of", self.scalars, other.scalars),
            ("resolution (height, width) of camera", self.cameras, other.cameras),
        ):
            for key in mine.keys() | theirs.keys():
                if mine.get(key) != theirs.get(key):
                    names.append(
                        f"{title} {key}: dataset {_show(mine.get(key))}, now {_show(theirs.get(key))}"
                    )
        return [*found, *sorted(names)]


def _show(value: object) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, tuple):
        if all(isinstance(v, int) for v in value):
            return "x".join(map(str, value))
        shown = [*value[:SHOWN], f"... ({len(value)})"] if len(value) > SHOWN + 1 else value
        return f"[{', '.join(shown)}]"
    return str(value)


def merged_extra(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`extra` after a session with `new` joined a dataset with `old`: lists in GROWING only ever grow."""
    merged = {**old, **new}
    for key in GROWING:
        if key in old or key in new:
            merged[key] = list(dict.fromkeys([*old.get(key, ()), *new.get(key, ())]))
    return merged


def spec_from_info(info: Mapping[str, Any]) -> DatasetSpec:
    """The spec that an info.json describes; also for datasets that others recorded."""
    features: Mapping[str, Mapping[str, Any]] = info["features"]
    vectors: dict[str, tuple[str, ...]] = {}
    scalars: dict[str, str] = {}
    cameras: dict[str, tuple[int, int]] = {}
    for key, feature in features.items():
        shape, dtype, names = tuple(feature["shape"]), feature["dtype"], feature.get("names")
        if dtype in ("video", "image"):
            cameras[key.removeprefix(IMAGE_PREFIX)] = _image_size(shape, names)
        elif shape == (1,) and not names and dtype in SCALAR_DTYPES:
            scalars[key] = dtype
        elif len(shape) == 1 and dtype not in ("string", "language"):
            vectors[key] = _component_names(shape[0], names)
    written = {*FIXED, *map(dropped_key, cameras)}
    extra = {key: value for key, value in info.get("twinloop", {}).items() if key != "format"}
    return DatasetSpec(
        fps=int(info["fps"]),
        robot_type=info.get("robot_type") or "unknown",
        vectors=vectors,
        scalars={key: dtype for key, dtype in scalars.items() if key not in written},
        cameras=cameras,
        extra=extra,
    )


def extra_entry(spec: DatasetSpec) -> dict[str, Any]:
    """The "twinloop" entry of info.json."""
    return {"format": FORMAT, **spec.extra}


def _image_size(shape: tuple[int, ...], names: Any) -> tuple[int, int]:
    channels_first = isinstance(names, list) and names and names[0] in ("channels", "channel")
    return (int(shape[1]), int(shape[2])) if channels_first else (int(shape[0]), int(shape[1]))


def _component_names(size: int, names: Any) -> tuple[str, ...]:
    if isinstance(names, Mapping):  # older LeRobot: {"motors": [...]}
        names = [name for group in names.values() for name in group]
    if isinstance(names, list) and len(names) == size:
        return tuple(map(str, names))
    return tuple(str(i) for i in range(size))
