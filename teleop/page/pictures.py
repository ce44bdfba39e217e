"""Pictures for browsers: camera frames as JPEG, and the arms as they stand now, drawn from their descriptions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...robot.models import load_model
from ...robot.rig import Rig
from ...robot.types import U8, Observation

QUALITY = 70  # of JPEG
VIEW = "3d"  # name of the drawn picture among the cameras
VIEW_SIZE = (480, 360)  # width, height px
NEAREST_M, FARTHEST_M = 0.3, 5.0


def jpeg(rgb: U8) -> bytes:
    """`rgb` (h, w, 3) as JPEG."""
    import cv2

    found, data = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    return data.tobytes() if found else b""


class ArmView:
    """Draws the arms of `rig` at their measured joints, from a camera that circles them."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._model: Any = None
        self._data: Any = None
        self._renderer: Any = None
        self._camera: Any = None
        self._places: dict[str, list[int]] = {}  # arm or gripper -> where its joints stand in qpos
        self.azimuth_deg, self.elevation_deg, self.distance_m = 140.0, -25.0, 1.0
        self._middle = np.zeros(3)  # that it looks at

    def open(self) -> None:
        """Build the scene; in the thread that draws, since OpenGL wants it so."""
        import mujoco

        spec = mujoco.MjSpec()
        width, height = VIEW_SIZE
        spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
        spec.visual.quality.offsamples = 0
        spec.add_texture(
            name="sky",
            type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            rgb1=[0.95, 0.96, 0.97],
            rgb2=[0.75, 0.78, 0.82],
            width=32,
            height=32,
        )
        z = self._rig.table.height_m
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1.0, 1.0, 0.05], pos=[0, 0, z], rgba=[0.8, 0.78, 0.74, 1]
        )
        spec.worldbody.add_light(
            pos=[0.5, 0.5, 1.5], dir=[-0.3, -0.3, -1.0], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
        )
        for name, arm in self._rig.arms.items():
            frame = spec.worldbody.add_frame(pos=arm.base.xyz_m, quat=arm.base.wxyz)
            child = mujoco.MjSpec.from_file(str(load_model(arm.model).mjcf))
            spec.attach(child, prefix=f"{name}/", frame=frame)
        model = self._model = spec.compile()
        self._data = mujoco.MjData(model)
        self._renderer = mujoco.Renderer(model, height, width)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._camera = mujoco.MjvCamera()
        mujoco.mj_kinematics(model, self._data)
        bases = [arm.base.xyz_m for arm in self._rig.arms.values()]
        reach = max(float(np.linalg.norm(self._data.xpos[1:] - base, axis=1).max()) for base in bases)
        self._middle = np.mean(bases, axis=0) + [0.3 * reach, 0.0, 0.3 * reach]
        self.distance_m = min(max(2.0 * reach, NEAREST_M), FARTHEST_M)
        for name, arm in self._rig.arms.items():
            description = load_model(arm.model)
            self._places[name] = [int(model.joint(f"{name}/{j}").qposadr[0]) for j in description.joints]
            gripper = self._rig.gripper_of(name)
            if gripper is not None and description.gripper_joint is not None:
                joint = model.joint(f"{name}/{description.gripper_joint}")
                self._places[gripper] = [int(joint.qposadr[0])]

    def turn(self, azimuth_deg: float, elevation_deg: float, zoom: float) -> None:
        """Circle by these angles, and come nearer by a factor."""
        if math.isfinite(azimuth_deg) and math.isfinite(elevation_deg) and 0.2 < zoom < 5.0:
            self.azimuth_deg = (self.azimuth_deg + azimuth_deg) % 360.0
            self.elevation_deg = min(max(self.elevation_deg + elevation_deg, -89.0), 10.0)
            self.distance_m = min(max(self.distance_m * zoom, NEAREST_M), FARTHEST_M)

    def draw(self, obs: Observation) -> U8:
        """The picture (h, w, 3) of the arms as measured."""
        import mujoco

        q = self._data.qpos
        for name, state in obs.arms.items():
            q[self._places[name]] = state.q
        for name, state in obs.grippers.items():
            if name in self._places:
                description = load_model(self._rig.arms[self._rig.grippers[name].arm].model)
                q[self._places[name]] = float(description.width_to_angle(state.width_m))
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        camera = self._camera
        camera.lookat[:] = self._middle
        camera.azimuth, camera.elevation = self.azimuth_deg, self.elevation_deg
        camera.distance = self.distance_m
        self._renderer.update_scene(self._data, camera)
        return self._renderer.render()

    def close(self) -> None:
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.close()


def numbers_of(obs: Observation, rig: Rig) -> dict[str, Any]:
    """Joints, torques and temperatures against their limits, for the page's bars."""
    arms = {}
    for name, state in obs.arms.items():
        spec = rig.joint_spec(name)
        arms[name] = [
            {
                "name": joint,
                "q": _finite(state.q[k]),
                "low": float(spec.q_min[k]),
                "high": float(spec.q_max[k]),
                "tau": _finite(state.tau[k]),
                "tau_max": float(spec.tau_max[k]),
                "temperature": _finite(state.temperature_c[k]),
            }
            for k, joint in enumerate(spec.names)
        ]
    grippers: Mapping[str, Any] = {
        name: {
            "width": state.width_m,
            "widest": load_model(rig.arms[rig.grippers[name].arm].model).gripper_width_max_m,
            "force": _finite(state.force_n),
            "most": rig.grippers[name].force_n,
        }
        for name, state in obs.grippers.items()
    }
    return {"arms": arms, "grippers": grippers}


def _finite(value: float) -> float | None:
    """NaN is not reported, and no JSON."""
    return float(value) if math.isfinite(value) else None
