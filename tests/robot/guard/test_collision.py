from dataclasses import replace

import mujoco
import numpy as np
import pytest
from guard_fakes import HOME, Bench, FakeArm, FakeGripper, ManualClock
from twinloop.robot.guard import Guard
from twinloop.robot.guard.geometry import MARGIN
from twinloop.robot.rig import ArmConfig, Box, GripperConfig, Pose, Rig, load_rig
from twinloop.robot.types import ActionChunk

DOWN = np.array([0.0, 1.2, -0.2, 1.2, 0.0])  # through the table
FOLDED = np.array([0.0, -1.6, 1.6, 1.6, 0.0])


def model_of(bench: Bench):
    return bench.guard._collision


def test_distances_agree_with_mujocos_exact_ones():
    bench = Bench()
    model, layout = model_of(bench), bench.guard._layout
    scene, rng = model._scene, np.random.default_rng(0)
    for _ in range(100):
        q = rng.uniform(layout.low, layout.high)
        mine = model.distances(q)
        for k, (a, b) in enumerate(model.pair_names[: model.contacts]):
            exact = mujoco.mj_geomDistance(
                scene.model, scene.data, scene.model.geom(a).id, scene.model.geom(b).id, 1.0, None
            )
            assert mine[k] == pytest.approx(min(exact, MARGIN), abs=1e-6)
        for k, geom in enumerate(scene.moving):
            size, rot = scene.model.geom_size[geom], scene.data.geom_xmat[geom].reshape(3, 3)
            ends = [scene.data.geom_xpos[geom] + s * rot[:, 2] * size[1] for s in (-1, 1)]
            height = min(p[2] for p in ends) - size[0] - bench.rig.table.height_m
            assert mine[model.contacts + k] == pytest.approx(height, abs=1e-9)


def test_the_jaw_stands_where_its_width_says():
    bench = Bench()
    scene = model_of(bench)._scene
    description = scene.descriptions["arm"]
    for width in (0.0, 0.013, 0.05, description.gripper_width_max_m):
        scene.place(np.append(HOME, width))
        joint = scene.model.joint(f"arm/{description.gripper_joint}")
        angle = scene.data.qpos[joint.qposadr[0]]
        assert angle == pytest.approx(float(description.width_to_angle(width)), abs=1e-5)


def test_joints_close_no_gap_faster_than_their_rate():
    """The look-ahead rests on this bound: it must hold for every pair, pose and joint motion."""
    bench = Bench()
    model, layout = model_of(bench), bench.guard._layout
    rng = np.random.default_rng(1)
    for _ in range(400):
        q = rng.uniform(layout.low, layout.high)
        move = rng.normal(size=q.size) * rng.choice([0.001, 0.05, 0.3])
        move[-1] *= 0.1
        there = np.clip(q + move, layout.low, layout.high)
        a, b = model.distances(q), model.distances(there)
        known = (a < MARGIN) & (b < MARGIN)
        bound = model._rates @ np.abs(there - q)
        assert (np.abs(a - b)[known] <= bound[known] + 1e-6).all()


def test_gradients_agree_with_differences():
    bench = Bench()
    model, layout = model_of(bench), bench.guard._layout
    rng, checked = np.random.default_rng(2), 0
    for _ in range(60):
        q = rng.uniform(layout.low, layout.high)
        d = model.distances(q)
        for k in np.flatnonzero((d > 0.002) & (d < 0.05)).tolist():
            model.distances(q)
            mujoco.mj_comPos(model._scene.model, model._scene.data)
            gradient = min(model._gradients(k, q), key=lambda way: way[1])[0]  # where it is nearest
            step = 1e-6 * np.eye(q.size)
            numeric = np.array([(model.distances(q + h)[k] - model.distances(q - h)[k]) / 2e-6 for h in step])
            if np.abs(gradient - numeric).max() < 2e-3 * (1 + np.abs(numeric).max()):
                checked += 1
    assert checked > 100


@pytest.mark.parametrize(("target", "limit"), [(DOWN, "table"), (FOLDED, "self_collision")])
def test_no_command_goes_through_table_or_itself(target, limit):
    bench = Bench()
    model = model_of(bench)
    bench.go(target, 2.0, width=0.03)
    worst = min(
        float((model.distances(np.append(q, w)) - model.limit).min())
        for (_, q), (_, w) in zip(bench.arm.commands, bench.gripper.commands, strict=True)
    )
    assert worst > -1e-3
    assert bench.guard.limits.total[limit] > 50
    # It came close, rather than not moving at all.
    q = np.append(bench.arm.commands[-1][1], 0.03)
    kinds = np.array([k == limit for k in model.kinds])
    assert (model.distances(q) - model.limit)[kinds].min() < 0.02


def test_no_command_leaves_the_workspace():
    rig = load_rig("so101")
    box = Box((-0.5, -0.12, -0.05), (0.6, 0.12, 0.8))
    bench = Bench(rig=replace(rig, workspace=box))
    bench.go(HOME + [1.5, 0, 0, 0, 0], 2.0)
    model = model_of(bench)
    gaps = [model.distances(np.append(q, 0.03))[-model.capsules :].min() for _, q in bench.arm.commands]
    assert min(gaps) > -1e-3 and bench.guard.limits.total["workspace"] > 50
    assert min(gaps) < 0.02


def test_no_command_touches_an_obstacle():
    bench = Bench(
        obstacles=(Box((0.1, 0.12, 0.0), (0.35, 0.3, 0.4)), Box((0.1, -0.3, 0.0), (0.35, -0.12, 0.4)))
    )
    bench.go(HOME + [1.2, 0, 0, 0, 0], 2.0)
    model = model_of(bench)
    mine = np.array([k == "obstacle" for k in model.kinds])
    gaps = [(model.distances(np.append(q, 0.03)) - model.limit)[mine].min() for _, q in bench.arm.commands]
    assert min(gaps) > -1e-3 and bench.guard.limits.total["obstacle"] > 50


def test_the_arm_slides_along_the_table():
    """Asked to go sideways while pressing down, it goes sideways."""
    bench = Bench()
    bench.go(DOWN, 1.5)
    start = bench.arm.commands[-1][1][0]
    bench.go(DOWN + [0.8, 0, 0, 0, 0], 2.0)
    assert bench.arm.commands[-1][1][0] - start > 0.7


def test_a_start_inside_the_limit_may_only_move_apart():
    pressed = HOME.copy()
    bench = Bench()
    model = model_of(bench)
    while (model.distances(np.append(pressed, 0.03)) - model.limit).min() > -0.01:
        pressed[1] += 0.01  # lower until it is 10 mm into the table's limit
    bench = Bench(q=pressed)
    model = model_of(bench)
    depth = (model.distances(np.append(pressed, 0.03)) - model.limit).min()
    assert depth < -0.005
    bench.go(pressed + [0, 0.3, 0, 0, 0], 1.0)
    deepest = min((model.distances(np.append(q, 0.03)) - model.limit).min() for _, q in bench.arm.commands)
    assert deepest > depth - 1e-3
    bench.go(HOME, 1.5)
    np.testing.assert_allclose(bench.arm.commands[-1][1], HOME, atol=1e-3)
    mark = len(bench.arm.commands)
    bench.go(pressed + [0, 0.3, 0, 0, 0], 1.5)  # once out, the full limit counts
    after = min(
        (model.distances(np.append(q, 0.03)) - model.limit).min() for _, q in bench.arm.commands[mark:]
    )
    assert after > -1e-3


class TwoArms:
    """Two SO-101 side by side behind one guard."""

    def __init__(self) -> None:
        rig = Rig(
            "two",
            arms={
                "left": ArmConfig("so101", Pose((0.0, 0.15, 0.0))),
                "right": ArmConfig("so101", Pose((0.0, -0.15, 0.0))),
            },
            grippers={"left_jaw": GripperConfig("left"), "right_jaw": GripperConfig("right")},
            workspace=Box((-1, -1, -0.1), (1, 1, 1)),
        )
        self.clock = ManualClock()
        self.arms = {name: FakeArm(rig, self.clock, name) for name in rig.arms}
        grippers = {name: FakeGripper(rig, self.clock, name) for name in rig.grippers}
        self.guard = Guard(rig, self.arms, grippers, self.clock)
        self.guard.open()
        self.worst, self.names = np.inf, set()

    def go(self, left, right, seconds: float) -> None:
        guard, model = self.guard, self.guard._collision
        for k in range(round(seconds * 200)):
            if k % 4 == 0:
                now = self.clock.now()
                goal = {"left": np.atleast_2d(left), "right": np.atleast_2d(right)}
                guard.submit(ActionChunk(now, 1, goal, {}, now + 100_000_000))
            self.clock.t += guard.period_ns
            guard.tick()
            self.worst = min(self.worst, float((model.distances(guard._mover.p) - model.limit).min()))
            self.names |= set(guard.collect().limits)


def test_two_arms_keep_apart():
    two = TwoArms()
    two.go(HOME + [0.9, 0.4, -0.3, 0, 0], HOME + [-0.9, 0.4, -0.3, 0, 0], 1.5)
    assert two.worst > -1e-3 and "self_collision" in two.names
    assert {"left/guard", "right/guard"} <= {n[: n.index("_")] for n in _closest(two)}


def _closest(two: TwoArms) -> tuple[str, str]:
    model = two.guard._collision
    return model.min_distance(two.guard._mover.p)[1]


@pytest.mark.parametrize("slides", [True, False])
def test_an_arm_that_is_blocked_does_not_stop_the_other(slides, monkeypatch):
    two = TwoArms()
    if not slides:
        monkeypatch.setattr(
            two.guard._collision, "slide", lambda q, target, velocity, hits=(): (target, velocity)
        )
    free = HOME + [0.0, -0.3, 0, 0, 0.8]
    two.go(DOWN, HOME, 1.5)
    two.go(DOWN, free, 2.0)
    assert two.worst > -1e-3 and "table" in two.names
    np.testing.assert_allclose(two.arms["right"].goal, free, atol=1e-3)
