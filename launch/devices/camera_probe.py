"""A look through one camera, in a process of its own, for drivers hang.

`python -m twinloop.launch.devices.camera_probe`: standard input has the rig (as JSON) and the camera's name, standard
output gets a `Look`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...robot.cameras.source import DRIVERS, Source, find_factory
from ...robot.clock import RealClock
from ...robot.errors import DeviceError, TwinloopError
from ...robot.process.plan import rig_to_json
from ...robot.rig import Rig, parse_rig

LIMIT_S = 30.0
SETTLE = 3  # pictures before those that count: exposure finds its way
SHOTS = 30
LONGEST_NS = 2_000_000_000  # of looking


@dataclass(frozen=True, slots=True)
class Look:
    """What came through a camera."""

    width: int  # px, as delivered
    height: int
    pictures: int
    rate_hz: float  # of different pictures' time stamps
    brightness: float  # mean of 0..255
    changed: bool  # whether any two pictures differ


def look_through(rig: Rig, camera: str) -> Look:
    """Open `camera` of `rig` for a second or two. Raises `DeviceError` that says why nothing came."""
    order = json.dumps({"rig": rig_to_json(rig), "camera": camera})
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__], input=order, capture_output=True, text=True, timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DeviceError(f"camera {camera}: its driver hung for {LIMIT_S:.0f} s; plug it in anew") from None
    lines = done.stdout.strip().splitlines()
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        told = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise DeviceError(f"camera {camera}: its driver crashed ({told})") from None
    if "error" in answer:
        raise DeviceError(answer["error"])
    return Look(**answer)


def open_source(rig: Rig, camera: str) -> Source:
    """The driver of a camera, opened. Raises `DeviceError`, and `RigError` for a kind without a driver."""
    config = rig.cameras[camera]
    if config.kind not in DRIVERS:
        raise DeviceError(f"camera {camera}: no capture driver for kind '{config.kind}'")
    source = find_factory(DRIVERS[config.kind])(camera, config, RealClock(), config.options)
    source.open()
    return source


def watch(source: Source) -> Look:
    """Take some pictures."""
    clock, times, light, last, changed = RealClock(), [], [], None, False
    until = clock.now() + LONGEST_NS
    width = height = 0
    while len(times) < SETTLE + SHOTS and (clock.now() < until or len(times) < SETTLE + 2):
        frame = source.next()
        times.append(frame.t_ns)
        light.append(float(frame.rgb.mean()))
        changed = changed or (last is not None and not np.array_equal(last, frame.rgb))
        last = frame.rgb
        height, width = frame.rgb.shape[:2]
    width, height = getattr(source, "delivered", None) or (width, height)
    counted = times[SETTLE:]
    span_s = (counted[-1] - counted[0]) * 1e-9
    rate_hz = (len(set(counted)) - 1) / span_s if span_s > 0 else 0.0
    return Look(width, height, len(times), rate_hz, float(np.mean(light[SETTLE:])), changed)


def main() -> None:
    """Answer the order on standard input."""
    order = json.loads(sys.stdin.read())
    try:
        source = open_source(parse_rig(order["rig"], "the rig"), order["camera"])
        try:
            answer = asdict(watch(source))
        finally:
            source.close()
    except TwinloopError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
