"""Pictures that lie inside the data files (LeRobot's dtype "image")."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from ..robot.errors import DatasetError
from ..robot.types import U8


def embedded_pictures(column: pa.ChunkedArray, root: Path) -> U8:
    """Decode a column of `{bytes, path}` to (n, h, w, 3) RGB; `path` is relative to the dataset's root."""
    return np.stack([_decoded(value, root) for value in column.to_pylist()])


def _decoded(value: dict[str, bytes | str | None] | None, root: Path) -> U8:
    content, path = (value or {}).get("bytes"), (value or {}).get("path")
    if not isinstance(content, bytes) and isinstance(path, str) and (root / path).is_file():
        content = (root / path).read_bytes()
    if not isinstance(content, bytes):
        raise DatasetError(f"{root}: a picture is missing from the data files (path {path!r})")
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise DatasetError(f"{root}: a picture in the data files cannot be decoded (path {path!r})")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
