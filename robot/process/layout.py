"""The flat vector of a rig's joints, without its devices."""

from __future__ import annotations

import numpy as np

from ..guard.commands import Layout
from ..models import load_model
from ..rig import Rig


def rig_layout(rig: Rig) -> Layout:
    """As the guard lays it out: arms in the rig's order, then grippers; the ranges are the descriptions'."""
    places: dict[str, slice] = {}
    low: list[float] = []
    high: list[float] = []
    for name in rig.arms:
        spec = rig.joint_spec(name)
        places[name] = slice(len(low), len(low) + spec.n)
        low += spec.q_min.tolist()
        high += spec.q_max.tolist()
    grippers: dict[str, int] = {}
    for name, config in rig.grippers.items():
        grippers[name] = len(low)
        low.append(0.0)
        high.append(load_model(rig.arms[config.arm].model).gripper_width_max_m)
    return Layout(places, grippers, len(low), np.array(low), np.array(high))
