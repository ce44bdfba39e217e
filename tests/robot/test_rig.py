"""The rig file: every mistake at once, limits that cannot be switched off, and what a rig knows of itself."""

import os
from dataclasses import fields, replace

import numpy as np
import pytest
from twinloop.robot.errors import RigError
from twinloop.robot.rig import ArmLimits, CameraConfig, GuardConfig, load_rig, parse_rig, rig_names
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin, TwinRobot


def plain(**changes) -> dict:
    """A sound rig as YAML gives it, with changed fields."""
    return {
        "name": "mine",
        "arms": {"arm": {"model": "so101"}},
        "grippers": {"gripper": {"arm": "arm"}},
        "cameras": {"front": {"width": 64, "height": 48}},
        **changes,
    }


def mistakes(**changes) -> list[str]:
    with pytest.raises(RigError) as caught:
        parse_rig(plain(**changes), "mine.yaml")
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("mine.yaml: ") and str(len(lines)) in head
    return [line.strip() for line in lines]


@pytest.mark.parametrize("name", rig_names())
def test_shipped_rigs_load_and_stand_in_the_twin(name):
    rig = load_rig(name)
    assert rig.name == name and rig.arms and (rig.cameras or rig.leader)
    with TwinRobot(Twin(build_scene(rig))) as robot:
        obs = robot.observe()
        assert list(obs.arms) == list(rig.arms) and list(obs.grippers) == list(rig.grippers)
    assert robot.ended_parked


def test_every_guard_field_has_a_range():
    """A field that somebody adds without one could be set to what switches it off."""
    for field in fields(GuardConfig):
        assert mistakes(guard={field.name: 10**9})[0].startswith(f"guard.{field.name}:")
    for field in fields(ArmLimits):
        found = mistakes(arms={"arm": {"model": "so101", "limits": {field.name: 1e9}}})
        assert found[0].startswith(f"arms.arm.limits.{field.name}:")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0, -1])
def test_no_limit_can_be_switched_off(value):
    for field in ("velocity_rad_s", "acceleration_rad_s2", "jerk_rad_s3", "torque_n_m"):
        limits = {field: [3.0, 3.0, value, 3.0, 3.0]}
        assert field in mistakes(arms={"arm": {"model": "so101", "limits": limits}})[0]
    for section, field in (("guard", "expiry_ms"), ("guard", "tracking_error_rad"), ("guard", "rate_hz")):
        assert field in mistakes(**{section: {field: value}})[0]


def test_tables_and_workspaces_that_hold_nothing_back():
    assert "clearance_m" in mistakes(table={"clearance_m": -1.0})[0]
    assert "clearance_m" in mistakes(table={"clearance_m": float("-inf")})[0]
    assert "workspace" in mistakes(workspace={"min_m": [-1, -1, -1], "max_m": [1, 1, float("inf")]})[0]
    assert "workspace" in mistakes(workspace={"min_m": [1, 1, 1], "max_m": [0, 2, 2]})[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e18])
def test_nothing_stands_nowhere(value):
    """Where a base is not a place, no distance is one either, and no plane holds anything back."""
    base = {"xyz_m": [value, 0, 0]}
    assert "arms.arm.base.xyz_m" in mistakes(arms={"arm": {"model": "so101", "base": base}})[0]
    assert "cameras.front.pose.xyz_m" in mistakes(cameras={"front": {"pose": base}})[0]


def test_limits_of_grippers_cannot_be_switched_off():
    for field in ("speed_m_s", "acceleration_m_s2", "jerk_m_s3", "force_n", "hold_n", "hold_after_s"):
        assert field in mistakes(grippers={"gripper": {"arm": "arm", field: 1e300}})[0]


def test_one_gripper_an_arm():
    assert "carries 'a' already" in mistakes(grippers={"a": {"arm": "arm"}, "b": {"arm": "arm"}})[0]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\narms: {arm: {model: so101}}\narms: {arm: {model: so101}}\n", "'arms' stands twice"),
        ("name: x\n1: x\n", "key '1' is not a text"),
        ("true: x\n", "is not a text"),
        ("[" * 20_000, "nested too deep"),
        ("name: 2020-99-99\n", "put texts in quotes"),
        (BOMB + "name: *j\n", "values once its aliases"),
        ("arms: &a {arm: *a}\n", "an alias that holds itself"),
        ("name: !!python/object:os.system x\n", "not valid YAML"),
        ("x" * 300_000, "larger than"),
    ],
    ids=["twice", "number", "true", "deep", "date", "bomb", "loop", "object", "large"],
)
def test_yaml_that_is_no_rig(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RigError, match=told) as caught:
        load_rig(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 400


def test_a_rig_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "mine.yaml")
    with pytest.raises(RigError, match="not a file"):
        load_rig(tmp_path / "mine.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(RigError, match="not a file"):
        load_rig(tmp_path / "folder.yaml")


@pytest.mark.parametrize("given", ["arms/left.json", "./arms/left.json"])
def test_a_calibration_lies_beside_its_rig(tmp_path, given, monkeypatch):
    (tmp_path / "rig.yaml").write_text(
        f"name: mine\ncontrol_hz: 30\narms: {{arm: {{model: so101, calibration: {given}}}}}\n"
    )
    monkeypatch.chdir("/")
    assert load_rig(tmp_path / "rig.yaml").arms["arm"].calibration == tmp_path / "arms/left.json"
    monkeypatch.chdir(tmp_path)
    assert load_rig("rig.yaml").arms["arm"].calibration == tmp_path / "arms/left.json"


def test_aliases_and_merges_are_welcome(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\narms:\n  left: &arm {model: so101, limits: {velocity_rad_s: 2.0}}\n"
        "  right: {<<: *arm, base: {xyz_m: [0, -0.4, 0]}}\n"
    )
    rig = load_rig(path)
    assert rig.arms["right"].limits == rig.arms["left"].limits


def test_mistakes_of_every_kind_at_once():
    found = mistakes(
        arms={"arm": {"model": "so110", "base": {"xyz": [0, 0, 0]}}},
        grippers={"gripper": {"arm": "amr", "force_n": "much"}},
        cameras={"front": {"width": 64, "height": 48, "mount": "arn"}},
        tabel={},
    )
    text = "\n".join(found)
    for part in (
        "'so110'; did you mean 'so101'",
        "xyz",
        "'amr'; did you mean 'arm'",
        "force_n",
        "'arn'",
        "tabel",
    ):
        assert part in text, text
    assert len(found) == 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "../../evil"}, "name: '../../evil' is no name"),
        ({"name": "a\nb"}, "is no name"),
        ({"name": "x" * 65}, "at most 64"),
        ({"cameras": {"fro/nt": {}}}, "cameras: 'fro/nt' is no name"),
        ({"cameras": None}, "cameras: is not a mapping of names"),
        ({"cameras": ["front"]}, "cameras: is not a mapping of names"),
        ({"workspace": {"min_m": [1, 1], "max_m": 3}}, r"min_m: Not enough values in \[1, 1\]\n"),
        ({"workspace": {"min_m": [0, 0, 0], "max_m": 3}}, "workspace.max_m: is not a list"),
    ],
)
def test_names_and_containers_that_are_none(change, told):
    with pytest.raises(RigError, match=told):
        parse_rig({"name": "x", "arms": {"arm": {"model": "so101"}}} | change, "mine.yaml")


@pytest.mark.parametrize("raw", [None, [], "so101", {"name": "x"}, {"name": "x", "arms": None}, {"arms": {}}])
def test_what_is_no_rig_at_all(raw):
    with pytest.raises(RigError):
        parse_rig(raw, "mine.yaml")


def test_hash_changes_with_what_matters_and_not_with_ports():
    rig = load_rig("so101")
    arm = rig.arms["arm"]
    assert rig.hash() == load_rig("so101").hash()
    assert rig.hash() == replace(rig, arms={"arm": replace(arm, port="/dev/ttyACM3")}).hash()
    front = replace(rig.cameras["front"], width=320, height=240, device="/dev/video2")
    assert rig.hash() == replace(rig, cameras={**rig.cameras, "front": front}).hash()
    assert rig.hash() != replace(rig, control_hz=50.0).hash()
    assert rig.hash() != replace(rig, arms={"arm": replace(arm, limits=ArmLimits(velocity_rad_s=1.0))}).hash()
    assert rig.hash() != replace(rig, cameras={"front": CameraConfig(mount="arm")}).hash()


def test_limits_per_joint_and_the_margin_of_the_range():
    limits = {"velocity_rad_s": [1.0, 2.0, 3.0, 4.0, 5.0], "position_margin_rad": 0.1}
    wide = parse_rig(plain(), "mine.yaml").joint_spec("arm")
    spec = parse_rig(plain(arms={"arm": {"model": "so101", "limits": limits}}), "mine.yaml").joint_spec("arm")
    assert np.array_equal(spec.dq_max, [1, 2, 3, 4, 5])
    assert np.allclose(spec.q_min, wide.q_min + 0.08) and np.allclose(spec.q_max, wide.q_max - 0.08)


def test_names_of_the_state_vector():
    assert load_rig("so101").state_names()[-2:] == ("wrist_roll.pos", "gripper.pos")
    two = load_rig("so101_bimanual").state_names()
    assert len(two) == len(set(two)) == 12
    assert two[0] == "left.shoulder_pan.pos" and two[-2:] == ("left_gripper.pos", "right_gripper.pos")
