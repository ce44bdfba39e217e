"""An emulated RealSense: a software device of pyrealsense2 that shows what the emulator's camera sees.

The driver's own pipeline runs on it; nothing of it is replaced but the camera at the other end of the cable.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...robot.cameras.realsense import library
from ...robot.errors import DeviceError
from ...robot.interfaces import Clock
from ...robot.rig import CameraConfig
from ...robot.types import Frame
from .camera import EmulatedCamera, connect

log = logging.getLogger(__name__)

DEPTH_UNITS_M = 0.001
EXPOSURE_US = 8_000


def open_device(name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> SoftwareCamera:
    """Camera `name` of the emulator in `options["folder"]` as a device that a pipeline can be set to."""
    camera = connect(name, config, clock, options)
    camera.open()  # which compiles its scene: longer than a pipeline waits for a picture
    return SoftwareCamera(name, config, camera)


class SoftwareCamera:
    """`device` for the pipeline, shown what `camera` (open) sees; `begin` once that has started, `end` before it stops.

    Its stamps are of a hardware clock that began at another time, and of the end of the exposure.
    """

    def __init__(self, name: str, config: CameraConfig, camera: EmulatedCamera) -> None:
        rs = library()
        self._camera = camera
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        width, height = config.width, config.height
        focal = 0.5 * height / np.tan(np.radians(config.fovy_deg) / 2.0)
        device = self.device = rs.software_device()
        device.register_info(rs.camera_info.name, f"emulated {name}")
        device.register_info(rs.camera_info.serial_number, config.serial or "emulated")
        device.register_info(rs.camera_info.product_line, "D400")
        device.create_matcher(rs.matchers.default)
        self._sensors = [device.add_sensor("Stereo Module"), device.add_sensor("RGB Camera")]
        self._profiles = [
            sensor.add_video_stream(_stream(kind, uid, form, bytes_, config.fps, width, height, focal), True)
            for sensor, kind, uid, form, bytes_ in (
                (self._sensors[0], rs.stream.depth, 1, rs.format.z16, 2),
                (self._sensors[1], rs.stream.color, 2, rs.format.rgb8, 3),
            )
        ]
        self._sensors[0].add_read_only_option(rs.option.depth_units, DEPTH_UNITS_M)
        same = rs.extrinsics()
        same.rotation, same.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
        self._profiles[0].register_extrinsics_to(self._profiles[1], same)

    def begin(self) -> None:
        self._ended.clear()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _feed(self) -> None:
        while not self._ended.is_set():
            try:
                self._push(self._camera.next())
            except DeviceError as error:
                log.info("%s", error)  # the pipeline sees that nothing comes
        self._camera.close()

    def _push(self, frame: Frame) -> None:
        rs = library()
        depth_m = frame.depth_m if frame.depth_m is not None else np.zeros(frame.rgb.shape[:2], np.float32)
        depth = np.clip(depth_m / DEPTH_UNITS_M, 0, 65535).astype(np.uint16)
        stamp_ms = (frame.t_ns + EXPOSURE_US * 500) * 1e-6
        for sensor, profile, pixels, bytes_ in zip(
            self._sensors, self._profiles, (depth, np.ascontiguousarray(frame.rgb)), (2, 3), strict=True
        ):
            sent = rs.software_video_frame()
            sent.pixels, sent.bpp, sent.stride = pixels, bytes_, pixels.shape[1] * bytes_
            sent.timestamp, sent.domain = stamp_ms, rs.timestamp_domain.hardware_clock
            sent.frame_number, sent.profile = frame.seq, profile.as_video_stream_profile()
            if bytes_ == 2:
                sent.depth_units = DEPTH_UNITS_M
            sensor.set_metadata(rs.frame_metadata_value.actual_exposure, EXPOSURE_US)
            sensor.on_video_frame(sent)


def _stream(
    kind: Any, uid: int, form: Any, bytes_: int, fps: float, width: int, height: int, focal: float
) -> Any:
    rs = library()
    lens = rs.intrinsics()
    lens.width, lens.height, lens.fx, lens.fy = width, height, focal, focal
    lens.ppx, lens.ppy = (width - 1) / 2.0, (height - 1) / 2.0
    lens.model, lens.coeffs = rs.distortion.brown_conrady, [0.0] * 5
    stream = rs.video_stream()
    stream.type, stream.uid, stream.index, stream.fmt = kind, uid, 0, form
    stream.width, stream.height, stream.fps, stream.bpp = width, height, round(fps), bytes_
    stream.intrinsics = lens
    return stream
