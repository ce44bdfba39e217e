"""A camera that shows a moving test card: the least that a new camera needs."""

from __future__ import annotations

import numpy as np
from twinloop.robot.errors import DeviceError
from twinloop.robot.interfaces import Clock
from twinloop.robot.rig import CameraConfig
from twinloop.robot.types import CameraSpec, Frame


class TestCard:
    """Colour bars that move one pixel a frame; `options: {bars: 8}` in the rig file sets their number."""

    __test__ = False  # not a test class

    def __init__(self, name: str, config: CameraConfig, clock: Clock) -> None:
        self.name = name
        self._config = config
        self._clock = clock
        self._opened = False

    @property
    def spec(self) -> CameraSpec:
        return CameraSpec(self._config.width, self._config.height, self._config.fps)

    def open(self) -> None:
        self._opened = True

    def read(self) -> Frame:
        if not self._opened:
            raise DeviceError(f"camera {self.name}: not open; call open() first")
        seq = int(self._clock.now() * self._config.fps // 1_000_000_000)
        bars = int(self._config.options.get("bars", 8))
        column = (np.arange(self._config.width) + seq) * bars // self._config.width % 8
        colour = np.stack([column & 1, column >> 1 & 1, column >> 2 & 1], axis=-1).astype(np.uint8) * 255
        rgb = np.broadcast_to(colour, (self._config.height, self._config.width, 3))
        return Frame(t_ns=round(seq / self._config.fps * 1e9), seq=seq, rgb=rgb)

    def close(self) -> None:
        self._opened = False
