"""Koch v1.1 follower: five joints and a one-jaw gripper on two Dynamixel XL430 and four XL330.

Zero and sign of every joint, checked by forward kinematics in tests/robot/test_models.py; more in
docs/conventions-koch.md. Base frame: x forward, y left, z up, origin on the table under the pan axis. At zero the
upper arm stands upright, forearm and gripper point straight forward, the moving jaw is left of the fixed finger
and nearly shut. Signs are those of the SO-101.

    shoulder_pan   + turns the arm clockwise seen from above, to the right
    shoulder_lift  + leans the upper arm forward and down
    elbow_flex     + bends the forearm down
    wrist_flex     + bends the gripper down
    wrist_roll     + turns the gripper counter-clockwise seen from behind it: the moving jaw goes down
    gripper        + opens the jaw
"""

from __future__ import annotations

from pathlib import Path

from ..types import frozen
from . import ArmModel
from .jaw import Jaw

MODEL = ArmModel(
    name="koch",
    mjcf=Path(__file__).resolve().with_name("koch.xml"),
    joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    gripper_joint="gripper",
    base_site="baseframe",
    tool_site="gripperframe",
    grasp_site="grasp",
    camera_site="wrist_camera",
    # At rest the arm is balanced over its lift axis and the hand folded up, where the friction of its servo holds
    # it; with torque off the forearm sinks by 0.1 rad onto the elbow's stop. In both poses the jaw closes sideways,
    # the camera on top.
    rest_q_rad=frozen([0.0, -0.55, 1.33, -1.95, 0.0]),
    home_q_rad=frozen([0.0, -0.25, 0.1, 1.3, 0.0]),
    # The pads of koch.xml: pad_fixed's face is 16 mm to the right of the jaw's axis; pad_moving's face is 1 mm to
    # the right of it and reaches from 37.5 to 55.5 mm when both are parallel, 15 mm apart.
    fixed_pad_m=0.0125,
    gripper=Jaw(
        hinge_height_m=0.016,
        face_offset_m=0.001,
        heel_m=0.0375,
        tip_m=0.0555,
        parallel_rad=0.2535,
        angle_min_rad=-0.032,
        angle_max_rad=1.60,
    ),
    servos=("xl430_w250", "xl430_w250", "xl330_m288_elbow", *("xl330_m288",) * 3),
)
