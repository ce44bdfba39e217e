"""ViperX-300 with six degrees of freedom (Interbotix vx300s): six joints and a crank gripper on nine Dynamixel.

Zero and sign of every joint are those of Interbotix' own description, checked by forward kinematics in
tests/robot/test_models.py; more in docs/conventions-viperx.md. Base frame: x forward, y left, z up, origin on the
table under the waist's axis. At zero the upper arm stands upright, forearm and gripper point straight forward, the
fingers close sideways. Shoulder and elbow have two servos each, of which the second follows the first.

    waist         + turns the arm counter-clockwise seen from above, to the left
    shoulder      + leans the upper arm forward and down
    elbow         + bends the forearm down
    forearm_roll  + turns the forearm clockwise seen from behind it
    wrist_angle   + bends the gripper down
    wrist_rotate  + turns the gripper clockwise seen from behind it
    gripper       + opens the fingers; the angle of its motor
"""

from __future__ import annotations

from pathlib import Path

from ..types import frozen
from . import ArmModel
from .crank import Crank

MODEL = ArmModel(
    name="viperx",
    mjcf=Path(__file__).resolve().with_name("viperx.xml"),
    joints=("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"),
    gripper_joint="gripper",
    base_site="baseframe",
    tool_site="gripperframe",
    grasp_site="grasp",
    camera_site="wrist_camera",
    rest_q_rad=frozen([0.0, -1.80, 1.48, 0.0, 0.4, 0.0]),
    home_q_rad=frozen([0.0, -0.2, 0.6, 0.0, 0.85, 0.0]),
    # Radius and rods: interbotix_xsarm_control/config/vx300s.yaml. The ends of the motor's range are those that
    # ALOHA measured on its follower arms (tonyzhaozh/aloha constants.py, PUPPET_GRIPPER_JOINT_*): shut and open.
    gripper=Crank(
        radius_m=0.022,
        rod_m=0.036,
        closed_m=0.01844,
        angle_min_rad=-0.6213,
        angle_max_rad=1.4910,
    ),
    servos=(
        "xm540_w270",
        "xm540_w270_pair",
        "xm540_w270_pair",
        "xm540_w270",
        "xm430_w350",
        "xm430_w350",
        "xm430_w350",
    ),
)
