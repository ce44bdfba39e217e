"""UFACTORY xArm 7 with the xArm Gripper: seven joints and two fingers that one motor moves.

Zero and sign of every joint are those of the vendor's software, checked by forward kinematics in
tests/robot/test_vendor_models.py; more in docs/conventions-vendor-arms.md. Base frame: x forward, y left, z up, the
origin under joint 1. At zero the upper arm stands upright, the forearm hangs in front of it, the gripper points
down.
"""

from __future__ import annotations

from pathlib import Path

from ..types import frozen
from . import ArmModel
from .parallel import ParallelJaw

MODEL = ArmModel(
    name="xarm7",
    mjcf=Path(__file__).resolve().with_name("xarm7.xml"),
    joints=("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "joint7"),
    gripper_joint="left_finger_joint",
    base_site="baseframe",
    tool_site="link_tcp",
    grasp_site="grasp",
    camera_site="wrist_camera",
    # Gripper straight down in both; when the controller stops, brakes hold the arm where it is.
    rest_q_rad=frozen([0.0, -0.9, 0.0, 0.7, 0.0, 1.6, 0.0]),
    home_q_rad=frozen([0.0, -0.247, 0.0, 0.909, 0.0, 1.156, 0.0]),
    gripper=ParallelJaw(travel_max_m=0.042),
    servos=(*["xarm7_large"] * 2, *["xarm7_medium"] * 3, *["xarm7_small"] * 2, "xarm_gripper"),
)
