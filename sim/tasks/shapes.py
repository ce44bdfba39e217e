"""Bodies that tasks put on the table: cubes with a free joint, boxes to put them in, flat marks."""

from __future__ import annotations

import mujoco
import numpy as np

from ...robot.types import F64

CUBE_FRICTION = (1.1, 0.01, 0.0005)  # sliding, torsional (m), rolling (m): foam or printed cube on rubber


def add_cube(spec: mujoco.MjSpec, name: str, half_m: float, rgba: tuple[float, ...], mass_kg: float) -> None:
    """A cube that can move; body, geom and joint are called `name`."""
    body = spec.worldbody.add_body(name=name, pos=[0.25, 0.0, half_m])
    body.add_freejoint(name=name)
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[half_m] * 3,
        rgba=list(rgba),
        mass=mass_kg,
        condim=4,
        friction=list(CUBE_FRICTION),
        solref=[0.008, 1.0],
    )


def add_box(spec: mujoco.MjSpec, name: str, inner_m: tuple[float, float], wall_m: float) -> None:
    """An open box that stands on the table; a mocap body, so that it can be placed but not pushed."""
    body = spec.worldbody.add_body(name=name, mocap=True, pos=[0.2, -0.2, 0.0])
    thick, (x, y) = 0.003, (inner_m[0] / 2, inner_m[1] / 2)
    parts = {
        "floor": ([x, y, thick / 2], [0, 0, thick / 2]),
        "px": ([thick / 2, y + thick, wall_m / 2], [x + thick / 2, 0, wall_m / 2]),
        "nx": ([thick / 2, y + thick, wall_m / 2], [-x - thick / 2, 0, wall_m / 2]),
        "py": ([x, thick / 2, wall_m / 2], [0, y + thick / 2, wall_m / 2]),
        "ny": ([x, thick / 2, wall_m / 2], [0, -y - thick / 2, wall_m / 2]),
    }
    for part, (size, pos) in parts.items():
        body.add_geom(
            name=f"{name}_{part}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=size,
            pos=pos,
            rgba=[0.25, 0.35, 0.75, 1],
            condim=3,
        )


def add_mark(spec: mujoco.MjSpec, name: str, radius_m: float, rgba: tuple[float, ...], flat: bool) -> None:
    """A mark that touches nothing: a disc on the table (`flat`) or a ball in the air; a mocap body."""
    body = spec.worldbody.add_body(name=name, mocap=True, pos=[0.25, 0.0, 0.001])
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_CYLINDER if flat else mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[radius_m, 0.0008, 0],
        rgba=list(rgba),
        contype=0,
        conaffinity=0,
    )


def yaw_quat(yaw_rad: float) -> F64:
    """Quaternion wxyz of a turn about z."""
    return np.array([np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2)])


def place_body(
    model: mujoco.MjModel, data: mujoco.MjData, name: str, xyz_m: F64, yaw_rad: float = 0.0
) -> None:
    """Set the pose of a free or mocap body in W."""
    body = model.body(name)
    mocap = int(model.body_mocapid[body.id])
    if mocap >= 0:
        data.mocap_pos[mocap] = xyz_m
        data.mocap_quat[mocap] = yaw_quat(yaw_rad)
        return
    address = int(model.jnt_qposadr[body.jntadr[0]])
    data.qpos[address : address + 3] = xyz_m
    data.qpos[address + 3 : address + 7] = yaw_quat(yaw_rad)


def yaw_of(quat_wxyz: F64) -> F64:
    """Turn about z of quaternions (..., 4), rad in (-pi, pi]."""
    w, x, y, z = np.moveaxis(np.asarray(quat_wxyz), -1, 0)
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
