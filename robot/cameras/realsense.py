"""Intel RealSense: colour, depth aligned to it, intrinsics, hardware time stamps, chosen by serial number."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..clock import wall_ns
from ..errors import DeviceError
from ..interfaces import Clock
from ..rig import CameraConfig
from ..types import Frame
from .intrinsics import Intrinsics
from .source import find_factory

WAIT_MS = 1000
PLAUSIBLE_NS = 1_000_000_000  # a stamp that far off is of another clock
WINDOW = 300  # pictures among which the one that took the shortest way tells the clocks' offset
DEPTH_SIZE = (640, 480)  # px, width and height: what every D400 has

OpenDevice = Callable[[str, CameraConfig, Clock, Mapping[str, Any]], Any]


def connect(name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> RealSenseSource:
    """Camera `name` of a rig, the one with `serial`, or the only one. `options["device"]` (`module:function`) opens
    another device in its place, as a test's software device; without `depth: false` depth comes along."""
    return RealSenseSource(name, config, clock, options)


class RealSenseSource:
    """Implements `Source` on a pyrealsense2 pipeline.

    A picture's time is by the sensor's own clock. How far that is off this machine's, the picture tells that took the
    shortest way of the last `WINDOW`: it is taken to have arrived the rig's `latency_ms` after mid-exposure. Stamps
    that the library has brought to this machine's clock itself are moved to mid-exposure.
    """

    def __init__(self, name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> None:
        self._name = name
        self._config = config
        self._clock = clock
        self._options = dict(options)
        self._depth = bool(options.get("depth", True))
        self._pipeline: Any = None
        self._device: Any = None  # kept: the pipeline does not
        self._align: Any = None
        self._scale_m = 0.001
        self._ways: deque[int] = deque(maxlen=WINDOW)  # ns from the sensor's clock to arrival on ours
        self._last = -1
        self._seq = 0
        self.intrinsics: Intrinsics | None = None

    def open(self) -> None:
        rs, config = library(), self._config
        pipeline, wanted = rs.pipeline(), rs.config()
        where = self._options.get("device")
        if where is not None:
            self._device = find_factory(where)(self._name, config, self._clock, self._options)
            pipeline.set_device(self._device.device)
        else:
            known = [device.get_info(rs.camera_info.serial_number) for device in rs.context().query_devices()]
            if config.serial is not None and config.serial not in known:
                raise DeviceError(
                    f"camera {self._name}: no RealSense with serial {config.serial}; "
                    f"there is: {', '.join(known) or 'none'}"
                )
            if not known:  # the library would wait 15 s for one
                raise DeviceError(f"camera {self._name}: no RealSense is connected; check its cable")
            if config.serial is not None:
                wanted.enable_device(config.serial)
        fps = round(config.fps)
        wanted.enable_stream(rs.stream.color, config.width, config.height, rs.format.rgb8, fps)
        if self._depth:
            width, height = self._options.get("depth_size", DEPTH_SIZE)
            wanted.enable_stream(rs.stream.depth, width, height, rs.format.z16, fps)
        try:
            profile = pipeline.start(wanted)
        except RuntimeError as error:
            raise DeviceError(
                f"camera {self._name}: {error}; a {config.width}x{config.height} colour stream at {fps} Hz was "
                f"asked for, `rs-enumerate-devices` lists what it has"
            ) from None
        if self._depth:
            self._scale_m = float(profile.get_device().first_depth_sensor().get_depth_scale())
            self._align = rs.align(rs.stream.color)
        lens = profile.get_stream(rs.stream.color).as_video_stream_profile().get_intrinsics()
        self.intrinsics = Intrinsics(
            *(lens.width, lens.height, lens.fx, lens.fy, lens.ppx, lens.ppy),
            model=str(lens.model).split(".")[-1],
            coefficients=tuple(lens.coeffs),
        )
        self._pipeline = pipeline
        self._ways.clear()
        if self._device is not None:
            self._device.begin()

    def next(self) -> Frame:
        if self._pipeline is None:
            raise DeviceError(f"camera {self._name}: not open")
        try:
            while True:
                found, frames = self._pipeline.try_wait_for_frames(WAIT_MS)
                if not found:
                    raise DeviceError(f"camera {self._name}: no picture for {WAIT_MS} ms; is its cable in?")
                color = frames.get_color_frame()
                if color and color.get_frame_number() != self._last:
                    break
            arrived = self._clock.now()
            aligned = frames if self._align is None else self._align.process(frames)
        except RuntimeError as error:
            raise DeviceError(f"camera {self._name}: {error}") from None
        number = color.get_frame_number()
        self._seq += max(1, number - self._last) if self._last >= 0 else 1
        self._last = number
        rgb = np.array(np.asanyarray(color.get_data()), np.uint8)
        depth = None
        if self._depth and (layer := aligned.get_depth_frame()):
            depth = np.asanyarray(layer.get_data()).astype(np.float32) * np.float32(self._scale_m)
        return Frame(self._taken(color, arrived), self._seq, rgb, depth)

    def close(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        device, self._device = self._device, None
        if device is not None:
            device.end()
        if pipeline is not None:
            try:
                pipeline.stop()
            except RuntimeError:
                pass  # the device is gone
        self._last = -1

    def _taken(self, color: Any, arrived_ns: int) -> int:
        """Mid-exposure on our clock."""
        rs = library()
        stamp_ns, latency_ns = round(color.get_timestamp() * 1e6), round(self._config.latency_ms * 1e6)
        if color.get_frame_timestamp_domain() == rs.timestamp_domain.hardware_clock:
            self._ways.append(arrived_ns - stamp_ns)
            taken = stamp_ns + min(self._ways) - latency_ns
        else:  # this machine's wall clock, which may be set at any time: only its difference from now counts
            taken = arrived_ns - (wall_ns() - stamp_ns) - self._before_stamp_ns(rs, color)
        if not 0 <= arrived_ns - taken < PLAUSIBLE_NS:
            return arrived_ns - latency_ns
        return taken

    def _before_stamp_ns(self, rs: Any, color: Any) -> int:
        """How long before the stamp the middle of the exposure was."""
        kinds = rs.frame_metadata_value
        if color.supports_frame_metadata(kinds.sensor_timestamp) and color.supports_frame_metadata(
            kinds.frame_timestamp
        ):
            end, middle = (
                color.get_frame_metadata(k) for k in (kinds.frame_timestamp, kinds.sensor_timestamp)
            )
            return max(0, end - middle) * 1000
        if color.supports_frame_metadata(kinds.actual_exposure):
            return color.get_frame_metadata(kinds.actual_exposure) * 500  # us / 2
        return 0


def library() -> Any:
    """pyrealsense2; raises `DeviceError` with the way to get it."""
    try:
        rs = importlib.import_module("pyrealsense2")
    except ImportError as error:
        fix = (
            "sudo apt-get install libusb-1.0-0"
            if "libusb" in str(error)
            else "pip install twinloop[realsense]"
        )
        raise DeviceError(f"RealSense: {error}; {fix}") from None
    return rs
