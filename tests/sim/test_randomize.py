"""Randomisation: one seed, one logged draw, one model; dependencies kept; batch and single agree."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from mujoco.batch import Batch
from twinloop.robot.errors import UsageError
from twinloop.robot.rig import GripperConfig, Pose, Rig, load_rig
from twinloop.sim.randomize import (
    Choice,
    Derived,
    Fields,
    Integer,
    LogUniform,
    Normal,
    Param,
    Randomizer,
    Uniform,
    standard,
)
from twinloop.sim.randomize.servo import servo_index
from twinloop.sim.randomize.stream import mix
from twinloop.sim.scene import Scene, SceneOptions, build_scene
from twinloop.sim.servo import STS3215_7V4, STS3215_12V
from twinloop.sim.twin import drawn_servos

GROUPS = ("dynamics", "servo", "sensing", "camera", "scene")


def add_cube(spec: mujoco.MjSpec) -> None:
    body = spec.worldbody.add_body(name="cube", pos=[0.25, 0.05, 0.0125])
    body.add_freejoint(name="cube")
    body.add_geom(name="cube", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.0125] * 3, mass=0.02)


def cube_params() -> tuple[Param, ...]:
    """As a task has them: the cube's mass follows from its size and density."""

    def size(fields: Fields, half_m: float) -> None:
        fields["geom_size"][fields.geom("cube"), :] = half_m

    def density(fields: Fields, kg_m3: float) -> None:
        side = 2 * fields["geom_size"][fields.geom("cube"), 0]
        fields["body_mass"][fields.body("cube")] = kg_m3 * side**3
        fields["body_inertia"][fields.body("cube")] = kg_m3 * side**5 / 6

    return (
        Param("task.density", "task", Uniform(400, 1200), "kg/m3", "", density, needs=("task.half",)),
        Param("task.half", "task", Uniform(0.01, 0.02), "m", "", size),
    )


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig("so101")


@pytest.fixture
def scene(rig: Rig) -> Scene:
    return build_scene(rig, add_cube)


def arrays(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """A copy of every array of the model, and its gravity."""
    names = [n for n in dir(model) if not n.startswith("_") and isinstance(getattr(model, n), np.ndarray)]
    return {**{n: getattr(model, n).copy() for n in names}, "gravity": model.opt.gravity.copy()}


def differing(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> set[str]:
    return {name for name in a if not np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f")}


# --- draws --------------------------------------------------------------------------------------------------


def test_standard_covers_all_groups_with_over_forty_parameters(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene)
    counts = {group: sum(p.group == group for p in randomizer.params) for group in GROUPS}
    assert sum(counts.values()) == len(randomizer.params) >= 40
    assert all(count >= 3 for count in counts.values()), counts
    for param in randomizer.params:
        assert param.name.startswith(f"{param.group}.")
        assert param.doc and param.unit is not None
    per_camera = {p.name.split(".", 2)[1] for p in randomizer.params if p.group == "camera"}
    assert per_camera == set(rig.cameras)


def test_a_draw_survives_json_and_repeats_itself(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene, cube_params())
    draw = randomizer.draw(7)
    assert json.loads(json.dumps(draw)) == draw
    assert standard(rig, scene, cube_params()).draw(7) == draw
    other = randomizer.draw(8)
    same = [name for name in draw if draw[name] == other[name]]
    assert all(isinstance(draw[name], int | str | list) for name in same)
    assert len(same) < 8


def test_draws_are_the_same_on_every_machine_and_version() -> None:
    """Golden values: a change here changes every logged seed's meaning."""
    params = [
        Param("task.a", "task", Uniform(0.0, 1.0), "1", ""),
        Param("task.b", "task", Uniform(0.0, 1.0, 2), "1", ""),
        Param("task.c", "task", Integer(0, 1000), "1", ""),
    ]
    golden = {"task.a": 0.8007807377793645, "task.b": [0.367544906470957, 0.9359712757627225], "task.c": 709}
    assert Randomizer(params).draw(42) == golden
    assert mix(0) == 0xE220A8397B1DCDAF  # SplitMix64's first output for seed 0


def test_adding_a_parameter_changes_no_other(rig: Rig, scene: Scene) -> None:
    few, many = standard(rig, scene, groups=("servo",)), standard(rig, scene, cube_params())
    draw, more = few.draw(3), many.draw(3)
    assert {name: more[name] for name in draw} == draw


def test_distributions_keep_their_bounds_and_shapes() -> None:
    params = [
        Param("task.uniform", "task", Uniform((-1.0, 5.0), (1.0, 6.0), 2), "1", ""),
        Param("task.log", "task", LogUniform(0.01, 100.0), "1", ""),
        Param("task.normal", "task", Normal(1.0, 2.0, 0.0, 2.0), "1", ""),
        Param("task.choice", "task", Choice(("a", "b", "c")), "", ""),
        Param("task.choices", "task", Choice(("a", "b"), 3), "", ""),
        Param("task.integer", "task", Integer(3, 6), "1", ""),
    ]
    randomizer = Randomizer(params)
    draws: list[dict[str, Any]] = [dict(randomizer.draw(seed)) for seed in range(3000)]
    uniform = np.array([d["task.uniform"] for d in draws])
    assert (uniform.min(axis=0) >= [-1, 5]).all() and (uniform.max(axis=0) <= [1, 6]).all()
    assert uniform.mean(axis=0) == pytest.approx([0, 5.5], abs=0.05)
    assert abs(np.corrcoef(uniform.T)[0, 1]) < 0.05
    logs = np.log10([d["task.log"] for d in draws])
    assert (logs.min(), logs.max()) == pytest.approx((-2, 2), abs=0.02)
    assert logs.mean() == pytest.approx(0, abs=0.08)
    normal = np.array([d["task.normal"] for d in draws])
    assert 0 <= normal.min() and normal.max() <= 2
    assert np.mean((normal < 1e-6) | (normal > 2 - 1e-6)) < 0.01  # cut off, not piled up at the bounds
    assert {d["task.choice"] for d in draws} == {"a", "b", "c"}
    assert {len(d["task.choices"]) for d in draws} == {3}
    assert {d["task.integer"] for d in draws} == {3, 4, 5}


def test_fixed_values_carry_through_what_follows_from_them(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene)
    draw = randomizer.draw(3)
    weak: Any = randomizer.draw(3, fixed={"servo.voltage": [5.0]})
    ratio = np.divide(weak["servo.stiffness"], draw["servo.stiffness"])  # type: ignore[arg-type]
    assert ratio == pytest.approx(5.0 / draw["servo.voltage"][0])  # type: ignore[index]
    changed = {name for name in draw if draw[name] != weak[name]}
    assert changed == {"servo.voltage", "servo.stiffness", "servo.torque_max"}
    with pytest.raises(UsageError, match="did you mean 'servo.voltage'"):
        randomizer.draw(3, fixed={"servo.voltag": [5.0]})


def test_width_narrows_ranges_around_their_middle() -> None:
    params = [
        Param("task.a", "task", Uniform(2.0, 4.0), "1", ""),
        Param("task.b", "task", Choice(tuple(range(50))), "", ""),
    ]
    randomizer = Randomizer(params)
    narrow: Any = [randomizer.draw(seed, width=0.1) for seed in range(200)]
    values = [d["task.a"] for d in narrow]
    assert 2.9 <= min(values) < 2.93 and 3.07 < max(values) <= 3.1
    assert len({d["task.b"] for d in narrow}) > 40
    assert randomizer.draw(1, width=0.0)["task.a"] == 3.0
    with pytest.raises(UsageError, match=r"0\.\.1"):
        randomizer.draw(1, width=1.5)


# --- dependencies and errors --------------------------------------------------------------------------------


def number(name: str, needs: tuple[str, ...] = (), distribution: Any = None) -> Param:
    return Param(name, "task", distribution or Uniform(0.0, 1.0), "1", "", needs=needs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: [number("task.a", ("task.b",)), number("task.b", ("task.a",))],
            "task.a -> task.b -> task.a",
        ),
        (lambda: [number("task.a", ("task.a",))], "task.a -> task.a"),
        (lambda: [number("task.size", ("task.mas",)), number("task.mass")], "did you mean 'task.mass'"),
        (lambda: [number("task.a"), number("task.a")], "two .* 'task.a'"),
        (
            lambda: [number("task.a", distribution=Derived(abs, ("task.b",))), number("task.b", ("task.a",))],
            "task.a -> task.b -> task.a",
        ),
    ],
)
def test_bad_dependencies_are_named(make: Callable[[], list[Param]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Randomizer(make())


def test_needs_are_drawn_and_applied_first_whatever_the_order_given(scene: Scene) -> None:
    randomizer = Randomizer(cube_params())  # the density stands before the size that it needs
    assert randomizer.names == ("task.half", "task.density")
    draw: Any = randomizer.draw(1)
    randomizer.apply(scene, draw)
    mass = draw["task.density"] * (2 * draw["task.half"]) ** 3
    assert scene.model.body("cube").mass[0] == pytest.approx(mass)


def test_wrong_draws_and_fields_are_refused_by_name(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene)
    draw = randomizer.draw(1)
    with pytest.raises(UsageError, match="unknown .* 'servo.kt_scal'; did you mean 'servo.kt_scale'"):
        randomizer.apply(scene, {**draw, "servo.kt_scal": 1.0})
    short = {name: value for name, value in draw.items() if name != "servo.play"}
    with pytest.raises(UsageError, match="lacks servo.play"):
        randomizer.apply(scene, short)
    with pytest.raises(UsageError, match="'servo.play': cannot apply"):
        randomizer.apply(scene, {**draw, "servo.play": [0.1, 0.2]})

    def typo(fields: Fields, value: float) -> None:
        fields["body_mas"][1] = value

    with pytest.raises(UsageError, match="no array field 'body_mas'"):
        bad = Randomizer([Param("task.a", "task", Uniform(0.0, 1.0), "1", "", typo)])
        bad.apply(scene, bad.draw(1))
    with pytest.raises(UsageError, match="unknown randomisation group 'sevo'; did you mean 'servo'"):
        standard(rig, scene, groups=("sevo",))


def test_explain_says_every_value(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene)
    lines = randomizer.explain(randomizer.draw(1))
    assert len(lines) == len(randomizer.params)
    (voltage,) = [line for line in lines if line.startswith("servo.voltage")]
    assert " V " in voltage and "6.8 .. 7.8" in voltage


# --- models -------------------------------------------------------------------------------------------------


def test_a_draw_makes_the_same_model_bit_for_bit_whatever_came_before(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene, cube_params())
    draw = randomizer.draw(5)
    randomizer.apply(scene, draw)
    first = arrays(scene.model)
    for seed in range(6, 9):
        randomizer.apply(scene, randomizer.draw(seed))
    assert differing(first, arrays(scene.model))
    randomizer.apply(scene, json.loads(json.dumps(draw)))
    assert differing(first, arrays(scene.model)) == set()
    fresh = build_scene(rig, add_cube)
    standard(rig, fresh, cube_params()).apply(fresh, draw)
    assert differing(first, arrays(fresh.model)) == set()


def test_restore_gives_the_compiled_model_back(rig: Rig, scene: Scene) -> None:
    before = arrays(scene.model)
    randomizer = standard(rig, scene, cube_params())
    randomizer.apply(scene, randomizer.draw(1))
    randomizer.restore(scene)
    after = arrays(scene.model)
    for name in differing(before, after):  # constants are computed anew, from the same values
        np.testing.assert_allclose(after[name], before[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_another_randomiser_leaves_nothing_of_the_first(rig: Rig, scene: Scene) -> None:
    everything, nothing = standard(rig, scene), Randomizer([])
    nothing.apply(scene, {})
    before = arrays(scene.model)
    everything.apply(scene, everything.draw(1))
    nothing.apply(scene, {})
    after = arrays(scene.model)
    for name in differing(before, after):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_torque_switched_off_by_a_twin_is_not_taken_for_nominal(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene, groups=())
    gains = scene.model.actuator_gainprm.copy()
    scene.model.actuator_gainprm[:, 0] = 0.0
    randomizer.apply(scene, randomizer.draw(1))
    assert np.array_equal(scene.model.actuator_gainprm, gains)


def test_servo_values_follow_from_voltage_motor_and_resistance(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene)
    draw: Any = randomizer.draw(2)
    randomizer.apply(scene, draw)
    model, index = scene.model, servo_index(scene)
    volt, servo = draw["servo.voltage"][0], STS3215_7V4
    for k, name in enumerate(index.names):
        kt = servo.kt * draw["servo.kt_scale"][k]
        ohm = servo.resistance_ohm * draw["servo.resistance_scale"][k]
        stiffness = 16.0 * draw["servo.kp_scale"][k] * 0.16489 * volt * kt / ohm
        torque = draw["servo.duty_max"][k] * volt * kt / ohm
        damping = servo.viscous_n_m_s * draw["servo.viscous_scale"][k] + kt**2 / ohm
        actuator, joint = model.actuator(name), model.joint(name)
        assert actuator.gainprm[0] == pytest.approx(stiffness)
        assert actuator.biasprm[1] == pytest.approx(-stiffness)
        assert actuator.forcerange == pytest.approx([-torque, torque])
        assert joint.damping[0] == pytest.approx(damping)
        assert joint.frictionloss[0] == pytest.approx(servo.coulomb_n_m * draw["servo.coulomb_scale"][k])
        assert joint.armature[0] == pytest.approx(servo.armature_kg_m2 * draw["servo.armature_scale"][k])
        play = draw["servo.play"][k]
        assert model.joint(f"{name}/play").range == pytest.approx([-play, play])
    assert model.actuator_delay[index.actuator].ravel() == pytest.approx(draw["servo.command_delay"][0])
    sensor = model.sensor(f"{index.names[0]}/q").id
    assert np.ravel(model.sensor_delay)[sensor] == pytest.approx(draw["sensing.delay"][0])


def test_servo_ranges_follow_the_rigs_servo(rig: Rig) -> None:
    scene = build_scene(rig, options=SceneOptions(servo=STS3215_12V, backlash=False))
    randomizer = standard(rig, scene)
    draw: Any = randomizer.draw(1)
    assert "servo.play" not in draw
    assert 12 * 6.8 / 7.4 <= draw["servo.voltage"][0] <= 12 * 7.8 / 7.4
    randomizer.apply(scene, draw)


def test_servos_of_two_voltages_have_two_supplies(rig: Rig) -> None:
    scene = build_scene(rig, options=SceneOptions(servos={"elbow_flex": STS3215_12V}))
    draw: Any = standard(rig, scene).draw(1)
    low, high = draw["servo.voltage"]
    assert 6.8 <= low <= 7.8 and 12 * 6.8 / 7.4 <= high <= 12 * 7.8 / 7.4
    drawn = drawn_servos(scene, draw)
    volts = [drawn[name].voltage_v for name in servo_index(scene).names]
    assert volts == [low, low, high, low, low, low]


def test_mass_inertia_and_derived_constants_stay_consistent(rig: Rig, scene: Scene) -> None:
    nominal = arrays(scene.model)
    randomizer = standard(rig, scene, cube_params(), groups=("dynamics",))
    draw: Any = randomizer.draw(4)
    randomizer.apply(scene, draw)
    model = scene.model
    moved = np.flatnonzero(model.body_mass != nominal["body_mass"])
    links = [b for b in moved if model.body(b).name.startswith("arm/")]
    ratio = model.body_mass[links] / nominal["body_mass"][links]
    assert ratio == pytest.approx(draw["dynamics.link_mass"])
    inertia = model.body_inertia[links] / nominal["body_inertia"][links]
    expected = ratio * draw["dynamics.link_inertia"]
    assert inertia == pytest.approx(np.repeat(expected[:, None], 3, axis=1))
    a, b, c = np.sort(model.body_inertia[links], axis=1).T
    assert (c <= a + b).all()  # a body with such an inertia exists
    assert model.body_subtreemass[0] == pytest.approx(model.body_mass.sum())  # mj_setConst ran
    assert model.geom("cube").rbound[0] == pytest.approx(math.sqrt(3) * draw["task.half"])
    assert np.linalg.norm(model.opt.gravity) == pytest.approx(9.81)
    assert abs(model.opt.gravity[0]) < 0.2 and model.opt.gravity[2] < -9.8


def test_cameras_move_within_their_ranges(rig: Rig, scene: Scene) -> None:
    nominal = arrays(scene.model)
    randomizer = standard(rig, scene, groups=("camera",))
    for seed in range(20):
        draw: Any = randomizer.draw(seed)
        randomizer.apply(scene, draw)
        for name, camera in scene.cameras.items():
            shift = np.abs(scene.model.cam_pos[camera] - nominal["cam_pos"][camera]).max()
            turn = 2 * math.degrees(
                math.acos(min(1.0, abs(scene.model.cam_quat[camera] @ nominal["cam_quat"][camera])))
            )
            assert 0 < shift <= 0.015
            assert 0 < turn <= 2 * math.sqrt(3) + 1e-6
            drawn = np.linalg.norm(np.degrees(draw[f"camera.{name}.rotation"]))
            assert turn == pytest.approx(drawn, rel=1e-3)
            assert scene.model.cam_fovy[camera] == pytest.approx(rig.cameras[name].fovy_deg, abs=2)


def test_camera_turns_about_its_own_axes(rig: Rig, scene: Scene) -> None:
    """A turn about y (down) makes the camera look to its right, as right-handed frames have it."""
    randomizer = standard(rig, scene, groups=("camera",))
    draw = randomizer.draw(1, width=0.0, fixed={"camera.front.rotation": [0.0, 0.03, 0.0]})
    data = mujoco.MjData(scene.model)
    mujoco.mj_kinematics(scene.model, data)
    mujoco.mj_camlight(scene.model, data)
    camera = scene.cameras["front"]
    before = data.cam_xmat[camera].reshape(3, 3).copy()
    randomizer.apply(scene, draw)
    mujoco.mj_kinematics(scene.model, data)
    mujoco.mj_camlight(scene.model, data)
    forward = -data.cam_xmat[camera].reshape(3, 3)[:, 2]
    assert forward @ before[:, 0] == pytest.approx(math.sin(0.03), rel=1e-3)
    assert forward @ before[:, 1] == pytest.approx(0.0, abs=1e-6)


def test_distractors_stay_out_of_the_workspace_and_touch_nothing(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene, groups=("scene",))
    shown = set()
    for seed in range(40):
        draw: Any = randomizer.draw(seed)
        randomizer.apply(scene, draw)
        data = mujoco.MjData(scene.model)
        mujoco.mj_forward(scene.model, data)
        visible = 0
        for k in range(4):
            geom = scene.model.geom(f"distractor_{k}")
            assert not geom.contype[0] and not geom.conaffinity[0]
            x, y, z = data.geom_xpos[geom.id]
            if z > 0:
                visible += 1
                assert abs(y) > 0.25 or x > 0.42
                assert z < 0.1
        assert visible == draw["scene.clutter_count"]
        shown.add(visible)
    assert shown == {0, 1, 2, 3, 4}


def test_batch_rows_are_the_models_that_apply_makes(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene, cube_params())
    randomizer.apply(scene, randomizer.draw(99))  # a batch must not inherit this
    batch = Batch(scene.model, 3, 1)
    draws = [randomizer.draw(seed) for seed in (1, 2, 3)]
    randomizer.apply_batch(scene, batch, draws)
    randomizer.apply_batch(scene, batch, [draws[2]], ids=[1])
    for row, draw in ((0, draws[0]), (1, draws[2]), (2, draws[2])):
        randomizer.apply(scene, draw)
        made = arrays(batch.get_model(row))
        assert differing(arrays(scene.model), made) == set(), row


def test_batch_steps_like_the_single_twin(rig: Rig, scene: Scene) -> None:
    randomizer = standard(rig, scene, cube_params(), groups=("dynamics", "servo", "sensing"))
    batch = Batch(scene.model, 2, 1)
    draws = [randomizer.draw(seed) for seed in (1, 2)]
    randomizer.apply_batch(scene, batch, draws)
    batch.reset()
    batch.ctrl = 0.3
    batch.step(nstep=200)
    for row, draw in enumerate(draws):
        randomizer.apply(scene, draw)
        data = mujoco.MjData(scene.model)
        data.ctrl[:] = 0.3
        mujoco.mj_step(scene.model, data, 200)
        np.testing.assert_allclose(batch.qpos[row], data.qpos, atol=1e-10)
    assert np.abs(batch.qpos[0] - batch.qpos[1]).max() > 1e-3
    with pytest.raises(UsageError, match="3 draws for 2"):
        randomizer.apply_batch(scene, batch, [*draws, draws[0]])


def test_two_arms_have_a_value_for_each(rig: Rig) -> None:
    left, right = (replace(rig.arms["arm"], base=Pose((0.0, y, 0.0))) for y in (0.2, -0.2))
    two = replace(
        rig,
        arms={"left": left, "right": right},
        grippers={name: GripperConfig(arm=name) for name in ("left", "right")},
        cameras={"front": rig.cameras["front"]},
    )
    scene = build_scene(two)
    randomizer = standard(two, scene)
    draw: Any = randomizer.draw(1)
    assert len(draw["servo.voltage"]) == len(draw["servo.command_delay"]) == 2
    assert len(draw["servo.kt_scale"]) == 12
    assert len(draw["sensing.encoder_bias"]) == 10
    randomizer.apply(scene, draw)
    for arm, delay in zip(("left", "right"), draw["servo.command_delay"], strict=True):
        for joint in ("shoulder_pan", "gripper"):
            actuator = scene.model.actuator(f"{arm}/{joint}").id
            assert np.ravel(scene.model.actuator_delay)[actuator] == pytest.approx(delay)


def test_the_documentation_lists_every_parameter(rig: Rig, scene: Scene) -> None:
    page = (Path(__file__).parents[2] / "docs" / "randomisation.md").read_text()
    for name in standard(rig, scene).names:
        first, _, rest = name.partition(".")
        listed = f"camera.<name>.{rest.partition('.')[2]}" if first == "camera" else name
        assert f"| `{listed}` |" in page, name
