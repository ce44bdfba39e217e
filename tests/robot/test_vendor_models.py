"""Descriptions, rigs and twins of the arms that vendors' own packages drive."""

from __future__ import annotations

import functools
import itertools

import mujoco
import numpy as np
import pytest
from twinloop.robot.kinematics import Kinematics
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.robot.testing import ArmContract, GripperContract, RobotContract
from twinloop.sim.randomize import standard
from twinloop.sim.scene import Scene, build_scene
from twinloop.sim.twin import Twin, TwinRobot

ARMS = ("franka", "trossen", "ur5e", "xarm7")
WITH_GRIPPER = ("franka", "trossen", "xarm7")
VISUAL, COLLISION = 2, 3


@functools.cache
def model_of(arm: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(load_model(arm).mjcf))


@functools.cache
def scene_of(arm: str) -> Scene:
    return build_scene(load_rig(arm))


def twin_of(arm: str) -> Twin:
    scene = scene_of(arm)
    standard(scene.rig, scene).restore(scene)
    twin = Twin(scene)
    twin.set_arm("arm", scene.descriptions["arm"].home_q_rad, 0.03 if twin.grippers else None)
    return twin


# --- published kinematics ---------------------------------------------------------------------------------


def craig(rows, q):
    """Flange after modified DH rows (a, alpha, d, offset), Craig's convention."""
    pose = np.eye(4)
    for (a, alpha, d, offset), angle in zip(rows, [*q, 0.0][: len(rows)], strict=True):
        c, s = np.cos(angle + offset), np.sin(angle + offset)
        ca, sa = np.cos(alpha), np.sin(alpha)
        pose = pose @ [
            [c, -s, 0, a],
            [s * ca, c * ca, -sa, -d * sa],
            [s * sa, c * sa, ca, d * ca],
            [0, 0, 0, 1],
        ]
    return pose


def classic(rows, q):
    """Flange after DH rows (a, alpha, d), the classic convention."""
    pose = np.eye(4)
    for (a, alpha, d), angle in zip(rows, q, strict=True):
        c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        pose = pose @ [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]
    return pose


H = np.pi / 2
FRANKA = [
    (0, 0, 0.333, 0), (0, -H, 0, 0), (0, H, 0.316, 0), (0.0825, H, 0, 0), (-0.0825, -H, 0.384, 0), (0, H, 0, 0),
    (0.088, H, 0, 0), (0, 0, 0.107, 0),
]  # fmt: skip
XARM7 = [
    (0, 0, 0.267, 0), (0, -H, 0, 0), (0, H, 0.293, 0), (0.0525, H, 0, 0), (0.0775, H, 0.3425, 0), (0, H, 0, 0),
    (0.076, -H, 0.097, 0),
]  # fmt: skip
UR5E = [(0, H, 0.1625), (-0.425, 0, 0), (-0.3922, 0, 0), (0, H, 0.1333), (0, -H, 0.0997), (0, 0, 0.0996)]
PENDANT = np.diag([-1.0, -1.0, 1.0, 1.0])  # the pendant's base frame in ROS' base_link
PUBLISHED = {
    "franka": lambda q: craig(FRANKA, q),
    "xarm7": lambda q: craig(XARM7, q),
    "ur5e": lambda q: PENDANT @ classic(UR5E, q),
}


@pytest.mark.parametrize("arm", PUBLISHED)
def test_flange_is_where_the_published_dh_table_puts_it(arm):
    kinematics = Kinematics(load_model(arm))
    rng = np.random.default_rng(3)
    for q in rng.uniform(kinematics.q_min, kinematics.q_max, (20, kinematics.n)):
        position, wxyz = kinematics.fk(q, "flange")
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, wxyz)
        want = PUBLISHED[arm](q)
        turn = np.eye(3)
        if arm == "franka":  # the hand is turned by -45 degrees on the flange, and the site is the hand's
            turn = np.array([[H, H, 0], [-H, H, 0], [0, 0, H * np.sqrt(2)]]) / (H * np.sqrt(2))
        assert position == pytest.approx(want[:3, 3], abs=1e-5)
        assert rotation.reshape(3, 3) == pytest.approx(want[:3, :3] @ turn, abs=1e-4)


@pytest.mark.parametrize(
    ("q", "where", "approach"),
    [
        # Along the links of the vendor's URDF: -264, 245, 67.75, 28.95, 156.062 mm in x; 57.25, 46.25, 60 mm in z.
        ([0, 0, 0, 0, 0, 0], (0.253762, 0, 0.1635), (1, 0, 0)),
        ([0, H, 0, 0, 0, 0], (0.02 + 0.06, 0, 0.1035 + 0.264 - 0.497762), (0, 0, -1)),
        ([0, H, H, 0, 0, 0], (0.02 + 0.497762, 0, 0.1035 + 0.264 + 0.06), (1, 0, 0)),
        ([H, H, H, 0, 0, 0], (0, 0.02 + 0.497762, 0.1035 + 0.264 + 0.06), (0, 1, 0)),
    ],
)
def test_trossen_follows_its_urdf(q, where, approach):
    kinematics = Kinematics(load_model("trossen"))
    position, wxyz = kinematics.fk(q, "grasp")
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, wxyz)
    assert position == pytest.approx(where, abs=1e-6)
    assert rotation.reshape(3, 3)[:, 0] == pytest.approx(approach, abs=1e-6)


# --- shapes -----------------------------------------------------------------------------------------------


def of_body(model, body, *groups):
    return [g for g in range(model.ngeom) if model.geom_bodyid[g] == body and model.geom_group[g] in groups]


@pytest.mark.parametrize(
    ("arm", "one", "two", "joints"),
    [("ur5e", "base", "upper_arm_link", (0, 1)), ("trossen", "base_link", "link_2", (0, 1))],
)
def test_links_left_out_of_the_checks_can_never_meet(arm, one, two, joints):
    model = model_of(arm)
    data = mujoco.MjData(model)
    parts = [of_body(model, model.body(body).id, VISUAL, COLLISION) for body in (one, two)]
    least = 1.0
    ranges = [model.jnt_range[j] for j in joints]
    for q in itertools.product(*(np.linspace(low, high, 9) for low, high in ranges)):
        data.qpos[list(joints)] = q
        mujoco.mj_kinematics(model, data)
        least = min(
            least, *(mujoco.mj_geomDistance(model, data, a, b, 0.1, None) for a in parts[0] for b in parts[1])
        )
    assert least > 0.003


# --- poses, rigs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("pose", ["rest", "home"])
def test_rest_and_home_are_clear(arm, pose):
    twin = twin_of(arm)
    description, spec = load_model(arm), twin.arms["arm"].spec
    q = description.rest_q_rad if pose == "rest" else description.home_q_rad
    assert (q >= spec.q_min).all() and (q <= spec.q_max).all()
    for width in (0.0, description.gripper_width_max_m) if twin.grippers else (0.0,):
        twin.set_arm("arm", q, width)
        assert twin.data.ncon == 0
        guard = TwinRobot(twin).guard
        guard.open()
        model = guard._collision
        flat = np.append(q, width) if twin.grippers else q
        gaps = np.delete(
            model.distances(flat) - model.limit, [k for k, n in enumerate(model.pair_names) if _low(n)]
        )
        assert gaps.min() > 0.0, model.min_distance(flat)
        guard.close(unparked=True)


def _low(names):
    """The first moving link of an arm stands on the table, capsules and all."""
    return names[1] == "table" and any(part in names[0] for part in ("link1_", "link_1_", "shoulder_link"))


@pytest.mark.parametrize("arm", ARMS)
def test_home_points_down_into_the_workspace(arm):
    description, rig = load_model(arm), load_rig(arm)
    position, wxyz = Kinematics(description).fk(description.home_q_rad, "grasp")
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, wxyz)
    assert rotation[6] < -0.85  # approach: down
    assert 0.08 < position[2] < 0.35 and position[0] > 0.2
    assert (position > rig.workspace.min_m).all() and (position < rig.workspace.max_m).all()


def test_franka_brakes_inside_the_speed_limits_that_sink_towards_the_joints_ends():
    """The control interface stops the arm when a speed exceeds them; formulae of libfranka's FR3 rate limiting."""
    spec = load_rig("franka").joint_spec("arm")
    ends = np.array([2.7501, 1.7918, 2.9065, -0.1458, 2.8101, 4.5205, 3.0196])
    starts = np.array([-2.7501, -1.7918, -2.9065, -3.0481, -2.8101, 0.54092, -3.0196])
    slope = np.array([12.0, 5.17, 7.0, 8.0, 34.0, 11.0, 34.0])
    lost = np.array([0.3, 0.2, 0.2, 0.3, 0.35, 0.35, 0.35])
    for share in np.linspace(0.0, 1.0, 400):
        q = spec.q_min + share * (spec.q_max - spec.q_min)
        for gap, left in ((ends - q, spec.q_max - q), (q - starts, q - spec.q_min)):
            fastest = np.minimum(
                spec.dq_max, np.sqrt(2 * spec.ddq_max * left)
            )  # from which braking still works
            allowed = np.maximum(0.0, np.sqrt(slope * np.maximum(0.0, gap)) - lost)
            assert (fastest <= allowed + 1e-9).all(), (q, fastest - allowed)
    assert (spec.ddq_max <= 5.0).all() and (spec.dddq_max <= 2500.0).all()  # half of 10 and 5000


# --- gripper ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", WITH_GRIPPER)
@pytest.mark.parametrize("width", [0.0, 0.01, 0.04, 0.08])
def test_pads_are_as_far_apart_as_the_map_says_and_the_grasp_point_is_between_them(arm, width):
    twin = twin_of(arm)
    twin.set_arm("arm", load_model(arm).home_q_rad, width)
    model, data = twin.model, twin.data
    pads = [g for g in range(model.ngeom) if model.geom(g).name.startswith("arm/pad_")]
    assert len(pads) == 2
    gap = mujoco.mj_geomDistance(model, data, *pads, 0.2, None)
    assert gap == pytest.approx(width, abs=2e-4)
    middle, frame = data.geom_xpos[pads].mean(axis=0), twin.site("arm", "grasp")
    assert np.linalg.norm((frame[0] - middle) @ frame[1][:, 1:]) < 1e-3  # along the approach they may differ
    driven = model.jnt_bodyid[model.joint(f"arm/{load_model(arm).gripper_joint}").id]
    moving = next(g for g in pads if model.geom_bodyid[g] == driven)
    assert (middle - data.geom_xpos[moving]) @ frame[1][:, 1] > 0  # y: the way the driven pad closes


@pytest.mark.parametrize("arm", WITH_GRIPPER)
def test_fingers_move_together_and_are_read_finely(arm):
    twin = twin_of(arm)
    gripper, arm_ = next(iter(twin.grippers.values())), twin.arms["arm"]
    gripper.open()
    arm_.open()
    widths = []
    for width in (0.0301, 0.0303):
        gripper.command(width)
        twin.clock.sleep_until(twin.clock.now() + 600_000_000)
        widths.append(gripper.read().width_m)
        fingers = twin.data.qpos[-2:]
        assert fingers[0] == pytest.approx(fingers[1], abs=5e-5)
    assert widths[1] - widths[0] == pytest.approx(2e-4, abs=1.2e-4)  # not a count of a coarse encoder


# --- drives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arm", "sag_deg"), [("franka", 0.05), ("ur5e", 0.05), ("xarm7", 0.05), ("trossen", 2.0)]
)
def test_the_controller_carries_the_arm(arm, sag_deg):
    twin = twin_of(arm)
    device, home = twin.arms["arm"], load_model(arm).home_q_rad
    device.open()
    device.command(home)
    twin.clock.sleep_until(1_500_000_000)
    assert np.degrees(np.abs(device.servos.true_q() - home)).max() < sag_deg


@pytest.mark.parametrize("arm", ["franka", "ur5e", "xarm7"])
def test_a_moving_goal_is_followed_at_the_rigs_speed_without_running_into_the_torque_limit(arm):
    twin = twin_of(arm)
    device, home = twin.arms["arm"], np.array(load_model(arm).home_q_rad)
    device.open()
    speed, late = 0.8 * device.spec.dq_max, []
    for tick in range(100):
        goal = home + speed * min(tick, 60) * 0.005
        device.command(np.clip(goal, device.spec.q_min, device.spec.q_max))
        twin.clock.sleep_until(twin.clock.now() + 5_000_000)
        late.append(np.abs(goal - device.servos.true_q()).max())
    assert max(late) < load_rig(arm).guard.tracking_error_rad
    assert late[-1] < 0.02


@pytest.mark.parametrize("arm", ARMS)
def test_draws_replay_and_stay_small_for_what_a_factory_calibrated(arm):
    scene = scene_of(arm)
    randomizer = standard(scene.rig, scene)
    assert not any(name in randomizer.names for name in ("servo.voltage", "servo.kt", "servo.play"))
    draw = randomizer.draw(7)
    assert draw == randomizer.draw(7) != randomizer.draw(8)
    assert np.abs(draw["sensing.encoder_bias"]).max() < 3e-3
    assert np.abs(draw.get("sensing.gripper_bias", 0.0)).max() < 5e-4

    def run():
        randomizer.apply(scene, draw)
        twin = Twin(scene, draw)
        home = load_model(arm).home_q_rad
        twin.set_arm("arm", home, 0.03 if twin.grippers else None)
        twin.arms["arm"].open()
        twin.arms["arm"].command(home + 0.1)
        twin.clock.sleep_until(400_000_000)
        return twin.arms["arm"].read().q

    first = run()
    assert np.array_equal(first, run())
    nominal = twin_of(arm).arms["arm"]
    assert np.abs(first - nominal.servos.true_q() - 0.1).max() < 0.06


# --- contracts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ARMS)
class TestTwinArm(ArmContract):
    @pytest.fixture(autouse=True)
    def _arm(self, arm):
        self.arm = arm

    def make(self):
        twin = twin_of(self.arm)
        return twin.arms["arm"], twin.clock


@pytest.mark.parametrize("arm", WITH_GRIPPER)
class TestTwinGripper(GripperContract):
    @pytest.fixture(autouse=True)
    def _arm(self, arm):
        self.arm = arm

    def make(self):
        twin = twin_of(self.arm)
        twin.arms["arm"].open()
        return twin.grippers["gripper"], twin.clock


@pytest.mark.parametrize("arm", ARMS)
class TestTwinRobot(RobotContract):
    @pytest.fixture(autouse=True)
    def _arm(self, arm):
        self.arm = arm

    def make(self):
        robot = TwinRobot(twin_of(self.arm))
        robot.open()
        return robot, {"arm": robot.rig.joint_spec("arm")}


@pytest.mark.parametrize("arm", ARMS)
def test_parking_from_random_poses_ends_parked(arm):
    twin = twin_of(arm)
    spec, rng, parked = twin.arms["arm"].spec, np.random.default_rng(5), 0
    home = load_model(arm).home_q_rad
    robot = TwinRobot(twin)
    robot.open()
    judge = robot.guard._collision
    while parked < 4:
        q = np.clip(home + rng.uniform(-1.2, 1.2, spec.n), spec.q_min, spec.q_max)
        flat = np.append(q, 0.02) if twin.grippers else q
        if (judge.distances(flat) < judge.limit).any():
            continue
        twin = twin_of(arm)
        twin.set_arm("arm", q, 0.02 if twin.grippers else None)
        robot = TwinRobot(twin)
        robot.open()
        robot.guard.park()
        for _ in range(300):
            twin.clock.sleep_until(twin.clock.now() + 100_000_000)
            if robot.guard.parked:
                break
        assert robot.guard.parked, (q, robot.guard.mode, robot.guard.limits.total)
        parked += 1
