"""Cameras that OpenCV opens: V4L2 devices, and video files or numbered pictures in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import DeviceError
from ..interfaces import Clock
from ..rig import CameraConfig
from ..types import Frame

PLAUSIBLE_NS = 1_000_000_000  # a driver's stamp that far off the clock is of another clock


def connect(name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> OpenCvSource:
    """Camera `name` of a rig; `device` is a path (/dev/video0), a number, a video file or a pattern as
    `shots/%04d.png`, which is played at the rig's rate and begins anew at its end."""
    return OpenCvSource(name, config, clock)


class OpenCvSource:
    """Implements `Source`. A live picture's time is the driver's (V4L2 stamps the end of the exposure), where it has
    one of the monotonic clock; else its arrival less the rig's `latency_ms`."""

    def __init__(self, name: str, config: CameraConfig, clock: Clock) -> None:
        self._name = name
        self._config = config
        self._clock = clock
        self._capture: Any = None
        self._live = True
        self._seq = 0
        self._due_ns = 0
        self.delivered: tuple[int, int] | None = (
            None  # width and height of the last picture before resizing, px
        )

    def open(self) -> None:
        config, device = self._config, self._config.device or "0"
        recorded = not device.isdigit() and not device.startswith("/dev/")
        if recorded and "%" not in device and not Path(device).is_file():
            raise DeviceError(f"camera {self._name}: no file {device}")
        if device.startswith("/dev/") and not Path(device).exists():
            raise DeviceError(
                f"camera {self._name}: {device} is not there; `twinloop doctor` lists the cameras"
            )
        self._live = not recorded
        capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
        if not capture.isOpened():
            raise DeviceError(
                f"camera {self._name}: {device} cannot be opened; is another program using it? "
                f"`twinloop doctor` lists the cameras"
            )
        self._capture = capture
        if self._live:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
            capture.set(cv2.CAP_PROP_FPS, config.fps)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._due_ns = self._clock.now()

    def next(self) -> Frame:
        capture = self._capture
        if capture is None:
            raise DeviceError(f"camera {self._name}: not open")
        if not self._live:
            self._due_ns += round(1e9 / self._config.fps)
            self._clock.sleep_until(self._due_ns)
        found, picture = capture.read()
        if not found and not self._live:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            found, picture = capture.read()
        if not found:
            raise DeviceError(f"camera {self._name}: no picture; is its cable in?")
        arrived = self._clock.now()
        self._seq += 1
        width, height = self._config.width, self._config.height
        self.delivered = picture.shape[1], picture.shape[0]
        if picture.shape[:2] != (height, width):
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        rgb = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        return Frame(self._taken(arrived), self._seq, rgb)

    def close(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            with contextlib.suppress(cv2.error):
                capture.release()

    def _taken(self, arrived_ns: int) -> int:
        if self._live:
            stamp = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            if 0 <= arrived_ns - stamp < PLAUSIBLE_NS:
                return stamp
        return arrived_ns - round(self._config.latency_ms * 1e6)
