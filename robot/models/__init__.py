"""Arm descriptions (provisional)."""
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
import mujoco
import numpy as np
from ..errors import RigError, nearest

@dataclass(frozen=True, slots=True)
class ArmModel:
    name: str
    mjcf: Path
    joints: tuple[str, ...]
    gripper_joint: str | None
    base_site: str
    tool_site: str
    grasp_site: str
    camera_site: str
    rest_q_rad: tuple[float, ...]
    home_q_rad: tuple[float, ...]
    gripper_width_max_m: float
    gripper_lever_m: float

    def joint_ranges(self):
        m = mujoco.MjModel.from_xml_path(str(self.mjcf))
        r = np.array([m.joint(j).range for j in self.joints])
        return r[:, 0], r[:, 1]

    def width_to_angle(self, w):
        return -0.12 + 2 * np.arcsin(np.clip(np.asarray(w) / 2 / 0.075, -1, 1))

    def angle_to_width(self, a):
        return 2 * 0.075 * np.sin((np.asarray(a) + 0.12) / 2)

SO101 = ArmModel("so101", Path(__file__).parent / "so101.xml", ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"), "gripper", "baseframe", "gripperframe", "grasp", "wrist_camera", (0.0, -1.6, 1.5, 1.0, 0.0), (0.0, -0.6, 0.9, 1.1, 0.0), 0.09, 0.075)

def model_names():
    return ["so101"]

def load_model(name):
    if name != "so101":
        raise RigError(f"unknown arm description '{name}'{nearest(name, model_names())}")
    return SO101
