"""What holds of every arm description that ships: its geoms by group, its guard capsules, its gripper's map."""

from __future__ import annotations

import functools

import mujoco
import numpy as np
import pytest
from shapes import outside, surface
from twinloop.robot.models import load_model
from twinloop.sim.drives import follow_equalities

CONTAINED_M = {  # how far a shape may stick out of its guard capsules
    "so101": 0.003, "franka": 0.0031, "trossen": 0.0031, "ur5e": 0.0031, "xarm7": 0.0031, "koch": 0.0032,
    "so100": 0.0032, "viperx": 0.0032,
}  # fmt: skip
WITH_GRIPPER = [name for name in CONTAINED_M if load_model(name).gripper_joint is not None]
VISUAL, COLLISION, GUARD = 2, 3, 4
GEOM = mujoco.mjtGeom


@functools.cache
def model_of(name: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(load_model(name).mjcf))


def of_body(model, body, *groups):
    return [g for g in range(model.ngeom) if model.geom_bodyid[g] == body and model.geom_group[g] in groups]


@pytest.mark.parametrize("name", CONTAINED_M)
def test_guard_capsules_contain_what_is_seen_and_what_touches(name):
    """Those of a hand also contain what its motor moves beside them, all along its way: the guard does not move it."""
    model, description = model_of(name), load_model(name)
    data = mujoco.MjData(model)
    for angle in np.linspace(*description.gripper_range(), 7) if name in WITH_GRIPPER else [0.0]:
        if description.gripper_joint is not None:
            data.joint(description.gripper_joint).qpos[0] = angle
            follow_equalities(model, data.qpos)
        mujoco.mj_forward(model, data)
        for body in range(1, model.nbody):
            holder = body
            while holder and not of_body(model, holder, GUARD):
                holder = int(model.body_parentid[holder])
            capsules = of_body(model, holder, GUARD)
            assert capsules, model.body(body).name
            for g in of_body(model, body, VISUAL, COLLISION):
                points = surface(model, data, g)
                out = np.min([outside(model, data, points, c) for c in capsules], axis=0).max()
                assert out < CONTAINED_M[name], (model.body(body).name, model.geom(g).name or g, angle, out)


@pytest.mark.parametrize("name", CONTAINED_M)
def test_groups_and_nothing_that_belongs_to_the_twin(name):
    model = model_of(name)
    assert model.nu == 0 and model.nkey == 0 and model.nlight == 0 and model.nmesh == 0
    assert not model.dof_damping.any() and not model.dof_armature.any() and not model.dof_frictionloss.any()
    assert set(np.unique(model.geom_group)) == {VISUAL, COLLISION, GUARD}
    capsules = []
    for g in range(model.ngeom):
        group, geom = int(model.geom_group[g]), model.geom(g).name
        touches = bool(model.geom_contype[g]) and bool(model.geom_conaffinity[g])
        assert touches == (group == COLLISION)
        if group == GUARD:
            assert int(model.geom_type[g]) == int(GEOM.mjGEOM_CAPSULE)
            assert geom.startswith(f"guard_{model.body(model.geom_bodyid[g]).name}_")
            capsules.append(geom)
        elif group == COLLISION:
            assert geom.startswith(("col_", "pad_"))
        if geom.startswith("pad_"):
            assert int(model.geom_type[g]) == int(GEOM.mjGEOM_BOX) and int(model.geom_condim[g]) >= 4
    assert len(set(capsules)) == len(capsules)


@pytest.mark.parametrize("name", WITH_GRIPPER)
def test_gripper_map_is_its_own_inverse(name):
    description = load_model(name)
    lo, hi = description.gripper_range()
    angles = np.linspace(lo, hi, 2001)
    widths = description.angle_to_width(angles)
    assert (np.diff(widths) > 0).all()
    assert description.width_to_angle(widths) == pytest.approx(angles, abs=1e-9)
    wide = np.linspace(0.0, description.gripper_width_max_m, 2001).reshape(3, 667)
    assert description.angle_to_width(description.width_to_angle(wide)) == pytest.approx(wide, abs=1e-9)
    assert lo <= description.width_to_angle(0.0) < lo + 0.06
    assert float(description.width_to_angle(1.0)) == pytest.approx(hi)  # beyond the end: the end
