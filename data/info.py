"""`twinloop dataset info`: what a dataset holds, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .layout import captures, dropped_key
from .reader import Dataset
from .spec import DatasetSpec


@dataclass(frozen=True, slots=True)
class CameraSummary:
    """One camera."""

    size: tuple[int, int]  # (height, width) px
    codec: str
    dropped: int  # rows without a picture of their own
    missing: bool  # some of its videos are not there


@dataclass(frozen=True, slots=True)
class Summary:
    """A dataset in short."""

    root: Path
    spec: DatasetSpec
    episodes: int
    frames: int
    tasks: Mapping[str, int]  # task -> episodes
    cameras: Mapping[str, CameraSummary]
    lengths_s: tuple[float, float, float]  # shortest, median, longest episode, s
    successes: tuple[int, int] | None  # (succeeded, told) episodes; None when never told
    sources: Mapping[str, int]  # who acted -> rows
    interventions: int  # rows in which a person had taken over
    size_bytes: int
    interrupted: int  # episodes that wait for `repair`

    def lines(self) -> list[str]:
        """The summary as text."""
        fps, spec = self.spec.fps, self.spec
        lines = [
            f"{self.root}: {self.episodes} episodes, {self.frames} frames, {_duration(self.frames / fps)} at "
            f"{fps} Hz, {self.size_bytes / 1e6:.1f} MB; robot {spec.robot_type}",
            "episode length: shortest {:.1f} s, median {:.1f} s, longest {:.1f} s".format(*self.lengths_s),
        ]
        lines += [f"task: {task} ({count} episodes)" for task, count in self.tasks.items()]
        if self.successes:
            good, told = self.successes
            lines.append(f"success: {good} of {told} episodes ({100 * good / told:.0f} %)")
        for name, camera in self.cameras.items():
            share = 100 * camera.dropped / max(1, self.frames)
            gone = ", VIDEO MISSING" if camera.missing else ""
            size = f"{camera.size[0]}x{camera.size[1]} {camera.codec}"
            lines.append(f"camera {name}: {size}, {camera.dropped} frames dropped ({share:.2f} %){gone}")
        lines += [f"vector {key}: {', '.join(names)}" for key, names in spec.vectors.items()]
        if spec.scalars:
            lines.append(f"scalars: {', '.join(spec.scalars)}")
        if self.sources:
            shares = (f"{who} {100 * rows / self.frames:.0f} %" for who, rows in self.sources.items())
            lines.append(f"actions by: {', '.join(shares)}; intervention in {self.interventions} rows")
        if self.interrupted:
            lines.append(f"interrupted: {self.interrupted} episodes wait for `twinloop dataset repair`")
        return lines


def summary(root: Path | str) -> Summary:
    """Summarise the dataset at `root`. `DatasetError` when it cannot be read."""
    dataset = Dataset(root).open()
    meta, spec, frames = dataset.meta, dataset.spec, dataset.num_frames
    lengths = np.array(dataset.lengths or (0,)) / spec.fps
    cameras = {camera: _camera(dataset, camera) for camera in spec.cameras}
    sources: dict[str, int] = {}
    if "source" in spec.scalars and frames and "sources" in spec.extra:
        names, counts = np.unique(dataset.column("source"), return_counts=True)
        known = spec.extra["sources"]
        sources = {
            known[n] if n < len(known) else f"#{n}": int(c)
            for n, c in sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1])
        }
    told = [note["info"]["success"] for note in meta.notes.values() if "success" in note["info"]]
    return Summary(
        root=dataset.root,
        spec=spec,
        episodes=dataset.num_episodes,
        frames=frames,
        tasks=dict(Counter(task for entry in meta.entries for task in entry.tasks)),
        cameras=cameras,
        lengths_s=(float(lengths.min()), float(np.median(lengths)), float(lengths.max())),
        successes=(sum(map(bool, told)), len(told)) if told else None,
        sources=sources,
        interventions=int(dataset.column("intervention").sum()) if "intervention" in spec.scalars else 0,
        size_bytes=sum(
            path.stat().st_size
            for top in ("meta", "data", "videos")
            for path in (dataset.root / top).rglob("*")
            if path.is_file()
        ),
        interrupted=len(captures(dataset.root)),
    )


def _camera(dataset: Dataset, camera: str) -> CameraSummary:
    meta, key = dataset.meta, dataset.image_key(camera)
    feature = meta.info["features"][key]
    told = feature.get("info") or feature.get("video_info") or {}
    codec = str(told.get("video.codec", feature["dtype"]))
    marks = dropped_key(camera)
    dropped = int(dataset.column(marks).sum()) if marks in meta.info["features"] else 0
    mine = {meta.video_file(entry, key) for entry in meta.entries if key in entry.videos}
    missing = not mine.isdisjoint(dataset.missing_videos)
    return CameraSummary(dataset.spec.cameras[camera], codec, dropped, missing)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
