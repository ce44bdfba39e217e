"""SO-101 follower: five joints and a one-jaw gripper on six Feetech STS3215.

Zero and sign of every joint, checked by forward kinematics in tests/robot/test_models.py; more in
docs/conventions-so101.md. Base frame: x forward, y left, z up. At zero the upper arm stands upright, forearm
and gripper point straight forward, the moving jaw is above the fixed finger and 8.5 degrees from shut. Zero
is the middle of each arm joint's range, but for wrist_roll, whose middle is at 0.049 rad.

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
    name="so101",
    mjcf=Path(__file__).resolve().with_name("so101.xml"),
    joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    gripper_joint="gripper",
    base_site="baseframe",
    tool_site="gripperframe",
    grasp_site="grasp",
    camera_site="wrist_camera",
    # At rest gravity presses the arm into its fold: with torque off the forearm sinks about 3 cm onto the
    # shoulder. In both poses the wrist camera is on top and the jaw closes sideways, as in teleoperated data.
    rest_q_rad=frozen([0.0, -1.6, 1.35, 0.75, -1.52]),
    home_q_rad=frozen([0.0, -0.6, 0.45, 1.3, -1.52]),
    # The pads of so101.xml: pad_fixed's face is 26.1 mm below the jaw's axis; pad_moving's face is 1.1 mm
    # below it and reaches from 60.5 to 80.5 mm when both are parallel, 25 mm apart.
    fixed_pad_m=0.0125,
    gripper=Jaw(
        hinge_height_m=0.0261,
        face_offset_m=0.0011,
        heel_m=0.0605,
        tip_m=0.0805,
        parallel_rad=0.168,
        angle_min_rad=-0.174533,
        angle_max_rad=1.745329,
    ),
)
