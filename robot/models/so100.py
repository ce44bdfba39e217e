"""SO-100 follower: five joints and a one-jaw gripper on six Feetech STS3215.

Zero and sign of every joint are those of the SO-101, checked by forward kinematics in tests/robot/test_models.py;
more in docs/conventions-so100.md. Base frame: x forward, y left, z up. At zero the upper arm stands upright, forearm
and gripper point straight forward, the moving jaw is above the fixed finger.

    shoulder_pan   + turns the arm clockwise seen from above, to the right
    shoulder_lift  + leans the upper arm forward and down
    elbow_flex     + bends the forearm down
    wrist_flex     + bends the gripper down
    wrist_roll     + turns the gripper counter-clockwise seen from behind it: the moving jaw goes to the left
    gripper        + opens the jaw
"""

from __future__ import annotations

from pathlib import Path

from ..types import frozen
from . import ArmModel
from .jaw import Jaw

MODEL = ArmModel(
    name="so100",
    mjcf=Path(__file__).resolve().with_name("so100.xml"),
    joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    gripper_joint="gripper",
    base_site="baseframe",
    tool_site="gripperframe",
    grasp_site="grasp",
    camera_site="wrist_camera",
    # At rest gravity presses the arm into its fold: with torque off the forearm sinks about 3 cm onto the
    # shoulder. In both poses the wrist camera is on top and the jaw closes sideways, as in teleoperated data.
    rest_q_rad=frozen([0.0, -1.6, 1.35, 0.75, -1.57]),
    home_q_rad=frozen([0.0, -0.6, 0.45, 1.3, -1.57]),
    # The pads of so100.xml: pad_fixed's face is 28.1 mm below the jaw's axis; pad_moving's face is 1.1 mm below it and
    # reaches from 60.5 to 80.5 mm when both are parallel, 27 mm apart. The published range ends at 2.0 rad, but past
    # 1.7 the jaw opens no wider.
    fixed_pad_m=0.0125,
    gripper=Jaw(
        hinge_height_m=0.0281,
        face_offset_m=0.0011,
        heel_m=0.0605,
        tip_m=0.0805,
        parallel_rad=0.146,
        angle_min_rad=-0.2,
        angle_max_rad=1.7,
    ),
)
