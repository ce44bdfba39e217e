"""Somebody who stands beside an emulated stage and sees everything: a twin that follows the emulator's."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from ...robot.errors import DeviceError
from ...robot.process.ring import RingReader
from ..twin import Twin
from .stage import STATE, STATES, StageScene, load_stage


class Onlooker:
    """Follows the stage of the emulator whose `folder` this is. `open`, then `look` whenever it is to be up to date."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ring = RingReader(folder / STATES)
        self._built: StageScene | None = None
        self._twin: Twin | None = None
        self._seed: int | None = None

    @property
    def built(self) -> StageScene:
        """Its scene and task. Raises `DeviceError` before `open`."""
        if self._built is None:
            raise DeviceError("onlooker: not open")
        return self._built

    @property
    def twin(self) -> Twin:
        """As it stood at the last look; another one for every placing. Raises `DeviceError` before the first."""
        if self._twin is None:
            raise DeviceError("onlooker: the emulator has told nothing yet")
        return self._twin

    def open(self) -> None:
        """Build the scene that the emulator has."""
        self._built = load_stage(self._folder)
        self._ring.open()

    def look(self) -> None:
        """Be as the emulator said last."""
        newest = self._ring.latest()
        if newest is None or newest.kind != STATE:
            return
        twin_ns, seed = np.frombuffer(newest.data, "<i8", 2).tolist()
        if seed != self._seed:
            self._seed = seed
            self._twin = Twin(self.built.scene, self.built.draw(seed))
        twin, at = self.twin, 0
        values = np.frombuffer(newest.data, "<f8", offset=16)
        for array in (twin.data.qpos, twin.data.qvel, twin.data.mocap_pos, twin.data.mocap_quat):
            array[:] = values[at : at + array.size].reshape(array.shape)
            at += array.size
        twin.data.time = twin_ns * 1e-9
        mujoco.mj_kinematics(twin.model, twin.data)

    def close(self) -> None:
        self._ring.close()
