"""A step of the control loop as bytes, for a ring between processes. No pickle: a JSON head, float64, pictures."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np

from ..robot.cameras.frames import decode as decode_frame
from ..robot.cameras.frames import encode as encode_frame
from ..robot.process.ring import Part
from ..robot.types import F64, ActionChunk, Applied, ArmState, Frame, GripperState, Observation, Step
from .recorder import meant

_HEAD = struct.Struct("<II")  # bytes of the JSON head, count of floats


def encode_step(step: Step, *, pictures: bool = True) -> list[Part]:
    """The bytes of `step`, in parts, without depth; without `pictures` as if no camera had delivered.

    Of the agent's answer only what it means at the observation is kept: what a `Recorder` looks at.
    """
    obs, applied = step.obs, step.applied
    numbers: list[F64] = []

    def put(values: Any) -> int:
        numbers.append(np.asarray(values, np.float64).reshape(-1))
        return numbers[-1].size

    def named(values: dict[str, Any]) -> dict[str, int]:
        return {name: put(value) for name, value in values.items()}

    arms = {
        name: [int(s.t_ns), put([s.q, s.dq, s.tau, s.temperature_c, s.voltage_v]), list(s.faults)]
        for name, s in obs.arms.items()
    }
    grippers = {name: int(s.t_ns) for name, s in obs.grippers.items() if put([s.width_m, s.force_n])}
    meant_q, meant_width = meant(step)
    sound = {name: value for name, value in meant_q.items() if _is_vector(value)}
    frames = obs.frames if pictures else {}
    shots = {name: encode_frame(replace(frame, depth_m=None)) for name, frame in frames.items()}
    head = {
        "t": int(obs.t_ns),
        "arms": arms,
        "grippers": grippers,
        "meant": named(sound),
        "meant_width": named({k: v for k, v in meant_width.items() if _is_vector([v])}),
        "applied": int(applied.t_ns),
        "asked": named(dict(applied.asked_q)),
        "sent": named(dict(applied.sent_q)),
        "asked_width": named(dict(applied.asked_width_m)),
        "sent_width": named(dict(applied.sent_width_m)),
        "limits": {name: int(ticks) for name, ticks in applied.limits.items()},
        "mode": applied.mode,
        "source": applied.source,
        "frames": {name: sum(map(len, shot)) for name, shot in shots.items()},
    }
    text = json.dumps(head).encode()
    values = np.concatenate(numbers) if numbers else np.zeros(0)
    pixels = [part for shot in shots.values() for part in shot]
    return [_HEAD.pack(len(text), values.size) + text + values.tobytes(), *pixels]


def decode_step(data: bytes) -> Step:
    """The step in the bytes of `encode_step`, joined; its pictures are views of them."""
    size, count = _HEAD.unpack_from(data)
    head = json.loads(data[_HEAD.size : _HEAD.size + size])
    at = _HEAD.size + size
    numbers = iter(np.frombuffer(data[at : at + 8 * count], "<f8"))
    at += 8 * count

    def take(n: int) -> F64:
        return np.fromiter(numbers, np.float64, n)

    def named(key: str) -> dict[str, F64]:
        return {name: take(n) for name, n in head[key].items()}

    def widths(key: str) -> dict[str, float]:
        return {name: float(value[0]) for name, value in named(key).items()}

    arms: dict[str, ArmState] = {}
    for name, (t_ns, n, faults) in head["arms"].items():
        arms[name] = ArmState(t_ns, *take(n).reshape(5, -1), faults=tuple(faults))
    grippers = {name: GripperState(t_ns, *take(2).tolist()) for name, t_ns in head["grippers"].items()}
    chunk = ActionChunk(
        head["t"],
        1,
        {name: row[None] for name, row in named("meant").items()},
        named("meant_width"),
        head["t"],
        head["source"],
    )
    applied = Applied(
        head["applied"],
        named("asked"),
        named("sent"),
        widths("asked_width"),
        widths("sent_width"),
        head["limits"],
        head["mode"],
        head["source"],
    )
    frames: dict[str, Frame] = {}
    for name, length in head["frames"].items():
        frames[name] = decode_frame(data[at : at + length])
        at += length
    return Step(Observation(head["t"], arms, grippers, frames), chunk, applied)


def _is_vector(value: Any) -> bool:
    """Whether these are numbers, however many: an agent may answer anything."""
    try:
        return np.asarray(value, np.float64).ndim == 1
    except (TypeError, ValueError):
        return False
