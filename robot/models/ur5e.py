"""Universal Robots UR5e without a gripper: six joints, named as in the vendor's ROS description.

Zero and sign of every joint are those of the teach pendant, checked by forward kinematics in
tests/robot/test_vendor_models.py; more in docs/conventions-vendor-arms.md. Base frame: ROS' `base_link`, x forward,
y left, z up; the pendant's frame "Base" is turned by 180 degrees about z. At zero the arm lies stretched along +x.
"""

from __future__ import annotations

from pathlib import Path

from ..types import frozen
from . import ArmModel

MODEL = ArmModel(
    name="ur5e",
    mjcf=Path(__file__).resolve().with_name("ur5e.xml"),
    joints=(
        "shoulder_pan_joint",
        "shoulder_lift_joint",
        "elbow_joint",
        "wrist_1_joint",
        "wrist_2_joint",
        "wrist_3_joint",
    ),
    gripper_joint=None,
    base_site="baseframe",
    tool_site="flange",
    grasp_site="grasp",
    camera_site=None,
    # Flange straight down in both; when a program ends, brakes hold the arm where it is.
    rest_q_rad=frozen([0.0, -2.2, 2.3, -1.6708, -1.5708, 0.0]),
    home_q_rad=frozen([0.0, -1.4, 2.1, -2.2708, -1.5708, 0.0]),
    servos=(*["ur5e_size3"] * 3, *["ur5e_size1"] * 3),
)
