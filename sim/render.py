"""Pictures of the scene: MuJoCo's offscreen OpenGL renderer, opened on first use and kept for many episodes.

Two profiles of one context: `fast` draws neither shadows nor reflections, `faithful` draws shadows (the
scene's shadow map is 1024). Neither uses multisampling. On machines without a screen EGL is used, in
software where there is no GPU.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from typing import Any, Protocol

import cv2
import mujoco
import numpy as np

from ..robot.errors import DeviceError, UsageError, nearest
from ..robot.types import F32, F64, U8

PROFILES = ("fast", "faithful")
SPARE_GEOMS = 64  # geoms that MuJoCo adds to the model's own in a rendered scene (lights, skins)


class Renderer:
    """Renders states of `model` from its cameras. Used from one thread; make it after a fork, not before.

    One GL context, made on the first picture, serves every camera, resolution and episode of the model, and
    both profiles. The model's masses, colours, lights and camera poses are read anew for every picture, so a
    randomised model needs no new renderer.
    """

    def __init__(self, model: mujoco.MjModel, profile: str = "fast") -> None:
        if profile not in PROFILES:
            raise UsageError(f"unknown render profile '{profile}'{nearest(profile, PROFILES)}")
        self.profile = profile
        self._model = model
        self._gl: _GLContext | None = None
        self._context: Any = None
        self._scene: Any = None
        self._data: mujoco.MjData | None = None
        self._finalizer: Any = None
        self._size = (0, 0)
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0  # sites are for us, cameras do not see them
        self._camera = mujoco.MjvCamera()
        self._camera.type = int(mujoco.mjtCamera.mjCAMERA_FIXED)
        self._buffers: dict[tuple[int, int], tuple[U8, F32]] = {}

    @property
    def model(self) -> mujoco.MjModel:
        return self._model

    def open(self) -> None:
        """Make the GL context; done by the first picture too. Raises `DeviceError` where there is none."""
        if self._gl is not None:
            return
        self._gl = _make_context()
        _ask_to_close(self)
        _make_current(self._gl)
        vis = self._model.vis
        multisampling, vis.quality.offsamples = vis.quality.offsamples, 0  # read while the context is made
        try:
            self._context = mujoco.MjrContext(self._model, int(mujoco.mjtFontScale.mjFONTSCALE_100))
        except mujoco.FatalError as error:
            self._gl.free()
            self._gl = None
            raise _no_gl(error) from None
        finally:
            vis.quality.offsamples = multisampling
        # Not __del__: this keeps both alive until they are freed, in the right order.
        self._finalizer = weakref.finalize(self, _free, self._gl, self._context)
        self._finalizer.atexit = False  # see _ask_to_close
        mujoco.mjr_setBuffer(int(mujoco.mjtFramebuffer.mjFB_OFFSCREEN), self._context)
        self._context.readDepthMap = int(mujoco.mjtDepthMap.mjDEPTH_ZEROFAR)
        self._size = (int(vis.global_.offwidth), int(vis.global_.offheight))
        self._scene = mujoco.MjvScene(self._model, self._model.ngeom + SPARE_GEOMS)
        shown = self._scene.flags
        shown[int(mujoco.mjtRndFlag.mjRND_SHADOW)] = self.profile == "faithful"
        shown[int(mujoco.mjtRndFlag.mjRND_REFLECTION)] = False
        shown[int(mujoco.mjtRndFlag.mjRND_HAZE)] = False

    def render(
        self, data: mujoco.MjData, camera: int, rgb: U8, depth_m: F32 | None = None, zoom: float = 1.0
    ) -> None:
        """Write a picture of `data` from camera id `camera` into `rgb`, (h, w, 3), top row first.

        `data` must be up to date (`mj_forward`, or `mj_kinematics` with `mj_camlight`). `depth_m`, (h, w),
        receives the distance along the optical axis in metres. `zoom` > 1 widens the view by that factor
        (of the image plane, not of the angle), which gives a lens model the room it needs.
        """
        size = (rgb.shape[0], rgb.shape[1])
        raw, raw_depth = self._draw(data, camera, size, depth_m is not None, zoom)
        cv2.flip(raw, 0, dst=rgb)  # OpenGL's first row is the bottom one
        if depth_m is not None:
            cv2.flip(raw_depth, 0, dst=depth_m)

    def render_state(
        self,
        qpos: F64,
        camera: int,
        rgb: U8,
        depth_m: F32 | None = None,
        *,
        zoom: float = 1.0,
        mocap: tuple[F64, F64] | None = None,
    ) -> None:
        """Like `render`, from positions alone: `qpos` (nq,), and `mocap` = positions (k, 3), wxyz (k, 4)."""
        data: Any = self._data
        if data is None:
            data = self._data = mujoco.MjData(self._model)
        data.qpos[:] = qpos
        if mocap is not None:
            data.mocap_pos[:], data.mocap_quat[:] = mocap
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_comPos(self._model, data)
        mujoco.mj_camlight(self._model, data)
        if self._model.ntendon:
            mujoco.mj_tendon(self._model, data)
        self.render(data, camera, rgb, depth_m, zoom)

    def close(self) -> None:
        """Free the context; the next picture would make a new one."""
        if self._gl is None:
            return
        self._finalizer.detach()
        _free(self._gl, self._context)
        self._gl = self._context = self._scene = self._data = None

    def _draw(
        self, data: mujoco.MjData, camera: int, size: tuple[int, int], depth: bool, zoom: float
    ) -> tuple[U8, F32]:
        """Picture and depth, bottom row first, in buffers that the next call of this size overwrites."""
        height, width = size
        if self._gl is None:
            self.open()
        assert self._gl is not None
        _make_current(self._gl)
        if width > self._size[0] or height > self._size[1]:
            self._size = (max(width, self._size[0]), max(height, self._size[1]))
            mujoco.mjr_resizeOffscreen(*self._size, self._context)
        if (height, width) not in self._buffers:
            self._buffers[height, width] = (
                np.empty((height, width, 3), np.uint8),
                np.empty((height, width), np.float32),
            )
        rgb, depth_m = self._buffers[height, width]
        self._camera.fixedcamid = camera
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, int(mujoco.mjtCatBit.mjCAT_ALL), self._scene
        )
        if zoom != 1.0:
            for eye in self._scene.camera:
                eye.frustum_bottom *= zoom
                eye.frustum_top *= zoom
                eye.frustum_width *= zoom
        view = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(view, self._scene, self._context)
        mujoco.mjr_readPixels(rgb, depth_m if depth else None, view, self._context)
        if depth:
            self._to_metres(depth_m)
        return rgb, depth_m

    def _to_metres(self, depth: F32) -> None:
        """Turn reversed depth (1 at the near plane, 0 at the far one) into metres, in place."""
        near = self._model.vis.map.znear * self._model.stat.extent
        far = self._model.vis.map.zfar * self._model.stat.extent
        depth *= far - near
        depth += near
        np.divide(near * far, depth, out=depth)


class _GLContext(Protocol):
    def make_current(self) -> None: ...

    def free(self) -> None: ...


class _State(threading.local):
    current: _GLContext | None = None  # the context that is current in this thread


_state = _State()
_open: weakref.WeakSet[Renderer] = weakref.WeakSet()


def _make_context() -> _GLContext:
    """A GL context of the kind that MUJOCO_GL names, else EGL on Linux, else MuJoCo's own choice.

    MuJoCo picks its kind while `import mujoco` runs, and picks GLFW, which needs a screen, when MUJOCO_GL
    is unset. Its EGL module can be imported at any time, so the order of imports does not matter here.
    """
    wanted = os.environ.get("MUJOCO_GL", "").lower().strip()
    if wanted in ("disable", "disabled", "off", "false", "0"):
        raise _no_gl(RuntimeError("rendering is switched off by MUJOCO_GL"))
    try:
        if wanted == "osmesa":
            from mujoco.osmesa import GLContext
        elif wanted == "egl" or (sys.platform == "linux" and wanted == ""):
            from mujoco.egl import GLContext
        else:
            from mujoco.gl_context import GLContext
        return GLContext(640, 480)
    except Exception as error:  # PyOpenGL raises AttributeError, ImportError, GLError, ... as it pleases
        raise _no_gl(error) from None


def _no_gl(error: BaseException) -> DeviceError:
    kind = os.environ.get("MUJOCO_GL") or "egl"
    return DeviceError(
        f"renderer: no OpenGL context with MUJOCO_GL={kind} ({type(error).__name__}: {error}); on Debian or "
        "Ubuntu run `apt install libegl1 libgl1` and set MUJOCO_GL=egl, or leave it unset"
    )


def _make_current(context: _GLContext) -> None:
    if _state.current is not context:
        context.make_current()
        _state.current = context


def _forget(context: _GLContext) -> None:
    if _state.current is context:
        _state.current = None


def _free(gl: _GLContext, context: Any) -> None:
    """Free both while `gl` is current: under another one it would be that one's textures that go."""
    _make_current(gl)
    context.free()
    _forget(gl)
    gl.free()


def _ask_to_close(renderer: Renderer) -> None:
    """Close open renderers at exit, before PyOpenGL's own exit handlers pull the display away."""
    if not _open:
        atexit.unregister(_close_all)
        atexit.register(_close_all)  # handlers run last in, first out: this is after the display's
    _open.add(renderer)


def _close_all() -> None:
    for renderer in list(_open):
        renderer.close()
