"""What can be worked out once from the model: which shapes can meet, and how fast joints close their gap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import mujoco
import numpy as np

from ..types import F64
from .geometry import GROUP, GuardScene

SAMPLES = 300  # random poses; pairs too close in all of them are neighbours by construction


def neighbours(scene: GuardScene, low: F64, high: F64, limit_m: float) -> list[tuple[str, str]]:
    """Body pairs that are never compared: a link and the one that carries it, and links that are closer than
    `limit_m` in every one of many random poses."""
    m, data = scene.model, scene.data
    found = set()
    for a in range(1, m.nbody):
        for b in range(a):
            joined = int(m.body_weldid[a]) == int(m.body_weldid[b])
            if joined or int(m.body_weldid[m.body_parentid[m.body_weldid[a]]]) == int(m.body_weldid[b]):
                found.add((b, a))
    rng = np.random.default_rng(0)
    always: dict[tuple[int, int], int] = {}
    for _ in range(SAMPLES):
        scene.place(rng.uniform(low, high))
        mujoco.mj_collision(m, data)
        geoms, dist = data.contact.geom, data.contact.dist
        touching = set()
        for (one, two), d in zip(geoms.tolist(), dist.tolist(), strict=True):
            if d < limit_m:
                a, b = int(m.geom_bodyid[one]), int(m.geom_bodyid[two])
                touching.add((min(a, b), max(a, b)))
        for pair in touching:
            always[pair] = always.get(pair, 0) + 1
    found |= {pair for pair, count in always.items() if count == SAMPLES}
    return sorted((m.body(a).name, m.body(b).name) for a, b in found if a != 0)


def contact_pairs(scene: GuardScene) -> list[tuple[int, int]]:
    """Geom pairs that MuJoCo will compare, first id below second."""
    m = scene.model
    excluded = {int(signature) for signature in m.exclude_signature}
    pairs = []
    for a, b in combinations(range(m.ngeom), 2):
        one, two = sorted((int(m.geom_bodyid[a]), int(m.geom_bodyid[b])))
        weld_one, weld_two = int(m.body_weldid[one]), int(m.body_weldid[two])
        still = weld_one == 0 and weld_two == 0
        if one != two and weld_one != weld_two and not still and (one << 16) + two not in excluded:
            pairs.append((a, b))
    return pairs


def closing_rates(scene: GuardScene, pairs: Sequence[tuple[int, int]], widths: tuple[F64, F64]) -> F64:
    """`R[pair, joint]`: the most metres by which one unit of joint motion can change the pair's distance.

    Rows: `pairs`, then each moving capsule against the table (a horizontal plane), then against the
    workspace box. A joint on the way to both shapes moves neither against the other. `widths` are the ends of
    the flat range, for jaws.
    """
    arms = [_radii(scene, g) for g in range(scene.model.ngeom)]
    rows = []
    for a, b in pairs:
        shared = set(arms[a]) & set(arms[b])
        row = {j: r for part in (arms[a], arms[b]) for j, r in part.items() if j not in shared}
        rows.append(row)
    vertical = _vertical_joints(scene)
    rows += [{j: r for j, r in arms[g].items() if j not in vertical} for g in scene.moving.tolist()]
    rows += [arms[g] for g in scene.moving.tolist()]
    flat_of = {int(j): flat for flat, j in enumerate(scene.joint_of.tolist()) if j >= 0}
    scale = np.max(
        [np.abs(scene.jaw_scale(widths[0] + (widths[1] - widths[0]) * x)) for x in np.linspace(0, 1, 21)],
        axis=0,
    )
    out = np.zeros((len(rows), scene.size))
    for k, row in enumerate(rows):
        for joint, radius in row.items():
            if joint in flat_of:
                out[k, flat_of[joint]] = radius * scale[flat_of[joint]]
    return out


def _radii(scene: GuardScene, geom: int) -> dict[int, float]:
    """Joint -> the farthest any point of `geom` can be from the joint's axis, in any pose, m.

    The next joint's anchor keeps its distance from the axis (one link carries both); beyond it the links'
    lengths add up at most.
    """
    m, data = scene.model, scene.data
    mujoco.mj_kinematics(m, data)
    if int(m.geom_group[geom]) != GROUP:
        return {}
    chain = []
    body = int(m.geom_bodyid[geom])
    while body:
        first = int(m.body_jntadr[body])
        chain = [first + k for k in range(int(m.body_jntnum[body]))] + chain
        body = int(m.body_parentid[body])
    along = data.geom_xmat[geom, 2::3] * (m.geom_size[geom, 1] if m.geom_type[geom] == _CAPSULE else 0.0)
    ends = [data.geom_xpos[geom] + along, data.geom_xpos[geom] - along]
    radius = float(m.geom_size[geom, 0])
    out: dict[int, float] = {}
    beyond = 0.0  # from the next joint's anchor to the far end of the shape
    for k in range(len(chain) - 1, -1, -1):
        joint = chain[k]
        anchor, axis = data.xanchor[joint], data.xaxis[joint]
        points = ends if k == len(chain) - 1 else [data.xanchor[chain[k + 1]]]
        spread = radius if k == len(chain) - 1 else beyond
        if m.jnt_type[joint] == _SLIDE:
            out[joint] = 1.0
            travel = float(np.abs(m.jnt_range[joint]).max())
        else:
            out[joint] = max(float(np.linalg.norm(np.cross(axis, p - anchor))) for p in points) + spread
            travel = 0.0
        beyond = max(float(np.linalg.norm(p - anchor)) for p in points) + spread + travel
    return out


def _vertical_joints(scene: GuardScene) -> set[int]:
    """Hinges whose axis is vertical in every pose: they change no height."""
    m, data = scene.model, scene.data
    found = set()
    for joint in range(m.njnt):
        body = int(m.jnt_bodyid[joint])
        above = int(m.body_parentid[body])
        first = int(m.body_weldid[above]) == 0 and int(m.body_jntadr[body]) == joint
        if first and m.jnt_type[joint] == _HINGE and abs(data.xaxis[joint][2]) > 1 - 1e-9:
            found.add(joint)
    return found


_CAPSULE = int(mujoco.mjtGeom.mjGEOM_CAPSULE)
_SLIDE = int(mujoco.mjtJoint.mjJNT_SLIDE)
_HINGE = int(mujoco.mjtJoint.mjJNT_HINGE)
