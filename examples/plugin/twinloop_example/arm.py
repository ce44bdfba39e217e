"""An arm: a three-joint planar arm without a gripper, its MJCF beside this file."""

from __future__ import annotations

from pathlib import Path

from twinloop.robot.models import ArmModel
from twinloop.robot.types import frozen

PLANAR3 = ArmModel(
    name="planar3",
    mjcf=Path(__file__).with_name("planar3.xml"),
    joints=("base", "elbow", "wrist"),
    gripper_joint=None,
    base_site="base",
    tool_site="tool",
    grasp_site="tool",
    camera_site=None,
    rest_q_rad=frozen([0.0, 0.6, 0.6]),
    home_q_rad=frozen([0.0, 0.4, 0.4]),
)
