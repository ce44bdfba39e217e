"""A camera that costs next to nothing: pictures of noise, on time, stamped mid-exposure; for capture processes.

Found by name (`_cameras:connect`, `_cameras:open_device`), so this folder must be on PYTHONPATH there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from twinloop.robot.cameras.process import CameraProcess
from twinloop.robot.errors import DeviceError
from twinloop.robot.interfaces import Clock
from twinloop.robot.rig import CameraConfig, Rig
from twinloop.robot.types import Frame

EXPOSURE_NS = 8_000_000
POOL = 8


class Pattern:
    """Implements `Source`. While the file `options["fault"]` holds "frozen" or "gone", that is what it is."""

    def __init__(self, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> None:
        self._config = config
        self._clock = clock
        self._fault = Path(options["fault"]) if "fault" in options else None
        self._period_ns = round(1e9 / config.fps)
        self._seq = 0
        self._pool: np.ndarray | None = None

    def open(self) -> None:
        size = (POOL, self._config.height, self._config.width, 3)
        self._pool = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        self._due_ns = self._clock.now()

    def next(self) -> Frame:
        assert self._pool is not None
        self._due_ns = max(self._due_ns + self._period_ns, self._clock.now())  # the end of the exposure
        self._clock.sleep_until(self._due_ns)
        fault = self._fault.read_text() if self._fault is not None and self._fault.exists() else ""
        if fault == "gone":
            raise DeviceError("camera: gone")
        self._seq += fault != "frozen"
        picture = self._pool[self._seq % POOL]
        return Frame(self._due_ns - EXPOSURE_NS // 2, self._seq, picture)

    def close(self) -> None:
        pass


def connect(name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> Pattern:
    """A source for a capture process."""
    return Pattern(config, clock, options)


def open_device(name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> Any:
    """The same as a RealSense software device, behind the RealSense driver."""
    from twinloop.sim.emulate.realsense import SoftwareCamera

    source: Any = Pattern(config, clock, options)
    source.open()
    return SoftwareCamera(name, config, source)


def pattern_camera(name: str, rig: Rig, clock: Clock, fault: Path | None = None) -> CameraProcess:
    """Camera `name` of `rig`, showing noise; a RealSense through its driver and a software device."""
    folder = str(Path(__file__).parent)
    if folder not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    options: dict[str, Any] = {} if fault is None else {"fault": str(fault)}
    config = rig.cameras[name]
    if config.kind == "realsense":
        options |= {"device": "_cameras:open_device", "depth_size": [config.width, config.height]}
        return CameraProcess(name, rig, clock, options=options)
    return CameraProcess(name, rig, clock, source="_cameras:connect", options=options)
