"""LeRobot's units: against its own formulae written down independently, round trips, files with mistakes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twinloop.robot.errors import RigError, UsageError
from twinloop.robot.kinematics import Kinematics
from twinloop.robot.lerobot_units import LeRobotUnits, motor_names, read_calibration
from twinloop.robot.models import load_model

SO101 = load_model("so101")
NAMES = motor_names(SO101)
FEATURES = [f"{name}.pos" for name in NAMES]
LOW, HIGH = SO101.joint_ranges()
TICK = 2 * np.pi / 4096

# As `lerobot-calibrate` writes it for a follower; every number is within what STS3215 arms show.
FILE = {
    "shoulder_pan": {"id": 1, "drive_mode": 0, "homing_offset": -1470, "range_min": 758, "range_max": 3292},
    "shoulder_lift": {"id": 2, "drive_mode": 0, "homing_offset": 1031, "range_min": 870, "range_max": 3188},
    "elbow_flex": {"id": 3, "drive_mode": 0, "homing_offset": 1242, "range_min": 892, "range_max": 3097},
    "wrist_flex": {"id": 4, "drive_mode": 1, "homing_offset": -307, "range_min": 881, "range_max": 3168},
    "wrist_roll": {"id": 5, "drive_mode": 0, "homing_offset": 60, "range_min": 0, "range_max": 4095},
    "gripper": {"id": 6, "drive_mode": 0, "homing_offset": 1407, "range_min": 2031, "range_max": 3476},
}


@pytest.fixture()
def file(tmp_path) -> Path:
    path = tmp_path / "follower.json"
    path.write_text(json.dumps(FILE, indent=4))
    return path


def lerobot_value(motor: str, ticks: float, mode: str) -> float:
    """What LeRobot 0.6 makes of an encoder reading of a Feetech motor."""
    entry = FILE[motor]
    low, high, flip = entry["range_min"], entry["range_max"], entry["drive_mode"]
    if motor == "gripper":
        share = (ticks - low) / (high - low) * 100
        return 100 - share if flip else share
    if mode == "degrees":
        return (ticks - (low + high) / 2) * 360 / 4095
    share = (ticks - low) / (high - low) * 200 - 100
    return -share if flip else share


@pytest.mark.parametrize("mode", ["range_m100_100", "degrees"])
def test_an_encoder_reading_becomes_the_angle_that_the_joint_has(file, mode):
    units = LeRobotUnits.from_file(file, SO101, mode)
    for motor in NAMES:
        entry = FILE[motor]
        for ticks in (entry["range_min"], entry["range_min"] + 700, entry["range_max"]):
            angle = units.to_rad([lerobot_value(motor, ticks, mode)], [motor])[0]
            if motor == "gripper":
                expected = SO101.gripper_range()[0] + (ticks - entry["range_min"]) * TICK
            else:
                k = SO101.joints.index(motor)
                sign = -1 if entry["drive_mode"] else 1
                middle = (entry["range_min"] + entry["range_max"]) / 2
                expected = (LOW[k] + HIGH[k]) / 2 + sign * (ticks - middle) * TICK
            assert angle == pytest.approx(expected, abs=1e-12), (motor, ticks)


@pytest.mark.parametrize("mode", ["range_m100_100", "degrees"])
def test_zero_is_the_middle_of_the_range(file, mode):
    for units in (LeRobotUnits.from_file(file, SO101, mode), LeRobotUnits.nominal(SO101, mode)):
        angles = units.to_rad(np.zeros(6), NAMES)
        assert angles[:4] == pytest.approx(np.zeros(4), abs=1e-9)
        assert angles[4] == pytest.approx(0.0486795)  # wrist_roll: the gripper is level
        assert angles[5] == pytest.approx(-0.174533)  # gripper: shut


def test_without_a_file_the_ends_are_those_of_the_description():
    units = LeRobotUnits.nominal(SO101)
    assert units.to_rad([-100] * 5, SO101.joints) == pytest.approx(LOW)
    assert units.to_rad([100] * 5, SO101.joints) == pytest.approx(HIGH)
    assert units.to_rad([0, 100], ["gripper.pos", "gripper.pos"]) == pytest.approx(SO101.gripper_range())
    degrees = LeRobotUnits.nominal(SO101, "degrees")
    assert degrees.to_rad([90.0], ["elbow_flex"])[0] == pytest.approx(np.pi / 2)


@given(
    st.lists(st.floats(-100, 100), min_size=5, max_size=5), st.floats(0, 100), st.booleans(), st.booleans()
)
def test_round_trip(tmp_path_factory, joints, grip, degrees, calibrated):
    mode = "degrees" if degrees else "range_m100_100"
    units = LeRobotUnits.nominal(SO101, mode)
    if calibrated:
        path = tmp_path_factory.mktemp("units") / "arm.json"
        path.write_text(json.dumps(FILE))
        units = LeRobotUnits.from_file(path, SO101, mode)
    values = np.array([[*joints, grip]])
    assert units.from_rad(units.to_rad(values, FEATURES), FEATURES) == pytest.approx(values, abs=1e-9)


def test_si_gives_the_width_between_the_pads():
    units = LeRobotUnits.nominal(SO101)
    values = np.array([[0, 0, 0, 0, 0, 20.0], [10, 20, 30, 40, 50, 60.0]])
    si = units.to_si(values, FEATURES)
    assert si[:, :5] == pytest.approx(units.to_rad(values, FEATURES)[:, :5])
    assert si[:, 5] == pytest.approx(SO101.angle_to_width(units.to_rad(values, FEATURES)[:, 5]))
    assert (si[:, 5] > 0).all() and units.from_si(si, FEATURES) == pytest.approx(values, abs=1e-9)


def test_names_choose_columns_in_any_order():
    units = LeRobotUnits.nominal(SO101)
    values = np.array([5.0, 10, 15, 20, 25, 30])
    back = units.to_rad(values[::-1], FEATURES[::-1])[::-1]
    assert np.array_equal(back, units.to_rad(values, FEATURES))


def test_the_source_says_which_map_was_used(file):
    assert str(file) in LeRobotUnits.from_file(file, SO101).source
    assert "no calibration file" in LeRobotUnits.nominal(SO101, "degrees").source


# --- mistakes -------------------------------------------------------------------------------------------


def write(tmp_path, change) -> Path:
    entries = json.loads(json.dumps(FILE))
    change(entries)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(entries))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("elbow_flex"), "motor 'elbow_flex' is missing"),
        (lambda e: e.update(elbow={}), "unknown motor 'elbow'.*did you mean 'elbow_flex'"),
        (lambda e: e["wrist_roll"].pop("range_max"), "motor 'wrist_roll', field range_max is missing"),
        (lambda e: e["gripper"].update(range_min=-3), "motor 'gripper', field range_min: -3.*0..4095"),
        (lambda e: e["gripper"].update(drive_mode=2), "motor 'gripper', field drive_mode: 2.*0 nor 1"),
        (lambda e: e["gripper"].update(range_min="a"), "field range_min: 'a' is not a whole number"),
        (lambda e: e["shoulder_pan"].update(range_min=3500), "range_min: 3500 is not below range_max 3292"),
        (lambda e: e["shoulder_pan"].update(offset=1), "motor 'shoulder_pan', unknown field 'offset'"),
        (lambda e: e.update(gripper=5), "motor 'gripper': 5 is not a mapping"),
        (lambda e: e["gripper"].update(id=-1), "motor 'gripper', field id: -1 is not within 1..252"),
        (lambda e: e["elbow_flex"].update(id=2), "'elbow_flex', field id: 2 is that of 'shoulder_lift'"),
        (lambda e: [v.update(id=9) for v in e.values()], "'gripper', field id: 9 stands at another motor"),
        (lambda e: e["gripper"].update(homing_offset=999999), "field homing_offset: 999999 is not within"),
        (lambda e: e["gripper"].update(range_min=2047, range_max=2048), "1 ticks above range_min"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, change, message):
    path = write(tmp_path, change)
    with pytest.raises(RigError, match=f"broken.json(.|\n)*{message}"):
        read_calibration(path, SO101)


def test_all_mistakes_at_once(tmp_path):
    def change(entries):
        entries.pop("elbow_flex")
        entries["gripper"]["drive_mode"] = "x"

    with pytest.raises(RigError, match="2 mistakes"):
        read_calibration(write(tmp_path, change), SO101)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(RigError, match="nowhere.json.*cannot read"):
        read_calibration(tmp_path / "nowhere.json", SO101)
    (tmp_path / "bad.json").write_text("{,")
    with pytest.raises(RigError, match="bad.json: not valid JSON"):
        read_calibration(tmp_path / "bad.json", SO101)
    (tmp_path / "twice.json").write_text('{"gripper": {"id": 6, "id": 5}}')
    with pytest.raises(RigError, match="twice.json: not valid JSON: 'id' stands there twice"):
        read_calibration(tmp_path / "twice.json", SO101)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(RigError, match="deep.json: not valid JSON"):
        read_calibration(tmp_path / "deep.json", SO101)
    (tmp_path / "old.json").write_text(json.dumps({"motor_names": ["shoulder_pan"], "homing_offset": [0]}))
    with pytest.raises(RigError, match="calibrate again"):
        read_calibration(tmp_path / "old.json", SO101)


def test_mistakes_of_the_caller_are_named():
    units = LeRobotUnits.nominal(SO101)
    with pytest.raises(UsageError, match="no motor 'elbo'.*did you mean 'elbow_flex'"):
        units.to_rad([0.0], ["elbo.pos"])
    with pytest.raises(UsageError, match=r"shape \(2,\) do not fit 1 names"):
        units.to_rad([0.0, 1.0], ["gripper"])
    with pytest.raises(UsageError, match="'radians'.*degrees, range_m100_100"):
        LeRobotUnits.nominal(SO101, "radians")  # pyright: ignore[reportArgumentType]


# --- a real recording -----------------------------------------------------------------------------------


def test_a_real_teleoperated_recording_stands_on_the_table():
    """Pick and place by a real SO-101: with the default map the grasp point goes down to the table, not below
    by more than its unknown ranges explain, while the hand points down and the jaw closes sideways."""
    parquet = pytest.importorskip("pyarrow.parquet")
    here = Path(os.environ.get("TWINLOOP_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = here / "so101_teleop_v3" / "data" / "chunk-000" / "file-000.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not there; set TWINLOOP_DATA to the folder with so101_teleop_v3")
    state = np.array(parquet.read_table(path)["observation.state"].to_pylist(), dtype=np.float64)
    si = LeRobotUnits.nominal(SO101).to_si(state, FEATURES)
    assert (si[:, :5] >= LOW - 1e-9).all() and (si[:, :5] <= HIGH + 1e-9).all()
    assert si[:, 5].min() > -1e-3 and si[:, 5].max() < SO101.gripper_width_max_m
    kinematics = Kinematics(SO101)
    poses = [kinematics.fk(q, "grasp") for q in si[::5, :5]]
    heights = np.array([p[2] for p, _ in poses])
    assert -0.03 < heights.min() < 0.02 and heights.max() < 0.25
    lowest = poses[int(heights.argmin())][1]
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, lowest)
    approach, closing = turn.reshape(3, 3)[:, 0], turn.reshape(3, 3)[:, 1]
    assert approach[2] < -0.9 and abs(closing[1]) > 0.9
