"""A frame as bytes, for a ring between processes."""

from __future__ import annotations

import struct

import numpy as np

from ..errors import DeviceError
from ..process.ring import Part
from ..types import Frame

FRAME = 1  # kind of its messages
_HEAD = struct.Struct("<qqIII4x")  # t_ns, seq, height, width, has depth; padded to 8 bytes


def encode(frame: Frame) -> list[Part]:
    """Head, rows of RGB, rows of depth if there are any; the pictures as views, which a ring copies."""
    height, width = frame.rgb.shape[:2]
    parts: list[Part] = [_HEAD.pack(frame.t_ns, frame.seq, height, width, frame.depth_m is not None)]
    parts.append(_bytes(np.ascontiguousarray(frame.rgb)))
    if frame.depth_m is not None:
        parts.append(_bytes(np.ascontiguousarray(frame.depth_m, dtype="<f4")))
    return parts


def _bytes(values: np.ndarray) -> memoryview:
    return values.reshape(-1).view(np.uint8).data


def decode(data: bytes) -> Frame:
    """The frame, its arrays read-only views of `data`. Raises `DeviceError` for bytes that are none."""
    size = len(data) - _HEAD.size
    if size < 0:
        raise DeviceError(f"a picture of {len(data)} bytes")
    t_ns, seq, height, width, has_depth = _HEAD.unpack_from(data)
    if size != height * width * (7 if has_depth else 3):
        raise DeviceError(f"a picture of {width} x {height} px in {size} bytes")
    size = height * width * 3
    rgb = np.frombuffer(data, np.uint8, size, _HEAD.size).reshape(height, width, 3)
    depth = None
    if has_depth:
        depth = np.frombuffer(data[_HEAD.size + size :], "<f4", height * width).reshape(height, width)
    return Frame(t_ns, seq, rgb, depth)


def ring_bytes(width: int, height: int, depth: bool) -> int:
    """Capacity of a ring for some frames of this size."""
    return 6 * (_HEAD.size + width * height * (7 if depth else 3) + 64)
