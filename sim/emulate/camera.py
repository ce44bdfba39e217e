"""An emulated camera in a capture process: it follows the emulator's state and renders what a camera would have seen.

Rendering takes longer than a servo may keep its bus waiting, so the emulator itself renders nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...robot.errors import DeviceError, StaleData
from ...robot.interfaces import Clock
from ...robot.process.ring import Message, RingReader
from ...robot.rig import CameraConfig
from ...robot.types import Frame
from ..camera import TwinCamera
from ..clock import SimClock
from ..render import Renderer
from ..twin import Twin
from .stage import FAULT, STATES, StageScene, load_stage

FACTORY = f"{__name__}:connect"  # as `CameraProcess` wants it named
SILENT_NS = 1_000_000_000
LOOK_NS = 1_000_000
SLOW = 10  # one picture in so many arrives from a slow camera


class FollowingClock(SimClock):
    """Time as the emulator tells it; callbacks run on the way, physics does not."""

    def follow(self, now_ns: int) -> None:
        self._steps = now_ns // self._step_ns
        for event in self._events:
            while event.due_ns <= now_ns:
                event.callback()
                event.due_ns += event.period_ns


def connect(name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> EmulatedCamera:
    """Camera `name` of the emulator whose files lie in `options["folder"]`."""
    return EmulatedCamera(name, clock, Path(options["folder"]))


class EmulatedCamera:
    """Implements `Source`: exposure, latency, optics and losses of `TwinCamera`, on the emulator's time."""

    def __init__(self, name: str, clock: Clock, folder: Path) -> None:
        self._name = name
        self._clock = clock
        self._folder = folder
        self._states = RingReader(folder / STATES)
        self._built: StageScene | None = None
        self._renderer: Renderer | None = None
        self._twin: Twin | None = None
        self._time = FollowingClock.__new__(FollowingClock)
        self._camera: TwinCamera | None = None
        self._seed: int | None = None
        self._ahead_ns = 0  # the clock's time less the twin's
        self._seen = -1  # number of the last exposure of this episode
        self._count = 0
        self._fault = ""
        self._held: Frame | None = None

    def open(self) -> None:
        self._states.open()
        if self._built is None:
            self._built = load_stage(self._folder)

    def close(self) -> None:
        """In the thread that called `next`, if any did: OpenGL wants it so."""
        self._states.close()
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.close()
        self._camera = self._seed = None

    def next(self) -> Frame:
        due = self._clock.now() + SILENT_NS
        while self._clock.now() < due:
            for message in self._states.poll(200):
                self._take(message)
            frame = self._newest()
            if frame is not None:
                return frame
            self._clock.sleep_until(self._clock.now() + LOOK_NS)
        raise DeviceError(f"camera {self._name}: no picture from the emulator")

    def _take(self, message: Message) -> None:
        if message.kind == FAULT:
            camera, fault = json.loads(message.data)
            if camera == self._name:
                self._fault = fault
            return
        twin_ns, seed = np.frombuffer(message.data, "<i8", 2).tolist()
        values = np.frombuffer(message.data, "<f8", offset=16)
        self._ahead_ns = message.t_ns - twin_ns
        if seed != self._seed:
            self._begin(seed, twin_ns, values)
        self._set(values)
        self._time.follow(twin_ns)

    def _begin(self, seed: int, twin_ns: int, values: np.ndarray) -> None:
        """Another episode: another look of the scene, another draw of the camera."""
        assert self._built is not None
        self._seed = seed
        if (
            self._renderer is None
        ):  # made here, not in `open`: OpenGL's context belongs to the thread that renders
            self._renderer = Renderer(self._built.scene.model, profile=self._built.stage.profile)
            self._renderer.open()
        twin = self._twin = Twin(self._built.scene, self._built.draw(seed))
        self._time = FollowingClock(twin.model, twin.data)
        self._time.follow(twin_ns)
        twin.clock = self._time
        self._set(values)
        self._camera = TwinCamera(self._name, twin, self._renderer, seed=seed)
        self._camera.open()
        self._seen = 0  # the picture before the first exposure is nobody's

    def _set(self, values: np.ndarray) -> None:
        assert self._twin is not None
        data, at = self._twin.data, 0
        for array in (data.qpos, data.qvel, data.mocap_pos, data.mocap_quat):
            array[:] = values[at : at + array.size].reshape(array.shape)
            at += array.size

    def _newest(self) -> Frame | None:
        if self._camera is None or self._fault == "gone":
            return None
        try:
            frame = self._camera.read()
        except StaleData:
            return None
        if frame.seq == self._seen:
            return None
        self._seen = frame.seq
        self._count += 1
        if self._fault == "slow" and self._count % SLOW:
            return None
        if self._fault == "frozen" and self._held is not None:
            frame = replace(frame, rgb=self._held.rgb)
        frame = replace(frame, t_ns=frame.t_ns + self._ahead_ns, seq=self._count)
        self._held = frame
        return frame
