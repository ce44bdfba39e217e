"""One camera's mounting, lens, clock and sensor. All but the pose and field of view are read by `TwinCamera`.

Ranges are those of a 20-dollar webcam that was mounted by hand; where the rig states a figure (field of view,
latency), the range is around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import mujoco
import numpy as np

from ...robot.rig import CameraConfig
from .param import Apply, Choice, Distribution, Fields, Integer, LogUniform, Normal, Param, Uniform

DEG = math.pi / 180
# Stereo depth: sd = z^2 * disparity error / (focal * baseline); 0.05..0.12 px, 640 px, 50 mm (Intel D435).
DEPTH_NOISE_PER_M = (0.05 / (640 * 0.05), 0.12 / (640 * 0.05))


def camera_params(name: str, camera_id: int, config: CameraConfig) -> tuple[Param, ...]:
    """Parameters "camera.<name>.*" of one camera of the rig."""
    if config.mount == "world":
        shift_m, turn_rad = 0.015, 2.0 * DEG  # a tripod or clamp, measured with a ruler
    else:
        shift_m, turn_rad = 0.004, 1.5 * DEG  # a printed bracket

    def position(fields: Fields, offset_m: Sequence[float]) -> None:
        fields["cam_pos"][camera_id] += offset_m

    def rotation(fields: Fields, turn: Sequence[float]) -> None:
        x, y, z = turn
        angle = math.sqrt(x * x + y * y + z * z)
        half = 0.5 * math.sin(angle / 2) / (angle / 2) if angle > 1e-9 else 0.5
        quat = fields["cam_quat"][camera_id]
        # The house's camera frame is x right, y down, z forward; MuJoCo's is x right, y up, z back.
        turned = np.array([math.cos(angle / 2), half * x, -half * y, -half * z])
        mujoco.mju_mulQuat(quat, quat.copy(), turned)

    def fovy(fields: Fields, value_deg: float) -> None:
        fields["cam_fovy"][camera_id] = value_deg

    def param(
        what: str, distribution: Distribution, unit: str, doc: str, apply: Apply | None = None
    ) -> Param:
        return Param(f"camera.{name}.{what}", "camera", distribution, unit, doc, apply)

    latency_s = config.latency_ms * 1e-3
    params = [
        param("position", Uniform(-shift_m, shift_m, 3), "m", "offset in the parent frame", position),
        param("rotation", Uniform(-turn_rad, turn_rad, 3), "rad", "turn about its own axes", rotation),
        param("fovy", Uniform(config.fovy_deg - 2, config.fovy_deg + 2), "deg", "vertical view", fovy),
        param("latency_s", Uniform(0.7 * latency_s, 1.4 * latency_s), "s", "mid-exposure to readable frame"),
        param("latency_jitter_s", Uniform(0.0, 0.004), "s", "mean of the random part on top"),
        param("phase", Uniform(0.0, 1.0), "period", "first exposure after opening"),
        param("clock_ppm", Normal(0.0, 50.0, -200.0, 200.0), "ppm", "slowness of the camera's clock"),
        param("drop_probability", Uniform(0.0, 0.02), "1", "share of exposures that never arrive"),
        param("exposure_s", Uniform(0.004, 0.016), "s", "exposure time (motion blur when faithful)"),
        param("readout_s", Uniform(0.0, 0.016), "s", "rolling shutter, first row to last (when faithful)"),
        param("auto_exposure", Uniform(0.5, 1.0), "1", "how far the camera corrects its exposure itself"),
        param("gain", LogUniform(0.75, 1.35), "1", "exposure error on top, in light"),
        param("white_balance", Uniform(0.92, 1.08, 3), "1", "gain of R, G, B in light"),
        param("gamma", Uniform(0.88, 1.14), "1", "tone curve relative to the display's"),
        param("photon_noise", Uniform(0.004, 0.025), "1", "noise at full white, share of it, in light"),
        param("read_noise", Uniform(0.001, 0.004), "1", "noise in the dark, share of white, in light"),
        param("vignetting", Uniform(0.0, 0.35), "1", "light lost in the corners"),
        param("distortion", Uniform((-0.08, -0.02, -0.002, -0.002), (0.04, 0.02, 0.002, 0.002), 4), "1",
              "k1 k2 p1 p2 as in OpenCV"),
        param("blur_px", Uniform(0.2, 0.9), "px", "defocus in a 480-row picture"),
        param("jpeg_quality", Choice((70, 80, 85, 90, 95)), "1", "JPEG quality (when faithful)"),
        param("seed", Integer(0, 2**31), "1", "of the camera's noise, drops and jitter"),
    ]  # fmt: skip
    if config.kind == "realsense":
        params += [
            param("depth_noise", Uniform(*DEPTH_NOISE_PER_M), "m at 1 m", "depth error, grows with z^2"),
            param("depth_min_m", Uniform(0.15, 0.25), "m", "nearest distance with depth"),
        ]
    return tuple(params)
