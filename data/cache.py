"""Decoded pictures of a camera in one file, so that training reads memory and not video."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from .disk import explain, read_json, replace_durably, write_json
from .layout import CACHE

if TYPE_CHECKING:
    from .reader import Dataset


def decoded(dataset: Dataset, camera: str, size: tuple[int, int] | None, folder: Path | None) -> np.memmap:
    """See `Dataset.cache`. `DatasetError` when a video is missing, or the disk is full."""
    height, width = size or dataset.spec.cameras[camera]
    shape = (dataset.num_frames, height, width, 3)
    folder = folder or _folder(dataset.root)
    path = folder / f"{camera}-{height}x{width}.u8"
    label = folder / f"{camera}-{height}x{width}.json"
    fingerprint = _fingerprint(dataset, camera)
    if path.exists() and label.exists() and path.stat().st_size == np.prod(shape, dtype=np.int64):
        if read_json(label) == fingerprint:
            return _mapped(path, shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        label.unlink(missing_ok=True)
        replace_durably(path, lambda temporary: _fill(dataset, camera, shape, temporary))
        write_json(label, fingerprint)
    except OSError as error:
        raise explain(error, folder, f"caching {np.prod(shape) / 1e6:.0f} MB of camera {camera}") from error
    return _mapped(path, shape)


def _mapped(path: Path, shape: tuple[int, ...]) -> np.memmap:
    if shape[0] == 0:
        return np.zeros(shape, np.uint8)  # type: ignore[return-value]  # an empty file cannot be mapped
    return np.memmap(path, np.uint8, "r", shape=shape)


def _fill(dataset: Dataset, camera: str, shape: tuple[int, ...], path: Path) -> None:
    size = (shape[1], shape[2])
    with path.open("wb") as file:
        for index in range(dataset.num_episodes):
            pictures = dataset.frames(index, camera)
            if pictures.shape[1:3] == size:
                file.write(pictures.data)
                continue
            for picture in pictures:
                small = cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)
                file.write(np.ascontiguousarray(small).data)


def _fingerprint(dataset: Dataset, camera: str) -> dict[str, Any]:
    """What must be unchanged for a cache to hold: the files with the pictures, the place of each episode."""
    meta, key = dataset.meta, dataset.image_key(camera)
    video = meta.info["features"][key]["dtype"] == "video"
    files, places = {}, []
    for entry in meta.entries:
        path = meta.video_file(entry, key) if video else meta.data_file(entry)
        if path.exists():
            status = path.stat()
            files[str(path.relative_to(meta.root))] = [status.st_size, status.st_mtime_ns]
        place = [entry.length, entry.videos[key].from_s if video else entry.from_index]
        places.append([*place, str(path.relative_to(meta.root))])
    digest = hashlib.sha256(json.dumps([files, places], sort_keys=True).encode()).hexdigest()
    return {"camera": camera, "frames": dataset.num_frames, "sha256": digest}


def _folder(root: Path) -> Path:
    home = root / CACHE
    existing = home if home.exists() else root
    if os.access(existing, os.W_OK):
        return home
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return user / "twinloop" / hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
