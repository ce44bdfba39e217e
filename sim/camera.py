"""A camera of the twin: its own clock, exposure, latency and losses. Implements `Camera`.

At each exposure only positions and speeds are noted. A picture is rendered when, and only if, it is read; the
result is the same whether earlier ones were read or not, because nothing random depends on what was read.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from ..robot.errors import DeviceError, StaleData, UsageError, nearest
from ..robot.types import F32, F64, U8, CameraSpec, Frame
from .optics import CameraEffects, Optics
from .randomize.stream import unit
from .render import Renderer

if TYPE_CHECKING:
    from .twin import Twin

SUB_EXPOSURES = 5  # renders that a moving `faithful` picture is made of
METER_ROWS = 48  # size of the picture that auto-exposure looks at
STILL_RAD = 2e-4  # movement during the exposure below which one render is enough, rad or m
JITTER_MAX = 4.0  # longest jitter, in means
_DROP, _JITTER = 11, 12  # what a random number is for


@dataclass(frozen=True, slots=True)
class _Exposure:
    """What one exposure saw, not rendered yet."""

    t_ns: int  # mid-exposure
    ready_ns: int  # when the frame can be read
    seq: int
    qpos: F64  # (nq,) at `late_s` after mid-exposure
    qvel: F64  # (nv,)
    late_s: float  # how far the physics step lay after mid-exposure
    mocap: tuple[F64, F64] | None


class TwinCamera:
    """The camera `name` of the twin's rig.

    Exposures happen at the camera's own rate (`fps`, off by `clock_ppm`) on the simulation's clock, from
    `phase` of a period after `open()`. `read()` returns the newest frame whose mid-exposure plus latency has
    passed; the frame's `t_ns` is mid-exposure, and `seq` counts exposures from 1, so that a dropped one
    leaves a gap. Before the first frame arrives, `read()` returns a picture of the state at `open()` with
    seq 0, so set the episode's first state before that. Raises `StaleData` when the newest frame is older
    than the rig's `guard.stale_camera_ms` (or than three periods and the latency, if that is longer).

    `size` = (width, height) delivers pictures in another size than the rig's, as if scaled on arrival.
    Depth is delivered when `depth` is true or the rig's camera is a "realsense". `effects` are those of the
    twin's draw by default; where the draw has no "camera.<name>.seed", `seed` seeds noise, drops and jitter.
    """

    def __init__(
        self,
        name: str,
        twin: Twin,
        renderer: Renderer,
        effects: CameraEffects | None = None,
        *,
        size: tuple[int, int] | None = None,
        depth: bool | None = None,
        seed: int = 0,
    ) -> None:
        cameras = twin.scene.rig.cameras
        if name not in cameras:
            raise UsageError(f"the rig has no camera '{name}'{nearest(name, cameras)}")
        if renderer.model is not twin.model:
            raise UsageError(f"camera {name}: its renderer was made for the model of another scene")
        config = cameras[name]
        width, height = size or (config.width, config.height)
        self.name = name
        self.effects = effects or CameraEffects.from_draw(twin.draw, name, config, seed)
        self._spec = CameraSpec(
            width, height, config.fps, config.kind == "realsense" if depth is None else depth
        )
        self._twin = twin
        self._renderer = renderer
        self._id = twin.scene.cameras[name]
        self._period_ns = round(1e9 / config.fps * (1 + self.effects.clock_ppm * 1e-6))
        latency_ns = round((self.effects.latency_s + JITTER_MAX * self.effects.latency_jitter_s) * 1e9)
        self._limit_ns = max(
            round(twin.scene.rig.guard.stale_camera_ms * 1e6), 3 * self._period_ns + latency_ns
        )
        self._start: _Exposure | None = None  # the state at open()
        self._metered = False
        self._pending: deque[_Exposure] = deque()
        self._frame: Frame | None = None
        self._first_ns = 0
        self._opened: int | None = None  # counts openings; the callbacks of closed ones do nothing
        self._openings = 0
        self._exposures = 0
        self._plugged = True
        self._optics: Optics | None = None
        self._layers: list[U8] = []

    @property
    def spec(self) -> CameraSpec:
        return self._spec

    @property
    def period_ns(self) -> int:
        """True time between two exposures, ns."""
        return self._period_ns

    def open(self) -> None:
        """Start exposing. The field of view is that of the scene now."""
        if self._opened is not None:
            return
        self._openings += 1
        opened = self._opened = self._openings
        fovy = float(self._twin.model.cam_fovy[self._id])
        self._optics = Optics(self.effects, self._spec.width, self._spec.height, fovy)
        self._pending.clear()
        self._frame = None
        self._exposures = 0
        self._metered = False
        clock = self._twin.clock
        phase_ns = round(self.effects.phase * self._period_ns)
        self._first_ns = clock.now() + phase_ns
        self._start = self._note(clock.now(), 0, 0)

        def expose() -> None:
            if self._opened == opened:
                self._expose()

        clock.every(self._period_ns, expose, phase_ns)

    def read(self) -> Frame:
        """The newest frame that has arrived; renders it unless it was read before. Never waits."""
        if self._opened is None or self._optics is None:
            raise DeviceError(f"camera {self.name}: not open; call open() first")
        now = self._twin.clock.now()
        exposure = self._newest(now)
        if exposure is None and self._frame is None:
            exposure = self._start
        if exposure is not None and (self._frame is None or exposure.seq != self._frame.seq):
            self._frame = self._develop(exposure)
        assert self._frame is not None
        age_ns = now - self._frame.t_ns
        if age_ns > self._limit_ns:
            raise StaleData(f"camera {self.name}", age_ns, self._limit_ns)
        return self._frame

    def unplug(self, unplugged: bool = True) -> None:
        """Fault switch for tests: no exposure arrives until `unplug(False)`."""
        self._plugged = not unplugged

    def close(self) -> None:
        self._opened = None
        self._pending.clear()

    def _newest(self, now_ns: int) -> _Exposure | None:
        """The newest exposure that can be read at `now_ns`; forgets those that it supersedes."""
        pending = self._pending
        for index in range(len(pending) - 1, -1, -1):
            if pending[index].ready_ns <= now_ns:
                for _ in range(index):
                    pending.popleft()
                return pending[0]
        return None

    def _expose(self) -> None:
        """Called by the clock at the first physics step at or after mid-exposure."""
        self._exposures += 1
        seq, effects = self._exposures, self.effects
        if not self._plugged:
            return
        if effects.drop_probability > 0 and unit(effects.seed, seq, _DROP) < effects.drop_probability:
            return
        t_ns = self._first_ns + (seq - 1) * self._period_ns
        latency_s = effects.latency_s
        if effects.latency_jitter_s > 0:
            late = -math.log1p(-unit(effects.seed, seq, _JITTER))  # exponential, mean 1
            latency_s += effects.latency_jitter_s * min(late, JITTER_MAX)
        self._pending.append(self._note(t_ns, t_ns + round(latency_s * 1e9), seq))
        self._newest(self._twin.clock.now())

    def _note(self, t_ns: int, ready_ns: int, seq: int) -> _Exposure:
        data = self._twin.data
        mocap = (data.mocap_pos.copy(), data.mocap_quat.copy()) if self._twin.model.nmocap else None
        late_s = (self._twin.clock.now() - t_ns) * 1e-9
        return _Exposure(t_ns, ready_ns, seq, data.qpos.copy(), data.qvel.copy(), late_s, mocap)

    def _develop(self, exposure: _Exposure) -> Frame:
        """Render `exposure` and pass it through lens, sensor and firmware."""
        assert self._optics is not None
        if not self._metered:
            self._meter()
        shape = (self._spec.height, self._spec.width)
        depth = np.empty(shape, np.float32) if self._spec.depth else None
        faithful = self._renderer.profile == "faithful"
        span_s = self.effects.exposure_s + self.effects.readout_s if faithful else 0.0
        speed = float(np.abs(exposure.qvel).max()) if exposure.qvel.size else 0.0
        if speed * span_s > STILL_RAD:
            rendered = self._smeared(exposure, span_s, depth)
        else:
            rendered = self._layer(0)
            self._render(exposure, 0.0, rendered, depth)
        rgb = self._optics.develop(rendered, exposure.seq, jpeg=faithful)
        rgb.setflags(write=False)
        if depth is not None:
            depth = self._optics.develop_depth(depth, exposure.seq)
            depth.setflags(write=False)
        return Frame(exposure.t_ns, exposure.seq, rgb, depth)

    def _meter(self) -> None:
        """Let auto-exposure look at the state at `open()`, so that it does not depend on what is read."""
        assert self._optics is not None and self._start is not None
        self._metered = True
        if self.effects.auto_exposure > 0:
            view = np.empty((METER_ROWS, METER_ROWS * self._spec.width // self._spec.height, 3), np.uint8)
            self._render(self._start, 0.0, view)
            self._optics.meter(view)

    def _render(self, exposure: _Exposure, offset_s: float, rgb: U8, depth: F32 | None = None) -> None:
        """Render the scene `offset_s` after mid-exposure, from the noted positions and speeds."""
        assert self._optics is not None
        qpos = exposure.qpos
        move_s = offset_s - exposure.late_s
        if move_s:
            qpos = qpos.copy()
            mujoco.mj_integratePos(self._twin.model, qpos, exposure.qvel, move_s)
        zoom = self._optics.zoom
        self._renderer.render_state(qpos, self._id, rgb, depth, zoom=zoom, mocap=exposure.mocap)

    def _smeared(self, exposure: _Exposure, span_s: float, depth: F32 | None) -> U8:
        """Motion blur and rolling shutter: each row is the mean over its own exposure window, (h, w, 3)."""
        height = self._spec.height
        offsets = np.linspace(-0.5, 0.5, SUB_EXPOSURES) * span_s
        rows = (np.arange(height) / max(1, height - 1) - 0.5) * self.effects.readout_s
        step = offsets[1] - offsets[0]
        half = 0.5 * max(self.effects.exposure_s, step)
        # Share of each render's step that lies within a row's exposure: (h, renders).
        weight = np.clip((half + step / 2 - np.abs(offsets[None, :] - rows[:, None])) / step, 0.0, 1.0)
        weight /= weight.sum(axis=1, keepdims=True)
        total = np.zeros((height, self._spec.width, 3), np.float32)
        layer = self._layer(1)
        for k, offset in enumerate(offsets):
            self._render(exposure, float(offset), layer, depth if k == SUB_EXPOSURES // 2 else None)
            total += layer * weight[:, k, None, None].astype(np.float32)
        result = self._layer(0)
        np.copyto(result, np.rint(total, out=total), casting="unsafe")
        return result

    def _layer(self, index: int) -> U8:
        """A scratch picture, (h, w, 3)."""
        while len(self._layers) <= index:
            self._layers.append(np.empty((self._spec.height, self._spec.width, 3), np.uint8))
        return self._layers[index]


__all__ = ["CameraEffects", "TwinCamera"]
