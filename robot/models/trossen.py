"""Trossen Robotics WidowX AI with its parallel gripper: six joints and two carriages that one motor moves.

Names, zero and sign of every joint are those of the vendor's driver and URDF, checked by forward kinematics in
tests/robot/test_vendor_models.py; more in docs/conventions-vendor-arms.md. Base frame: x forward, y left, z up, the
origin under joint_0. At zero the arm is folded: the upper arm lies backward, the forearm forward above it.
"""

from __future__ import annotations

from pathlib import Path

from ..types import frozen
from . import ArmModel
from .parallel import ParallelJaw

MODEL = ArmModel(
    name="trossen",
    mjcf=Path(__file__).resolve().with_name("trossen.xml"),
    joints=("joint_0", "joint_1", "joint_2", "joint_3", "joint_4", "joint_5"),
    gripper_joint="right_carriage_joint",
    base_site="baseframe",
    tool_site="ee_gripper_link",
    grasp_site="grasp",
    camera_site="wrist_camera",
    # Nearly the vendor's sleep pose, all zero, where the arm lies on its own stops: torque may go off here.
    rest_q_rad=frozen([0.0, 0.05, 0.05, 0.0, 0.0, 0.0]),
    home_q_rad=frozen([0.0, 1.2, 1.1, -1.0, 0.0, 0.0]),
    gripper=ParallelJaw(travel_max_m=0.044),
    servos=(
        "wxai_joint_0",
        "wxai_joint_1",
        "wxai_joint_2",
        "wxai_joint_3",
        "wxai_joint_4",
        "wxai_joint_5",
        "wxai_carriage",
    ),
)
