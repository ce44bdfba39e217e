"""Franka Research 3 with the Franka Hand: seven joints and two fingers that one motor moves.

Joint names are those of the vendor's URDF without its prefix. Zero and sign of every joint are those of the
Franka documentation, checked by forward kinematics in tests/robot/test_vendor_models.py; more in
docs/conventions-vendor-arms.md. Base frame: x forward, y left, z up, the origin under joint 1. At zero the arm
stands upright, the hand points down beside it.
"""

from __future__ import annotations

from pathlib import Path

from ..types import frozen
from . import ArmModel
from .parallel import ParallelJaw

MODEL = ArmModel(
    name="franka",
    mjcf=Path(__file__).resolve().with_name("franka.xml"),
    joints=("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "joint7"),
    gripper_joint="finger_joint1",
    base_site="baseframe",
    tool_site="handframe",
    grasp_site="grasp",
    camera_site="wrist_camera",
    # The vendor's ready pose, hand straight down; when a program ends, brakes hold the arm where it is.
    rest_q_rad=frozen([0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854]),
    home_q_rad=frozen([0.0, 0.0, 0.0, -2.3562, 0.0, 2.3562, 0.7854]),
    gripper=ParallelJaw(travel_max_m=0.04),
    servos=(
        *["franka_shoulder"] * 3,
        "franka_elbow",
        "franka_forearm",
        *["franka_wrist"] * 2,
        "franka_hand",
    ),
)
