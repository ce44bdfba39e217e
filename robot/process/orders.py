"""What the agent may ask of the guard's process, as bytes. No pickle: a JSON head, then float64."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from ..errors import DeviceError
from ..types import F64, ActionChunk


class Order(IntEnum):
    """Kinds of messages in the orders ring."""

    CHUNK = 1
    REJECTED = 2  # the agent's side found a chunk malformed: `reason`
    HOLD = 3  # `reason`
    PARK = 4
    REARM = 5  # answered
    BEAT = 6  # `t_ns`
    DISARM = 7
    FRAME = 8  # `camera`, `t_ns`
    CLOSE = 9  # `unparked`; answered
    SLACK = 10


@dataclass(frozen=True, slots=True)
class Request:
    """An order and its values, a chunk's apart."""

    kind: Order
    values: dict[str, Any] = field(default_factory=dict)
    chunk: ActionChunk | None = None


TEXT_MAX = 500  # of a source or a reason

_HEAD = struct.Struct("<I")


def encode(request: Request) -> bytes:
    """The bytes of a request. A chunk must be one that `guard.commands.fault_of` found sound in its form."""
    chunk = request.chunk
    values = dict(request.values)
    parts: list[F64] = []
    if chunk is not None:
        arms = {name: np.asarray(q, np.float64) for name, q in chunk.q.items()}
        widths = {name: np.asarray(w, np.float64) for name, w in chunk.width_m.items()}
        parts = [*arms.values(), *widths.values()]
        values = {
            "t0": int(chunk.t0_ns),
            "dt": int(chunk.dt_ns),
            "expires": int(chunk.expires_ns),
            "source": chunk.source[:TEXT_MAX],
            "q": {name: q.shape for name, q in arms.items()},
            "width": {name: w.shape for name, w in widths.items()},
        }
    head = json.dumps(values).encode()
    return b"".join([_HEAD.pack(len(head)), head, *(part.tobytes() for part in parts)])


def decode(kind: int, data: bytes) -> Request:
    """The request in a message. Raises `DeviceError` for bytes that are none."""
    try:
        order, size = Order(kind), _HEAD.unpack_from(data)[0]
        values = json.loads(data[_HEAD.size : _HEAD.size + size])
        if not isinstance(values, dict):
            raise ValueError("no mapping")
        if order is not Order.CHUNK:
            return Request(order, {k: v[:TEXT_MAX] if isinstance(v, str) else v for k, v in values.items()})
        numbers, at = np.frombuffer(data, "<f8", offset=_HEAD.size + size), 0
        found: dict[str, dict[str, F64]] = {"q": {}, "width": {}}
        for group, arrays in found.items():
            for name, shape in values[group].items():
                count = int(np.prod(shape))
                arrays[name] = numbers[at : at + count].reshape(shape)
                at += count
        chunk = ActionChunk(
            values["t0"],
            values["dt"],
            found["q"],
            found["width"],
            values["expires"],
            str(values["source"])[:TEXT_MAX],
        )
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise DeviceError(f"order of kind {kind}: damaged ({error})") from None
    return Request(order, {}, chunk)
