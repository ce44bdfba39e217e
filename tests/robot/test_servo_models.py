"""Descriptions of the other arms on servos, Koch v1.1, SO-100 and ViperX-300: against the published numbers, against
themselves, and as twins. What is common to all shipped descriptions is in test_shapes.py."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

import mujoco
import numpy as np
import pytest
from twinloop.robot.kinematics import Kinematics
from twinloop.robot.models import load_model
from twinloop.robot.models.crank import Crank
from twinloop.robot.rig import load_rig
from twinloop.sim.drives import follow_equalities
from twinloop.sim.randomize import standard
from twinloop.sim.scene import build_scene
from twinloop.sim.servo import SERVOS
from twinloop.sim.twin import Twin, TwinRobot

FACTS = json.loads(Path(__file__).with_name("servo_arms_fk_check.json").read_text())["arms"]
ARMS = ("koch", "so100", "viperx")
ALL = ("so101", *ARMS)
COLLISION, GUARD = 3, 4
POSES = [(name, pose) for name in ARMS for pose in ("rest", "home")]


@functools.cache
def model_of(name: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(load_model(name).mjcf))


def placed(name: str, q, width_m: float = 0.0) -> mujoco.MjData:
    model, description = model_of(name), load_model(name)
    data = mujoco.MjData(model)
    for joint, angle in zip(description.joints, q, strict=True):
        data.joint(joint).qpos[0] = angle
    data.joint(description.gripper_joint).qpos[0] = description.width_to_angle(width_m)
    follow_equalities(model, data.qpos)
    mujoco.mj_forward(model, data)
    return data


def geoms(name: str, group: int, body: int | None = None) -> list[int]:
    model = model_of(name)
    chosen = [g for g in range(model.ngeom) if int(model.geom_group[g]) == group]
    return [g for g in chosen if body is None or int(model.geom_bodyid[g]) == body]


# --- published numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARMS)
def test_joints_stand_where_the_published_ones_do(name):
    facts, model = FACTS[name], model_of(name)
    data = mujoco.MjData(model)
    for check in facts["fk_check"]:
        for joint, angle in zip(facts["joints"], check["q_rad"], strict=True):
            data.joint(joint).qpos[0] = angle
        mujoco.mj_kinematics(model, data)
        for k, joint in enumerate(facts["joints"]):
            assert data.joint(joint).xanchor == pytest.approx(check["anchors_m"][k], abs=5e-5), joint
            assert data.joint(joint).xaxis == pytest.approx(check["axes"][k], abs=1e-4), joint


@pytest.mark.parametrize("name", ARMS)
def test_masses_are_the_published_ones(name):
    for body, mass in FACTS[name]["masses_kg"].items():
        assert model_of(name).body(body).mass[0] == pytest.approx(mass, rel=1e-6), body


@pytest.mark.parametrize("name", ARMS)
def test_positive_angles_go_where_the_conventions_say(name):
    """docs/conventions-<arm>.md; the signs of Koch and SO-100 are those of the SO-101."""
    zero = np.zeros(len(load_model(name).joints))

    def moved(joint: int) -> np.ndarray:
        q = zero.copy()
        q[joint] = 0.3
        return placed(name, q).site("grasp").xpos - placed(name, zero).site("grasp").xpos

    pan, lift, elbow, flex = moved(0), moved(1), moved(2), moved(4 if name == "viperx" else 3)
    assert pan[1] > 0.1 if name == "viperx" else pan[1] < -0.04
    for way in (lift, elbow, flex):
        assert way[2] < -0.02
    jaw = "left_finger" if name == "viperx" else "jaw"
    pads = [placed(name, zero, width).body(jaw).xquat for width in (0.0, 0.03)]
    assert name == "viperx" or np.abs(pads[0] - pads[1]).max() > 0.05


@pytest.mark.parametrize("name", ARMS)
def test_zero_pose(name):
    """Upper arm upright, forearm and hand straight forward."""
    description = load_model(name)
    data = placed(name, np.zeros(len(description.joints)))
    upper, lower, wrist = (data.joint(description.joints[k]).xanchor for k in (1, 2, -2))
    assert (lower - upper)[2] > 0.95 * np.linalg.norm(lower - upper)
    forearm, approach = wrist - lower, data.site("grasp").xmat.reshape(3, 3)[:, 0]
    assert forearm[0] > 0.98 * np.linalg.norm(forearm) and approach[0] > 0.999


# --- shapes ---------------------------------------------------------------------------------------------


def strangers(name: str) -> list[tuple[int, int]]:
    """Pairs of bodies that are no neighbours and yet left out of the checks."""
    model = model_of(name)
    pairs = [(int(e) >> 16, int(e) & 0xFFFF) for e in model.exclude_signature]
    still = [(min(pair), max(pair)) for pair in pairs]
    return [
        (one, two)
        for one, two in still
        if int(model.body_parentid[two]) not in (one, int(model.body_parentid[one]))
        and geoms(name, GUARD, one)
        and geoms(name, GUARD, two)
    ]


@pytest.mark.parametrize("name", ARMS)
def test_links_left_out_of_the_checks_can_never_meet(name):
    model = model_of(name)
    data = mujoco.MjData(model)
    for one, two in strangers(name):
        between, body = [], two
        while body != one:
            between += [model.body_jntadr[body] + k for k in range(model.body_jntnum[body])]
            body = int(model.body_parentid[body])
        parts = [geoms(name, COLLISION, body) for body in (one, two)]
        ranges = [np.linspace(*model.jnt_range[j], 13) for j in between]
        least = 1.0
        for q in itertools.product(*ranges):
            data.qpos[[int(model.jnt_qposadr[j]) for j in between]] = q
            mujoco.mj_kinematics(model, data)
            gaps = [mujoco.mj_geomDistance(model, data, a, b, 0.1, None) for a in parts[0] for b in parts[1]]
            least = min(least, *gaps)
        assert least > 0.002, (model.body(one).name, model.body(two).name)


# --- poses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "pose"), POSES)
def test_the_guard_lets_the_arm_stand_at_rest_and_at_home(name, pose):
    rig, description = load_rig(name), load_model(name)
    q = description.rest_q_rad if pose == "rest" else description.home_q_rad
    spec = rig.joint_spec("arm")
    assert (q > spec.q_min).all() and (q < spec.q_max).all()
    for width in (0.0, 0.025, description.gripper_width_max_m):
        assert placed(name, q, width).ncon == 0
        robot = TwinRobot(twin_at(name, q, width))
        robot.open()
        look = robot.guard._collision
        n = look.pair_names.index(next(pair for pair in look.pair_names if pair[1] == "table"))
        apart = look.distances(np.append(q, width))
        assert apart[:n].min() > rig.guard.self_collision_m, look.min_distance(np.append(q, width))
        assert apart[n:].min() > rig.table.clearance_m
        robot.release()


@functools.cache
def scene_of(name: str):
    return build_scene(load_rig(name))


def twin_at(name: str, q, width_m: float = 0.03) -> Twin:
    scene = scene_of(name)
    standard(scene.rig, scene).restore(scene)
    twin = Twin(scene)
    twin.set_arm("arm", np.array(q), width_m)
    return twin


@pytest.mark.parametrize("name", ARMS)
def test_home_points_down_into_the_workspace(name):
    description, rig = load_model(name), load_rig(name)
    data = placed(name, description.home_q_rad, 0.03)
    approach, at = data.site("grasp").xmat.reshape(3, 3)[:, 0], data.site("grasp").xpos
    assert approach[2] < -0.85 and 0.05 < at[2] < 0.2
    assert (at > rig.workspace.min_m).all() and (at < rig.workspace.max_m).all()


@pytest.mark.parametrize("name", ARMS)
def test_torque_off_at_rest_never_reaches_the_table(name):
    """With the friction of gears and motors alone the arm sinks onto itself and stays there."""
    twin = twin_at(name, load_model(name).rest_q_rad, 0.0)
    for group in (*twin.arms.values(), *twin.grippers.values()):
        group.close()
    twin.clock.sleep_until(4_000_000_000)
    sunk = twin.arms["arm"].servos.true_q() - load_model(name).rest_q_rad
    assert np.abs(sunk).max() < 0.5 and np.abs(twin.data.qvel).max() < 0.1
    table = twin.model.geom("table").id
    assert not any(table in (contact.geom1, contact.geom2) for contact in twin.data.contact)


@pytest.mark.parametrize("name", ARMS)
def test_parks_from_anywhere_it_may_stand(name):
    """From poses drawn over most of every joint's range, as far as the guard lets it stand there."""
    rng, rig, parked = np.random.default_rng(4), load_rig(name), 0
    spec, home = rig.joint_spec("arm"), load_model(name).home_q_rad
    while parked < 6:
        q = np.clip(
            home + 0.4 * rng.uniform(-1, 1, spec.n) * (spec.q_max - spec.q_min), spec.q_min, spec.q_max
        )
        robot = TwinRobot(twin_at(name, q))
        robot.open()
        look = robot.guard._collision
        gaps = look.distances(np.append(q, 0.03)) - look.limit
        if gaps.min() < 0.0:
            robot.release()
            continue
        robot.close()
        assert robot.ended_parked, q
        rest = robot.twin.arms["arm"].servos.true_q()
        assert np.abs(rest - load_model(name).rest_q_rad).max() < 0.1, q
        parked += 1


# --- gripper --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("width", [0.0005, 0.005, 0.01, 0.015, 0.02, 0.025])
def test_pads_are_as_far_apart_as_the_map_says(name, width):
    description = load_model(name)
    data = placed(name, np.zeros(len(description.joints)), width)
    model = model_of(name)
    pads = [g for g in geoms(name, COLLISION) if model.geom(g).name.startswith("pad_")]
    gap = mujoco.mj_geomDistance(model, data, *pads, 0.2, None)
    assert gap == pytest.approx(
        width, abs=2.5e-4 if name == "viperx" else 3e-5
    )  # a quartic stands for the rods


@pytest.mark.parametrize("name", ALL)
def test_the_grasp_point_stands_off_the_fixed_pad_as_the_description_says(name):
    description = load_model(name)
    model, data = model_of(name), placed(name, np.zeros(len(description.joints)), 0.025)
    site = data.site("grasp")
    closing = site.xmat.reshape(3, 3)[:, 1]
    pads = [g for g in geoms(name, COLLISION) if model.geom(g).name.startswith("pad_")]
    faces = []
    for g in pads:
        corners = np.array(list(itertools.product((-1, 1), repeat=3))) * model.geom_size[g]
        faces.append((data.geom_xpos[g] + corners @ data.geom_xmat[g].reshape(3, 3).T - site.xpos) @ closing)
    faces.sort(key=lambda reach: reach.mean())
    if description.fixed_pad_m is None:
        assert faces[0].max() == pytest.approx(-faces[1].min(), abs=1e-4)  # in the middle
    else:
        assert faces[1].min() == pytest.approx(description.fixed_pad_m, abs=1e-4)


def test_the_crank_is_interbotix_and_alohas():
    """Finger positions and motor angles of ALOHA's constants.py: 0.05800 m at 1.4910, 0.01844 m at -0.6213 rad."""
    gripper = load_model("viperx").gripper
    assert isinstance(gripper, Crank)
    assert gripper.angle_to_width(1.4910) == pytest.approx(2 * (0.05800 - 0.01844), abs=3e-4)
    assert gripper.angle_to_width(-0.6213) == pytest.approx(0.0, abs=2e-5)
    slope = (gripper.angle_to_width(0.11) - gripper.angle_to_width(0.10)) / 0.01
    assert gripper.lever_m == pytest.approx(float(slope), rel=0.02)


def test_fingers_of_the_viperx_follow_its_crank_in_the_twin():
    twin = twin_at("viperx", load_model("viperx").home_q_rad, 0.03)
    gripper = twin.grippers["gripper"]
    gripper.open()
    twin.arms["arm"].open()
    for width in (0.06, 0.01):
        gripper.command(width)
        twin.clock.sleep_until(twin.clock.now() + 800_000_000)
        fingers = [twin.data.joint(f"arm/{side}_finger").qpos[0] for side in ("left", "right")]
        assert 2 * fingers[0] == pytest.approx(gripper.read().width_m, abs=1.5e-3)
        assert fingers[0] == pytest.approx(fingers[1], abs=2e-4)


# --- servos ---------------------------------------------------------------------------------------------

DATASHEETS = {  # emanual.robotis.com: V, stall N·m, stall A, no-load rev/min
    "xl430_w250": (12.0, 1.5, 1.4, 61),
    "xm540_w270": (12.0, 10.6, 4.4, 30),
    "xm540_w270_pair": (12.0, 21.2, 8.8, 30),
    "xm430_w350": (12.0, 4.1, 2.3, 46),
    "xl330_m288": (5.0, 0.52, 1.47, 103),  # measured constants: within a few per cent
}


@pytest.mark.parametrize("name", DATASHEETS)
def test_servos_stall_and_run_as_their_datasheets_say(name):
    volts, stall_n_m, stall_a, rpm = DATASHEETS[name]
    servo, near = SERVOS[name], 0.06 if name == "xl330_m288" else 1e-6
    assert servo.voltage_v == volts
    assert servo.torque_max == pytest.approx(stall_n_m, rel=near)
    assert servo.voltage_v / servo.resistance_ohm == pytest.approx(stall_a, rel=near)
    free = (servo.torque_max - servo.coulomb_n_m) / (servo.viscous_n_m_s + servo.back_emf)
    assert free * 60 / (2 * np.pi) == pytest.approx(rpm, rel=near)


@pytest.mark.parametrize("name", ARMS)
def test_draws_replay_with_all_servos(name):
    scene = scene_of(name)
    randomizer = standard(scene.rig, scene)
    draw = randomizer.draw(7)
    assert draw == randomizer.draw(7) != randomizer.draw(8)
    supplies = {"koch": [12.0, 5.0], "viperx": [12.0], "so100": [7.4]}[name]
    drawn = np.ravel(draw["servo.voltage"])
    assert (np.abs(drawn / supplies - 1.0) < 0.09).all() and drawn.size == len(supplies)
    randomizer.apply(scene, draw)
    twin = Twin(scene, draw)
    home = load_model(name).home_q_rad
    twin.set_arm("arm", home, 0.03)
    twin.arms["arm"].open()
    twin.arms["arm"].command(home)
    twin.clock.sleep_until(1_500_000_000)
    assert np.abs(twin.arms["arm"].servos.true_q() - home).max() < 0.2


@pytest.mark.parametrize("name", ARMS)
def test_inverse_kinematics_reaches_the_table_in_front(name):
    description = load_model(name)
    kinematics = Kinematics(description)
    at = placed(name, description.home_q_rad).site("grasp").xpos
    found = kinematics.solve(description.home_q_rad, [at[0], at[1], 0.015], x_axis=[0.3, 0, -0.95])
    assert found.position_error_m < 1e-4 and found.axis_error_rad < 0.1
