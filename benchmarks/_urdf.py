"""An arm description's kinematics as URDF, for programs that read nothing else: links, hinges, one frame; no shapes."""

from __future__ import annotations

import mujoco
import numpy as np
from twinloop.robot.models import ArmModel
from twinloop.robot.types import F64, JointSpec

MASS = '<inertial><mass value="0.1"/><inertia ixx="1e-4" iyy="1e-4" izz="1e-4" ixy="0" ixz="0" iyz="0"/></inertial>'


def urdf_of(model: ArmModel, spec: JointSpec, site: str) -> str:
    """The arm of `model` within the limits of `spec`; `site` is a link of its own, joints are as in the description.

    Raises `ValueError` for a joint that does not turn about its body's origin.
    """
    mj = mujoco.MjModel.from_xml_path(str(model.mjcf))
    limits = dict(zip(spec.names, zip(spec.q_min, spec.q_max, spec.dq_max, strict=True), strict=True))
    parts = ['<link name="base"/>']
    for body in range(1, mj.nbody):
        parent = int(mj.body_parentid[body])
        above = "base" if parent == 0 else f"body{parent}"
        joint = int(mj.body_jntadr[body])
        name = mj.joint(joint).name if joint >= 0 else ""
        parts.append(f'<link name="body{body}">{MASS}</link>')
        place = _origin(mj.body_pos[body], mj.body_quat[body])
        if name in limits:
            if np.abs(mj.jnt_pos[joint]).max() > 0.0:
                raise ValueError(f"{name}: turns beside its body's origin")
            low, high, fastest = limits[name]
            kind, turn = "revolute", f'<axis xyz="{_words(mj.jnt_axis[joint])}"/>'
            turn += f'<limit lower="{low:.9g}" upper="{high:.9g}" velocity="{fastest:.9g}" effort="100"/>'
        else:  # the jaw, which moves no site
            kind, turn = "fixed", ""
        parts.append(
            f'<joint name="{name if kind == "revolute" else f"fixed{body}"}" type="{kind}"><parent link="{above}"/>'
            f'<child link="body{body}"/>{place}{turn}</joint>'
        )
    at = mj.site(site)
    parts.append(
        f'<link name="{site}"/><joint name="{site}_joint" type="fixed"><parent link="body{int(at.bodyid[0])}"/>'
        f'<child link="{site}"/>{_origin(at.pos, at.quat)}</joint>'
    )
    return f'<?xml version="1.0"?><robot name="{model.name}">{"".join(parts)}</robot>'


def _origin(pos: F64, quat: F64) -> str:
    flat = np.zeros(9)
    mujoco.mju_quat2Mat(flat, np.asarray(quat, np.float64))
    r = flat.reshape(3, 3)
    pitch = np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0]))
    if np.hypot(r[0, 0], r[1, 0]) > 1e-9:
        roll, yaw = np.arctan2(r[2, 1], r[2, 2]), np.arctan2(r[1, 0], r[0, 0])
    else:  # pitched upright: roll and yaw are about one axis
        roll, yaw = np.arctan2(-r[1, 2], r[1, 1]), 0.0
    return f'<origin xyz="{_words(pos)}" rpy="{_words([roll, pitch, yaw])}"/>'


def _words(values: object) -> str:
    return " ".join(f"{value:.12g}" for value in np.asarray(values, np.float64))
