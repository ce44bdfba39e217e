"""SO-100 follower: five joints and a one-jaw gripper on six Feetech STS3215.

Joints, frames, zero and sign of every joint are those of the SO-101 (so101.py), checked by forward kinematics in
tests/robot/test_servo_models.py; more in docs/conventions-so100.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..types import frozen
from .jaw import Jaw
from .so101 import MODEL as SO101

MODEL = replace(
    SO101,
    name="so100",
    mjcf=Path(__file__).resolve().with_name("so100.xml"),
    rest_q_rad=frozen([0.0, -1.6, 1.35, 0.75, -1.57]),
    home_q_rad=frozen([0.0, -0.6, 0.45, 1.3, -1.57]),
    # The pads of so100.xml: pad_fixed's face is 28.1 mm below the jaw's axis; pad_moving's face is 1.1 mm below it and
    # reaches from 60.5 to 80.5 mm when both are parallel, 27 mm apart. The published range ends at 2.0 rad, but past
    # 1.7 the jaw opens no wider.
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
