"""From a rendered picture to what a cheap camera delivers: lens, sensor and firmware, vectorised.

Order, as in the device: defocus, lens distortion, exposure with white balance and gamma, vignetting, photon
and read noise, JPEG. All of it takes about 2 ms for 480x640 and 0.1 ms for 96x96 on one core.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..robot.rig import CameraConfig
from ..robot.types import F32, U8
from .randomize.stream import unit

DISPLAY_GAMMA = 2.2  # rendered pictures are taken as display-referred: light = (level / 255) ** 2.2
REFERENCE_ROWS = 480  # blur and noise are given for a picture of this height
TILE_MARGIN = 64  # px by which the noise tile may be shifted
TILE_UNIT = 32  # tile values per standard deviation
SIGMA_UNIT = 16  # sigma table values per grey level
EXPOSURE_TARGET = 0.2  # mean light of a well exposed picture, share of white (18 % grey)
EXPOSURE_LIMIT = 4.0  # most that auto-exposure brightens or darkens
GRID_PX = 8  # spacing at which the lens model is solved; in between it is linear


@dataclass(frozen=True, slots=True)
class CameraEffects:
    """How one camera departs from a perfect one. The defaults are a perfect camera with 30 ms latency."""

    latency_s: float = 0.03  # mid-exposure to the moment the frame can be read
    latency_jitter_s: float = 0.0  # mean of an exponential delay on top of the latency
    phase: float = 0.0  # share of a period between opening and the first exposure, 0..1
    clock_ppm: float = 0.0  # rate error of the camera's clock; > 0: slow, longer periods
    drop_probability: float = 0.0  # exposures that never arrive
    exposure_s: float = 0.0  # exposure time: motion blur, `faithful` only
    readout_s: float = 0.0  # rolling shutter, first row to last, `faithful` only
    auto_exposure: float = 0.0  # 0: fixed; 1: brings the episode's first view to EXPOSURE_TARGET
    gain: float = 1.0  # exposure error on top, in light
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)  # R, G, B, in light
    gamma: float = 1.0  # tone curve relative to the display's
    photon_noise: float = 0.0  # standard deviation at full white, share of full scale, in light
    read_noise: float = 0.0  # standard deviation in the dark, share of full scale, in light
    vignetting: float = 0.0  # share of light lost in the corners
    distortion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # k1, k2, p1, p2 as in OpenCV
    blur_px: float = 0.0  # standard deviation of defocus, px of a 480-row picture
    jpeg_quality: int = 0  # 1..100; 0 = no JPEG; `faithful` only
    depth_noise: float = 0.0  # standard deviation of depth at 1 m, m; grows with the square
    depth_min_m: float = 0.0  # nearer is unknown (0)
    depth_max_m: float = 10.0  # farther is unknown (0)
    seed: int = 0  # of noise, drops and jitter

    @classmethod
    def from_draw(
        cls, draw: Mapping[str, Any], camera: str, config: CameraConfig, seed: int = 0
    ) -> CameraEffects:
        """Effects of `camera` as `draw` has them under `camera.<name>.<field>`; absent ones stay perfect."""
        start = f"camera.{camera}."
        known = {f.name for f in fields(cls)}
        drawn = {
            name[len(start) :]: tuple(value) if isinstance(value, list) else value
            for name, value in draw.items()
            if name.startswith(start) and name[len(start) :] in known
        }
        return replace(cls(latency_s=config.latency_ms * 1e-3, seed=seed), **drawn)


class Optics:
    """Develops pictures of one camera at one size. Everything constant is computed at the first picture.

    Pictures of fewer than 480 rows are taken as scaled down on arrival: they have less noise and defocus, as
    averaging pixels leaves.
    """

    def __init__(self, effects: CameraEffects, width: int, height: int, fovy_deg: float) -> None:
        self.effects = effects
        self._width = width
        self._height = height
        self._focal_px = 0.5 * height / math.tan(math.radians(fovy_deg) / 2)
        self._noise_scale = min(1.0, height / REFERENCE_ROWS)
        self._maps: tuple[Any, Any] | None = None
        self._tables: tuple[U8, NDArray[np.int16] | None, U8 | None] | None = None
        self._exposure = 1.0
        self.zoom = 1.0  # how much wider than the field of view the scene must be rendered
        if any(effects.distortion):
            self._maps, self.zoom = _lens_maps(effects.distortion, width, height, self._focal_px)

    def meter(self, rendered: U8) -> None:
        """Set the exposure by the view `rendered` (any size, 3), as firmware does before the first frame."""
        light = float(np.mean((rendered / 255.0) ** DISPLAY_GAMMA))
        wanted = (EXPOSURE_TARGET / max(light, 1e-4)) ** self.effects.auto_exposure
        self._exposure = min(max(wanted, 1 / EXPOSURE_LIMIT), EXPOSURE_LIMIT)
        self._tables = None

    def develop(self, rendered: U8, seq: int, jpeg: bool = False) -> U8:
        """What the camera delivers for `rendered` (h, w, 3), a new array; noise depends on `seq`."""
        effects = self.effects
        picture = np.empty((self._height, self._width, 3), np.uint8)
        sigma = effects.blur_px * self._height / REFERENCE_ROWS
        if sigma > 0.25:
            size = 3 if sigma < 0.8 else 2 * math.ceil(2 * sigma) + 1
            rendered = cv2.GaussianBlur(rendered, (size, size), sigma)  # type: ignore[assignment]
        if self._maps is not None:
            # By way of four channels: OpenCV 5 has vector code for those, two thirds of the time.
            four = cv2.cvtColor(rendered, cv2.COLOR_RGB2RGBA)
            four = cv2.remap(four, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            rendered = cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, dst=picture)  # type: ignore[assignment]
        if self._tables is None:
            self._tables = self._make_tables()
        curve, noise, falloff = self._tables
        cv2.LUT(rendered, curve, dst=picture)
        if falloff is not None:
            cv2.multiply(picture, falloff, dst=picture, scale=1 / 255)
        if noise is not None:
            grain = cv2.LUT(picture, noise)
            tile = self._noise_tile(seq)
            cv2.multiply(grain, tile, dst=grain, scale=1 / (TILE_UNIT * SIGMA_UNIT))
            cv2.add(picture, grain, dst=picture, dtype=cv2.CV_8U)
        if jpeg and effects.jpeg_quality:
            _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, effects.jpeg_quality])
            picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8)
        return picture

    def develop_depth(self, depth_m: F32, seq: int) -> F32:
        """Depth as a stereo camera delivers it: noise, millimetres, holes at edges and out of range (0)."""
        effects = self.effects
        if self._maps is not None:
            depth_m = cv2.remap(  # type: ignore[assignment]
                depth_m, *self._maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
            )
        else:
            depth_m = depth_m.copy()
        lost = (depth_m < effects.depth_min_m) | (depth_m > effects.depth_max_m)
        if effects.depth_noise > 0:
            step = cv2.morphologyEx(depth_m, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
            lost |= step > 0.1 * depth_m  # the two eyes see different things there
            tile = self._noise_tile(seq + 1)[:, :, 0].astype(np.float32)
            depth_m += (effects.depth_noise / TILE_UNIT) * tile * depth_m * depth_m
            np.multiply(np.rint(depth_m * 1000), np.float32(1e-3), out=depth_m)
        depth_m[lost] = 0.0
        return depth_m

    def _noise_tile(self, seq: int) -> NDArray[np.int16]:
        """Grain of picture `seq`: a window of the tile, (h, w, 3)."""
        seed = self.effects.seed
        row = int(unit(seed, seq, 1) * TILE_MARGIN)
        column = int(unit(seed, seq, 2) * TILE_MARGIN)
        return _tile(self._width, self._height)[row : row + self._height, column : column + self._width]

    def _make_tables(self) -> tuple[U8, NDArray[np.int16] | None, U8 | None]:
        """Tone curve (1, 256, 3), noise in 1/16 levels by level (1, 256), vignetting (h, w, 3) of 255."""
        effects = self.effects
        light = (np.arange(256) / 255.0) ** DISPLAY_GAMMA
        exponent = effects.gamma / DISPLAY_GAMMA
        exposed = light[:, None] * (effects.gain * self._exposure) * np.asarray(effects.white_balance)
        curve = np.rint(255 * np.clip(exposed, 0, 1) ** exponent).astype(np.uint8)[None]
        noise = None
        if effects.photon_noise > 0 or effects.read_noise > 0:
            # Noise is in light; the tone curve's slope turns it into levels.
            seen = np.maximum((np.arange(256) / 255.0) ** (1 / exponent), 2e-3)
            sd = np.hypot(effects.photon_noise * np.sqrt(seen), effects.read_noise)
            levels = 255 * self._noise_scale * sd * exponent * seen ** (exponent - 1)
            noise = np.rint(SIGMA_UNIT * np.minimum(levels, 15.0)).astype(np.int16)[None]
        falloff = None
        if effects.vignetting > 0:
            v = np.linspace(-1, 1, self._height)[:, None] * self._height
            u = np.linspace(-1, 1, self._width)[None, :] * self._width
            r2 = (u * u + v * v) / (self._width**2 + self._height**2)
            kept = np.rint(255 * (1 - effects.vignetting * r2) ** exponent).astype(np.uint8)
            falloff = np.repeat(kept[:, :, None], 3, axis=2)
        return curve, noise, falloff


def _lens_maps(
    distortion: tuple[float, float, float, float], width: int, height: int, focal_px: float
) -> tuple[tuple[Any, Any], float]:
    """Where each delivered pixel looks in the rendered picture (maps for cv2.remap), and the zoom.

    Solves OpenCV's radial-tangential model for the undistorted point by fixed-point iteration, on a coarse
    grid: the model is smooth, so linear interpolation in between is exact to 0.01 px.
    """
    k1, k2, p1, p2 = distortion
    cx, cy = (width - 1) / 2, (height - 1) / 2
    columns = np.arange(-(-width // GRID_PX) + 1) * GRID_PX
    rows = np.arange(-(-height // GRID_PX) + 1) * GRID_PX
    xd, yd = np.meshgrid((columns - cx) / focal_px, (rows - cy) / focal_px)
    x, y = xd, yd
    for _ in range(8):
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * k2)
        dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        x, y = (xd - dx) / radial, (yd - dy) / radial
    inside = np.s_[: (height - 1) // GRID_PX + 1, : (width - 1) // GRID_PX + 1]
    zoom = max(
        1.0,
        1.01 * float(np.abs(x[inside]).max()) * focal_px / (width / 2),
        1.01 * float(np.abs(y[inside]).max()) * focal_px / (height / 2),
    )
    coarse = np.dstack([cx + x * focal_px / zoom, cy + y * focal_px / zoom]).astype(np.float32)
    u, v = np.meshgrid(
        np.arange(width, dtype=np.float32) / GRID_PX, np.arange(height, dtype=np.float32) / GRID_PX
    )
    full = cv2.remap(coarse, u, v, cv2.INTER_LINEAR)
    return (np.ascontiguousarray(full[..., 0]), np.ascontiguousarray(full[..., 1])), zoom


@functools.lru_cache(maxsize=8)
def _tile(width: int, height: int) -> NDArray[np.int16]:
    """Normal noise, 32 a standard deviation, clipped at 4; (height + 64, width + 64, 3)."""
    rng = np.random.default_rng(20260601)
    normal = rng.standard_normal((height + TILE_MARGIN, width + TILE_MARGIN, 3), dtype=np.float32)
    return np.clip(np.rint(normal * TILE_UNIT), -4 * TILE_UNIT, 4 * TILE_UNIT).astype(np.int16)
