"""Cameras that OpenCV opens: V4L2 devices, network streams, and video files or numbered pictures in their place."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..buses.port import port_owners
from ..errors import DeviceError
from ..interfaces import Clock
from ..rig import CameraConfig
from ..types import Frame
from .controls import check_options, exposure_ns, set_controls, set_format

log = logging.getLogger(__name__)

STREAMS = ("http://", "https://", "rtsp://")
PLAUSIBLE_NS = 1_000_000_000  # a driver's stamp that far off the clock is of another clock


def connect(name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> OpenCvSource:
    """Camera `name` of a rig; `device` is a path (/dev/video0), a number, the URL of a stream, a video file or a
    pattern as `shots/%04d.png`, which is played at the rig's rate and begins anew at its end. `options`: `controls`."""
    check_options(name, options)
    return OpenCvSource(name, config, clock, options)


class OpenCvSource:
    """Implements `Source`. A live picture's time is the driver's, where it has one of the monotonic clock: that of its
    first bytes on the cable, at the end of the exposure (Linux, drivers/media/usb/uvc/uvc_video.c), less half the
    exposure where the rig sets it. Else it is the picture's arrival less the rig's `latency_ms`. By the driver's
    times, pictures that did not come leave gaps in the numbers."""

    def __init__(
        self, name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any] | None = None
    ) -> None:
        self._name = name
        self._config = config
        self._clock = clock
        self._options = dict(options or {})
        self._capture: Any = None
        self._live = self._stamps = True
        self._seq = 0
        self._due_ns = 0
        self._taken_ns: int | None = None  # the picture before
        self._period_ns = 1e9 / config.fps
        self.delivered: tuple[int, int] | None = (
            None  # width and height of the last picture before resizing, px
        )

    def open(self) -> None:
        config, device = self._config, self._config.device
        if device is None:
            raise DeviceError(
                f"camera {self._name}: no device is named; `twinloop setup-devices` finds it, or name it in the rig "
                f"(cameras.{self._name}.device, as /dev/video0)"
            )
        number, stream = device.isdigit(), device.startswith(STREAMS)
        node = f"/dev/video{device}" if number else device
        recorded = not number and not stream and not device.startswith("/dev/")
        if recorded and "%" not in device and not Path(device).is_file():
            raise DeviceError(f"camera {self._name}: no file {device}")
        if not recorded and not stream and not Path(node).exists():
            raise DeviceError(
                f"camera {self._name}: {node} is not there; `twinloop doctor` lists the cameras"
            )
        self._live, self._stamps = not recorded, not recorded and not stream
        capture = cv2.VideoCapture(int(device) if number else device)
        if not capture.isOpened():
            owners = [] if recorded or stream else port_owners(node)
            by = (
                f"process {', '.join(map(str, owners))} has it open"
                if owners
                else "is another program using it?"
            )
            why = "is it a picture or video that OpenCV reads?" if recorded or stream else by
            raise DeviceError(f"camera {self._name}: {device} cannot be opened; {why}")
        self._capture, self._taken_ns = capture, None
        if self._live and not stream:
            set_format(self._name, capture, self._options)
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
            capture.set(cv2.CAP_PROP_FPS, config.fps)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            set_controls(self._name, capture, self._options)
            self._check_delivery(capture)
        self._due_ns = self._clock.now()

    def _check_delivery(self, capture: Any) -> None:
        """What the camera delivers may be another size and rate than was asked for: it chooses the nearest it has."""
        config = self._config
        width, height = (round(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * config.height != height * config.width:
            raise DeviceError(
                f"camera {self._name}: it delivers {width} x {height} px, another shape than {config.width} x "
                f"{config.height}; set cameras.{self._name}.width and height to what it has (`v4l2-ctl "
                f"--list-formats-ext`)"
            )
        if width != config.width:
            log.warning(
                "camera %s: delivers %d x %d px, resized to %d x %d",
                *(self._name, width, height, config.width, config.height),
            )
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        if fps > 0 and abs(fps - config.fps) > 0.1 * config.fps:
            log.warning("camera %s: delivers %g Hz, %g were asked for", self._name, fps, config.fps)
            self._period_ns = 1e9 / fps

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
        stamp = self._stamp(arrived)
        self._seq += self._periods_since(stamp)
        width, height = self._config.width, self._config.height
        self.delivered = picture.shape[1], picture.shape[0]
        if picture.shape[:2] != (height, width):
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        rgb = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        taken = arrived - round(self._config.latency_ms * 1e6) if stamp is None else stamp
        return Frame(taken, self._seq, rgb)

    def close(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            with contextlib.suppress(cv2.error):
                capture.release()

    def _stamp(self, arrived_ns: int) -> int | None:
        """Mid-exposure by the driver's clock, where that is ours."""
        if not self._stamps:
            return None
        stamp = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if not 0 <= arrived_ns - stamp < PLAUSIBLE_NS:
            return None
        return stamp - exposure_ns(self._options) // 2

    def _periods_since(self, stamp_ns: int | None) -> int:
        """How many pictures there should have been since the one before, this one among them."""
        before, self._taken_ns = self._taken_ns, stamp_ns
        if before is None or stamp_ns is None:
            return 1
        return max(1, round((stamp_ns - before) / self._period_ns))
