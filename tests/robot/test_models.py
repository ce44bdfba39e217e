"""The SO-101 description: against the published numbers, against itself, and in contact."""

from __future__ import annotations

import itertools
import json
from importlib import metadata
from pathlib import Path

import mujoco
import numpy as np
import pytest
from shapes import surface
from twinloop.robot import models
from twinloop.robot.errors import RigError
from twinloop.robot.kinematics import Kinematics
from twinloop.robot.models import ArmModel, load_model, model_names

FACTS = json.loads(Path(__file__).with_name("so101_fk_check.json").read_text())
SO101 = load_model("so101")
VISUAL, COLLISION, GUARD = 2, 3, 4
REST_CLEARANCE_M = 0.010


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(SO101.mjcf))


@pytest.fixture()
def data(model) -> mujoco.MjData:
    out = mujoco.MjData(model)
    mujoco.mj_forward(model, out)
    return out


def place(model, data, q, width_m=0.0):
    data.qpos[:5] = q
    data.qpos[5] = SO101.width_to_angle(width_m)
    mujoco.mj_forward(model, data)


def geoms(model, group):
    return [g for g in range(model.ngeom) if int(model.geom_group[g]) == group]


# --- published numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("check", FACTS["fk_check"])
def test_forward_kinematics_is_the_published_one(model, data, check):
    data.qpos[:] = check["q_rad"]
    mujoco.mj_forward(model, data)
    site = data.site("gripperframe")
    assert np.linalg.norm(site.xpos - check["gripperframe_pos_m"]) < 1e-4
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, site.xmat)
    want = np.array(check["gripperframe_quat_wxyz"])
    missed = 2 * np.linalg.norm(quat - want * np.sign(quat @ want))  # rad, small angles
    assert np.degrees(missed) < 0.01
    position, wxyz = Kinematics(SO101, gripper_rad=check["q_rad"][5]).fk(check["q_rad"][:5])
    assert np.linalg.norm(position - site.xpos) < 1e-12 and abs(abs(wxyz @ quat) - 1.0) < 1e-12


def test_masses_and_inertias_are_the_published_ones(model):
    for body in FACTS["bodies"]:
        mine = model.body(body["name"])
        assert mine.mass[0] == pytest.approx(body["mass_kg"], abs=1e-12)
        assert mine.ipos == pytest.approx(body["com_m"], abs=1e-12)
        # MuJoCo sorts the principal axes, so compare the full tensors.
        want, have = np.zeros(9), np.zeros(9)
        mujoco.mju_quat2Mat(want, np.array(body["inertia_quat_wxyz"]))
        mujoco.mju_quat2Mat(have, mine.iquat)
        want, have = want.reshape(3, 3), have.reshape(3, 3)
        tensor = want @ np.diag(body["inertia_principal_kg_m2"]) @ want.T
        assert np.allclose(have @ np.diag(mine.inertia) @ have.T, tensor, atol=2e-10)
    assert float(model.body_mass.sum()) == pytest.approx(sum(b["mass_kg"] for b in FACTS["bodies"]))


def test_joints_are_the_published_ones(model):
    assert [model.joint(j).name for j in range(model.njnt)] == FACTS["joint_order"]
    assert (*SO101.joints, SO101.gripper_joint) == tuple(FACTS["joint_order"])
    for joint in FACTS["joints"]:
        assert model.joint(joint["name"]).range == pytest.approx(joint["range_rad"], abs=1e-9)
        assert model.joint(joint["name"]).axis == pytest.approx(joint["axis"], abs=1e-9)
    lo, hi = SO101.joint_ranges()
    assert lo.shape == hi.shape == (5,) and not lo.flags.writeable
    assert SO101.gripper_range() == pytest.approx((-0.174533, 1.745329))


# --- conventions (docs/conventions-so101.md) ------------------------------------------------------------

ZERO = np.zeros(5)


def moved(joint: int, site: str, angle: float = 0.3):
    """Displacement of `site` when `joint` turns by `angle` from zero."""
    kinematics = Kinematics(SO101)
    q = ZERO.copy()
    q[joint] = angle
    return kinematics.fk(q, site)[0] - kinematics.fk(ZERO, site)[0]


def test_zero_pose(model, data):
    at = {name: data.body(name).xpos for name in ("upper_arm", "lower_arm", "wrist", "gripper")}
    up = at["lower_arm"] - at["upper_arm"]
    assert up[2] > 0.11 and abs(up[1]) < 1e-3  # upper arm upright; the elbow is 28 mm in front of it
    forearm, hand = at["wrist"] - at["lower_arm"], data.site("grasp").xpos - at["gripper"]
    for part in (forearm, hand):
        assert part[0] / np.linalg.norm(part) > 0.99  # straight forward
    assert data.geom("pad_moving").xpos[2] > data.geom("pad_fixed").xpos[2] + 0.01  # jaw above


def test_positive_directions(model, data):
    assert moved(0, "grasp")[1] < -0.05  # shoulder_pan: to the right
    assert moved(1, "grasp")[2] < -0.05 and moved(1, "wrist_camera")[2] < -0.05  # shoulder_lift: down
    assert moved(2, "grasp")[2] < -0.05  # elbow_flex: down
    assert moved(3, "grasp")[2] < -0.03  # wrist_flex: down
    start = data.geom("pad_moving").xpos - data.geom("pad_fixed").xpos
    place(model, data, [0, 0, 0, 0, 0.5])
    turned = data.geom("pad_moving").xpos - data.geom("pad_fixed").xpos
    assert turned[1] > start[1] + 0.005  # wrist_roll: the moving jaw goes left, counter-clockwise from behind
    data.qpos[:] = [0, 0, 0, 0, 0, 0.5]
    mujoco.mj_forward(model, data)
    opened = data.geom("pad_moving").xpos - data.geom("pad_fixed").xpos
    assert opened[2] > start[2] + 0.02  # gripper: opens


def test_level_gripper_is_the_middle_of_the_roll_range(model, data):
    lo, hi = SO101.joint_ranges()
    place(model, data, [0, 0, 0, 0, 0.5 * (lo[4] + hi[4])])
    closing = data.site("grasp").xmat.reshape(3, 3)[:, 1]
    assert closing == pytest.approx([0, 0, -1], abs=1e-3)


# --- shapes ---------------------------------------------------------------------------------------------


def test_guard_capsules_are_not_fatter_than_needed_at_the_finger_tips(model, data):
    """A finger may reach to the table beside a cube: capsules end at most 3 mm beyond the printed tip."""
    place(model, data, ZERO, 0.025)
    for body in ("gripper", "moving_jaw_so101_v1"):
        mine = [g for g in range(model.ngeom) if model.body(model.geom_bodyid[g]).name == body]
        tip = max(
            surface(model, data, g)[:, 0].max() for g in mine if model.geom_group[g] in (VISUAL, COLLISION)
        )
        reach = [
            data.geom_xpos[g][0]
            + abs(data.geom_xmat[g].reshape(3, 3)[0, 2]) * model.geom_size[g, 1]
            + model.geom_size[g, 0]
            for g in mine
            if int(model.geom_group[g]) == GUARD
        ]
        assert tip - 1e-3 < max(reach) < tip + 3e-3


def test_links_left_out_of_the_checks_can_never_meet(model, data):
    """Wrist and moving jaw are excluded though they are no neighbours: only roll and jaw move them."""
    wrist, jaw = (
        [g for g in geoms(model, GUARD) if model.body(model.geom_bodyid[g]).name == body]
        for body in ("wrist", "moving_jaw_so101_v1")
    )
    (roll, grip), least = model.jnt_range[4:], 1.0
    for data.qpos[4] in np.linspace(*roll, 30):
        for data.qpos[5] in np.linspace(*grip, 12):
            mujoco.mj_kinematics(model, data)
            gaps = [mujoco.mj_geomDistance(model, data, a, b, 0.1, None) for a in wrist for b in jaw]
            least = min(least, *gaps)
    assert least > 0.006


# --- poses ----------------------------------------------------------------------------------------------


def clearances(model, data):
    """Least distance between guard capsules of bodies that are no neighbours, and of moving ones to z = 0."""
    capsules = geoms(model, GUARD)
    pairs = []
    for a, b in itertools.combinations(capsules, 2):
        one, two = int(model.geom_bodyid[a]), int(model.geom_bodyid[b])
        if one != two and int(model.body_parentid[two]) != one:
            pairs.append(mujoco.mj_geomDistance(model, data, a, b, 0.1, None))
    height = [
        data.geom_xpos[g][2]
        - abs(data.geom_xmat[g].reshape(3, 3)[2, 2]) * model.geom_size[g, 1]
        - model.geom_size[g, 0]
        for g in capsules
        if int(model.body_weldid[model.geom_bodyid[g]]) != 0
    ]
    return min(pairs), min(height)


@pytest.mark.parametrize("pose", ["rest", "home"])
@pytest.mark.parametrize("width", [0.0, 0.025, SO101.gripper_width_max_m])
def test_rest_and_home_are_clear(model, data, pose, width):
    q = SO101.rest_q_rad if pose == "rest" else SO101.home_q_rad
    lo, hi = SO101.joint_ranges()
    assert (q > lo + 0.02).all() and (q < hi - 0.02).all()
    place(model, data, q, width)
    apart, height = clearances(model, data)
    assert apart > REST_CLEARANCE_M and height > REST_CLEARANCE_M
    assert data.ncon == 0


def test_home_points_down_and_forward(model, data):
    place(model, data, SO101.home_q_rad, 0.05)
    approach = data.site("grasp").xmat.reshape(3, 3)[:, 0]
    assert approach[2] < -0.8 and approach[0] > 0.2
    assert 0.05 < data.site("grasp").xpos[2] < 0.2


def test_torque_off_at_rest_never_reaches_the_table():
    """With the friction of the gears alone the forearm sinks onto the shoulder and stays there."""
    spec = mujoco.MjSpec.from_file(str(SO101.mjcf))
    for joint in spec.joints:  # STS3215 at 7.4 V, Rhoban/bam m1: armature, Coulomb and viscous friction
        joint.armature, joint.frictionloss, joint.damping = 0.0284, 0.0524, [0.0591, 0, 0]
    free = spec.compile()
    data = mujoco.MjData(free)
    data.qpos[:5] = SO101.rest_q_rad
    for _ in range(1500):
        mujoco.mj_step(free, data)
    assert clearances(free, data)[1] > 0.005
    assert np.abs(data.qpos[:5] - SO101.rest_q_rad).max() < 0.4
    assert np.abs(data.qvel).max() < 0.05


# --- gripper --------------------------------------------------------------------------------------------


def test_gripper_map_is_its_own_inverse():
    lo, hi = SO101.gripper_range()
    angles = np.linspace(lo, hi, 2001)
    widths = SO101.angle_to_width(angles)
    assert (np.diff(widths) > 0).all()
    assert SO101.width_to_angle(widths) == pytest.approx(angles, abs=1e-9)
    wide = np.linspace(0.0, SO101.gripper_width_max_m, 2001).reshape(3, 667)
    assert SO101.angle_to_width(SO101.width_to_angle(wide)) == pytest.approx(wide, abs=1e-12)
    assert lo < SO101.width_to_angle(0.0) < lo + 0.05  # shut just before the joint's end
    assert SO101.width_to_angle(SO101.gripper_width_max_m) == pytest.approx(hi, abs=1e-9)
    assert 0.08 < SO101.gripper_width_max_m < 0.09
    assert float(SO101.width_to_angle(1.0)) == pytest.approx(hi)  # beyond the end: the end


@pytest.mark.parametrize("width", [0.0005, 0.005, 0.01, 0.02, 0.025, 0.03, 0.04])
def test_pads_are_as_far_apart_as_the_map_says(model, data, width):
    place(model, data, ZERO, width)
    pads = model.geom("pad_fixed").id, model.geom("pad_moving").id
    assert mujoco.mj_geomDistance(model, data, *pads, 0.2, None) == pytest.approx(width, abs=2e-5)


@pytest.mark.parametrize("width", [0.05, 0.07, 0.0865])
def test_wide_open_the_width_is_measured_from_the_plane_of_the_fixed_pad(model, data, width):
    place(model, data, ZERO, width)
    fixed, moving = data.geom("pad_fixed"), data.geom("pad_moving")
    normal = -data.site("grasp").xmat.reshape(3, 3)[:, 1]
    face = fixed.xpos @ normal + model.geom("pad_fixed").size[2]
    corners = np.array(list(itertools.product((-1, 1), repeat=3))) * model.geom("pad_moving").size
    heights = (moving.xpos + corners @ moving.xmat.reshape(3, 3).T) @ normal - face
    assert heights.min() == pytest.approx(width, abs=2e-5)


def test_pads_are_parallel_around_the_grasp_site_at_25_mm(model, data):
    place(model, data, ZERO, 0.025)
    fixed, moving, grasp = data.geom("pad_fixed"), data.geom("pad_moving"), data.site("grasp")
    one, two = fixed.xmat.reshape(3, 3)[:, 2], moving.xmat.reshape(3, 3)[:, 2]
    assert abs(one @ two) == pytest.approx(1.0, abs=1e-6)
    x, y, z = grasp.xmat.reshape(3, 3).T
    assert z == pytest.approx(np.cross(x, y))
    assert -y @ one == pytest.approx(1.0, abs=1e-6)  # closing: from the moving pad to the fixed one
    assert x @ (grasp.xpos - data.body("gripper").xpos) > 0.08  # approach: away from the wrist
    face = model.geom("pad_fixed").size[2]
    assert (fixed.xpos - grasp.xpos) @ y - face == pytest.approx(0.0125, abs=1e-5)
    assert (grasp.xpos - moving.xpos) @ y - face == pytest.approx(0.0125, abs=1e-5)
    assert (grasp.xpos - moving.xpos) @ x == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("width", [0.020, 0.025, 0.032, 0.040])
def test_the_gripper_lifts_a_cube(width):
    """In contact: the jaw closes on a cube lying on a table, the arm lifts it 50 mm, it does not slip."""
    spec = mujoco.MjSpec.from_file(str(SO101.mjcf))
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    for joint in spec.joints:
        joint.armature, joint.damping = 0.0284, [0.6, 0, 0]
        force = 1.0 if joint.name == "gripper" else 20.0
        spec.add_actuator(
            name=joint.name,
            target=joint.name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            gaintype=mujoco.mjtGain.mjGAIN_FIXED,
            biastype=mujoco.mjtBias.mjBIAS_AFFINE,
            gainprm=[60.0] + [0] * 9,
            biasprm=[0, -60.0, 0] + [0] * 7,
            forcerange=[-force, force],
        )
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1])
    half = width / 2
    cube = spec.worldbody.add_body(name="cube", pos=[0.23, 0, half])
    cube.add_freejoint()
    cube.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[half] * 3, density=700.0, friction=[0.8, 0.005, 1e-4])
    world = spec.compile()
    data = mujoco.MjData(world)
    kinematics = Kinematics(SO101)
    tilt = 0.25
    axes = {"x_axis": [np.sin(tilt), 0, -np.cos(tilt)], "y_axis": [0, 1, 0]}

    def reach(z):
        # The fixed pad touches first: stand off by half the cube less the site's own 12.5 mm.
        return kinematics.solve(SO101.home_q_rad, [0.23, half - 0.0125, z], **axes).q

    data.qpos[:5], data.qpos[5] = reach(half + 0.004), SO101.width_to_angle(width + 0.02)

    def hold(q, jaw, seconds):
        for _ in range(round(seconds / world.opt.timestep)):
            data.ctrl[:5], data.ctrl[5] = q, jaw
            mujoco.mj_step(world, data)

    shut = float(SO101.width_to_angle(max(0.0, width - 0.012)))
    hold(reach(half + 0.004), float(data.qpos[5]), 0.1)
    hold(reach(half + 0.004), shut, 0.5)
    gripped = data.site("grasp").xpos - data.body("cube").xpos
    for step in range(25):
        hold(reach(half + 0.004 + 0.002 * step), shut, 0.04)
    hold(reach(half + 0.054), shut, 1.0)
    assert data.body("cube").xpos[2] > half + 0.04
    slip = np.linalg.norm((data.site("grasp").xpos - data.body("cube").xpos) - gripped)
    assert slip < 0.003


def test_wrist_camera_sees_the_finger_tips(model, data):
    place(model, data, SO101.home_q_rad, 0.04)
    site = data.site("wrist_camera")
    axes = site.xmat.reshape(3, 3)

    def pixel(point):
        """Tangents right and up of the optical axis."""
        x, y, z = axes.T @ (point - site.xpos)
        assert z < 0
        return x / -z, y / -z

    half = np.tan(np.radians(35.0))  # half of 70 degrees, the rig's wrist camera
    fixed, moving = pixel(data.geom("pad_fixed").xpos), pixel(data.geom("pad_moving").xpos)
    for right, up in (fixed, moving):
        assert abs(right) < half * 4 / 3 and -half < up < 0.1
    assert fixed[0] < -0.02 and moving[0] > 0.02  # fixed finger left, moving jaw right
    ahead = pixel(data.site("grasp").xpos + 0.1 * data.site("grasp").xmat.reshape(3, 3)[:, 0])
    assert abs(ahead[0]) < 0.1 and max(fixed[1], moving[1]) < ahead[1] < half


# --- loading --------------------------------------------------------------------------------------------


def test_unknown_model_names_the_valid_ones():
    assert "so101" in model_names()
    with pytest.raises(RigError, match=r"'so10'.*did you mean 'so101'.*so101"):
        load_model("so10")
    assert load_model("so101") is SO101


@pytest.fixture()
def plugin(monkeypatch):
    def install(value: str):
        point = metadata.EntryPoint("my_arm", value, models.ENTRY_POINTS)
        monkeypatch.setattr(models.metadata, "entry_points", lambda group: [point])
        load_model.cache_clear()

    yield install
    load_model.cache_clear()


def test_models_of_other_packages_are_found(plugin):
    plugin("twinloop.robot.models.so101:MODEL")
    assert "my_arm" in model_names() and isinstance(load_model("my_arm"), ArmModel)


def test_broken_plugins_are_named(plugin):
    plugin("no_such_package:MODEL")
    with pytest.raises(RigError, match="'my_arm'.*cannot be loaded.*no_such_package"):
        load_model("my_arm")
    plugin("json:loads")
    with pytest.raises(RigError, match="'my_arm'.*an ArmModel is needed"):
        load_model("my_arm")
