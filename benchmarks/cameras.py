"""How old a picture is when the agent sees it, and how much of that is ours. One JSON line a figure.

Run: python benchmarks/cameras.py [--quick]

One camera and three, 640x480 at 30 fps, each in its capture process: a plain one, and RealSense cameras through their
driver on software devices (colour and depth). The devices show noise and cost next to nothing. Age: observation less
mid-exposure, of an agent that looks 50 times a second: a picture is seen when it is up to 20 ms old, and until the
next one is there, 33 ms later. "Write to read": from the capture process's write until this process has the picture,
looked for every 0.2 ms. "Device to write" is beyond the camera's own latency; for a RealSense beyond the quickest
picture of late, since its driver takes that one to have come the rig's `latency_ms` after mid-exposure.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from _cameras import EXPOSURE_NS, pattern_camera
from _figures import emit
from twinloop.robot.cameras.frames import decode
from twinloop.robot.cameras.process import CameraProcess
from twinloop.robot.clock import RealClock
from twinloop.robot.rig import Rig, parse_rig

CLOCK = RealClock()
FPS, CONTROL_HZ, LOOK_NS = 30.0, 50.0, 200_000
LATENCY_MS = EXPOSURE_NS * 0.5e-6  # from mid-exposure to its arrival: what the rig tells the RealSense driver
Samples = dict[str, list[float]]


def rig_of(kind: str, count: int) -> Rig:
    camera = {"kind": kind, "width": 640, "height": 480, "fps": FPS, "latency_ms": LATENCY_MS, "device": "0"}
    if kind == "realsense":
        del camera["device"]
    cameras = {f"camera{k}": camera for k in range(count)}
    return parse_rig({"name": "bench", "arms": {"arm": {"model": "so101"}}, "cameras": cameras}, "bench")


def cpu_s(camera: CameraProcess) -> float:
    """CPU seconds of a camera's capture process so far."""
    assert camera._process is not None
    fields = Path(f"/proc/{camera._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def transport(cameras: list[CameraProcess], seconds: float) -> Samples:
    """Every new picture of every camera as soon as it is there, ms."""
    found: Samples = {"device to write": [], "write to read": []}
    seen, end = [-1] * len(cameras), CLOCK.now() + seconds * 1e9
    while CLOCK.now() < end:
        for k, camera in enumerate(cameras):
            assert camera._ring is not None
            message = next(camera._ring.poll(1), None)
            if message is None or message.position == seen[k]:
                continue
            frame, now = decode(message.data), CLOCK.now()
            if seen[k] >= 0:
                found["device to write"].append((message.t_ns - frame.t_ns) * 1e-6 - LATENCY_MS)
                found["write to read"].append((now - message.t_ns) * 1e-6)
            seen[k] = message.position
        CLOCK.sleep_until(CLOCK.now() + LOOK_NS)
    return found


def ages(cameras: list[CameraProcess], seconds: float) -> tuple[list[float], int, int]:
    """Age at the agent's looks, ms; pictures that were taken and not seen; pictures taken."""
    age, firsts = [], [camera.read().seq for camera in cameras]
    before = sum(camera.drops for camera in cameras)
    due = CLOCK.now()
    end = due + seconds * 1e9
    while due < end:
        due += round(1e9 / CONTROL_HZ)
        CLOCK.sleep_until(due)
        for camera in cameras:
            frame = camera.read()
            age.append((CLOCK.now() - frame.t_ns) * 1e-6)
    taken = sum(camera.read().seq - first for camera, first in zip(cameras, firsts, strict=True))
    return age, sum(camera.drops for camera in cameras) - before, taken


def measure(kind: str, count: int, seconds: float) -> None:
    rig = rig_of(kind, count)
    cameras = [pattern_camera(name, rig, CLOCK) for name in rig.cameras]
    name = f"{count} {'plain' if kind == 'opencv' else kind} at 640x480"
    try:
        for camera in cameras:
            camera.open()
        before, began = sum(map(cpu_s, cameras)), CLOCK.now()
        age, drops, taken = ages(cameras, seconds)
        cores = (sum(map(cpu_s, cameras)) - before) / ((CLOCK.now() - began) * 1e-9)
        found = transport(cameras, seconds / 2)
    finally:
        for camera in cameras:
            camera.close()
    p50, p99 = np.percentile(age, [50, 99])
    emit(f"{name}: age at observation, p50", float(p50), "ms", p99=round(float(p99), 2))
    emit(f"{name}: pictures not seen by the agent", 100.0 * drops / max(1, taken), "%", pictures=taken)
    for part, values in found.items():
        emit(
            f"{name}: {part}, p50",
            float(np.median(values)),
            "ms",
            p99=round(float(np.percentile(values, 99)), 2),
        )
    share = float(np.median(found["device to write"]) + np.median(found["write to read"]))
    emit(f"{name}: our part of the age, p50", share, "ms", at_most=10.0)
    emit(f"{name}: CPU of its capture processes", cores / count, "cores a camera")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    seconds = 4.0 if parser.parse_args().quick else 30.0
    for kind in ("opencv", "realsense"):
        for count in (1, 3):
            measure(kind, count, seconds)
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    main()
