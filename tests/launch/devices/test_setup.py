"""`twinloop setup-devices` as a person meets it, with two emulated arms and videos for cameras."""

import json
import os

import pytest
import yaml
from twinloop.robot.lerobot_units import motor_names
from twinloop.robot.machine import load_local_rig
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.process import EmulatorProcess
from typist import Typist
from videos import video

pytestmark = pytest.mark.slow
RIG = "so101_bimanual"


@pytest.fixture(scope="module")
def emulator():
    with EmulatorProcess(load_rig(RIG)) as made:
        yield made


@pytest.fixture
def person(tmp_path, emulator):
    """Starts `twinloop setup-devices` for the emulated rig; the arms' ports are found in the emulator's folder."""
    started = []

    def start(*options, look_in=emulator.folder, rig=RIG):
        command = ("setup-devices", "--rig", rig, "--look-in", look_in, *options)
        started.append(Typist(*command, XDG_CONFIG_HOME=str(tmp_path), HF_HOME=str(tmp_path / "hf")))
        return started[-1]

    yield start
    for typist in started:
        typist.close()


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_arms_are_told_apart_by_hand_and_by_plug_and_ctrl_c_keeps_what_was_found(person, emulator):
    first, second = emulator.paths
    typist = person()
    said = typist.waits_for("which [w]: ")
    assert f"'{first}'" in said and all(path in said for path in emulator.paths.values())
    typist.types()
    typist.waits_for("move a joint")
    emulator.push(first, 1, 0.8)
    assert emulator.paths[first] in typist.waits_for(f"that is arm '{first}'")
    emulator.push(first, 1, 0.0)
    typist.waits_for("6 of 6 servos answer")
    typist.waits_for("[none]: ")
    typist.types()
    assert f"(now arm '{first}')" in typist.waits_for("which [")  # the other one is left
    typist.interrupts()
    assert typist.ends() == 130
    local = load_local_rig(RIG)
    assert [arm.port for arm in local.rig.arms.values()] == [emulator.paths[first], None]

    typist = person()
    typist.waits_for("which [")
    typist.types()  # the one that the file has
    typist.waits_for("[none]: ")
    typist.types()
    typist.waits_for("which [")
    typist.types("u")
    typist.waits_for("pull the plug")
    emulator.unplug(second)
    assert emulator.paths[second] in typist.waits_for("plug it in again")
    emulator.plug(second)
    typist.waits_for("it is back")
    typist.waits_for("[none]: ")
    typist.types()
    for _ in local.rig.cameras:
        typist.waits_for("which [")
        typist.types("s")
    assert typist.ends() == 1 and "left out: camera" in typist.said
    ports = [arm.port for arm in load_local_rig(RIG).rig.arms.values()]
    assert ports == list(emulator.paths.values())


def test_a_torque_that_is_on_is_left_on_and_its_port_left_out(person, emulator):
    from twinloop.robot.buses import Bus, FeetechFraming, SerialPort
    from twinloop.robot.clock import RealClock

    first, second = emulator.paths
    clock = RealClock()
    bus = Bus(SerialPort(emulator.paths[first], 1_000_000, clock), FeetechFraming(), clock, 1_000_000)
    bus.open()
    bus.write(3, 40, b"\1")
    bus.close()
    typist = person()
    typist.waits_for("which [w]: ")
    typist.types()
    assert "servo 3 has its torque on" in typist.waits_for("move a joint")
    emulator.push(second, 2, 2.0)
    typist.waits_for("that is arm")
    emulator.push(second, 2, 0.0)
    typist.waits_for("[none]: ")
    typist.interrupts()
    assert typist.ends() == 130
    assert load_local_rig(RIG).rig.arms[first].port == emulator.paths[second]
    bus.open()
    assert bus.read(3, 40, 1) == b"\1"
    bus.write(3, 40, b"\0")
    bus.close()


def test_nothing_is_guessed_without_a_person(person, emulator, tmp_path):
    typist = person("--yes")
    assert typist.ends() == 2
    assert "2 ports, and nothing tells which; name it: --port" in typist.said
    assert not os.listdir(tmp_path)
    first, second = emulator.paths
    ports = [f"--port={arm}={emulator.paths[arm]}" for arm in (second, first)]
    typist = person("--yes", *ports)
    assert typist.ends() == 1 and "left out: camera" in typist.said  # there are no cameras
    assert [arm.port for arm in load_local_rig(RIG).rig.arms.values()] == list(emulator.paths.values())


def lerobots_file(folder, name, offset):
    folder = folder / "hf/lerobot/calibration/robots/so101_follower"
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model("so101")
    content = {
        motor: {"id": k, "drive_mode": 0, "homing_offset": offset, "range_min": 100, "range_max": 4000}
        for k, motor in enumerate(motor_names(model), 1)
    }
    (folder / name).write_text(json.dumps(content))
    return folder / name


def test_lerobots_calibration_is_offered_to_the_arm_whose_servos_remember_it(person, emulator, tmp_path):
    lerobots_file(tmp_path, "another.json", 300)
    mine = [lerobots_file(tmp_path, f"mine_{k}.json", 0) for k in range(2)]
    ports = [f"--port={arm}={path}" for arm, path in emulator.paths.items()]
    typist = person("--yes", *ports)
    assert typist.ends() == 1
    assert [arm.calibration for arm in load_local_rig(RIG).rig.arms.values()] == mine
    first = next(iter(emulator.paths))
    typist = person(*ports, "--calibration", f"{first}={tmp_path}/none.json")
    assert typist.ends() == 2 and f"{tmp_path}/none.json: cannot read the calibration file" in typist.said
    typist = person(*ports)
    typist.waits_for(f"[{mine[0]}]: ")
    typist.types(tmp_path / "hf/lerobot/calibration/robots/so101_follower/another.json")
    typist.waits_for("another arm's, or an old one; offsets: shoulder_pan 0 in the servo, 300 in the file")
    typist.waits_for("take it all the same? (y/n) [n]: ")
    typist.types()
    typist.waits_for("[none]: ")
    typist.interrupts()
    assert typist.ends() == 130
    assert [arm.calibration for arm in load_local_rig(RIG).rig.arms.values()] == mine


def test_an_input_that_ends_is_one_line_and_writes_nothing(person, tmp_path):
    for rig, asked in (
        (RIG, "servos): which port?"),
        ("ur5e", "address of its control box (s: leave it out)"),
    ):
        typist = person(rig=rig)
        typist.process.stdin.close()
        typist.process.stdin = None
        assert typist.ends() == 2 and not os.listdir(tmp_path)
        prompt, last = typist.said.rstrip().splitlines()[-2:]
        assert prompt.endswith("]: ") and last.startswith("twinloop: error: the input ended at \"arm '")
        assert f'{asked}"; what was found so far is kept, --yes takes the defaults' in last


def test_where_nothing_is_plugged_in_nothing_is_written(person, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    typist = person("--yes", look_in=empty, rig="so101")
    assert typist.ends() == 1
    assert "nothing was found: no so101.machine.yaml is written" in typist.said and "{}" not in typist.said
    assert os.listdir(tmp_path) == ["empty"]


def test_cameras_are_told_apart_by_their_lens_and_by_pictures(person, tmp_path):
    folder = tmp_path / "cameras"
    folder.mkdir()
    video(folder / "one.mp4", [120] * 60)
    video(folder / "two.mp4", [120] * 40 + [2] * 20)  # somebody's hand after a second
    rig = tmp_path / "cell.yaml"
    camera = {"width": 64, "height": 48}
    arms = {"arm": {"model": "so101", "port": "/dev/none"}}
    rig.write_text(
        yaml.safe_dump({"name": "cell", "arms": arms, "cameras": {"front": camera, "wrist": camera}})
    )
    typist = person(look_in=folder, rig=rig)
    assert "no serial port is plugged in" in typist.waits_for("which [n]: ")
    typist.types("s")
    said = typist.waits_for("which [c]: ")
    assert "camera 'front'" in said and str(folder / "one.mp4") in said
    typist.types("p")
    for name in ("1.png", "2.png"):
        assert name in typist.waits_for(".png")
    typist.waits_for("which [c]: ")
    typist.types()
    assert "two.mp4 went dark" in typist.waits_for("that is camera 'front'")
    typist.waits_for("which [1]: ")
    typist.types()
    assert typist.ends() == 0
    cameras = load_local_rig(rig).rig.cameras
    assert [camera.device for camera in cameras.values()] == [
        str(folder / "two.mp4"),
        str(folder / "one.mp4"),
    ]
    assert yaml.safe_load((tmp_path / "cell.machine.yaml").read_text())["cameras"]["wrist"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--port", "lefft=/dev/x"], "--port lefft=/dev/x: nothing is called 'lefft'; did you mean 'left'"),
        (["--port", "/dev/x"], "--port /dev/x: write NAME=VALUE; names: left, right"),
        (["--port", "left=/dev/null", "--yes"], "--port left=/dev/null: not a serial port"),
        (["--port", "left=/dev/ttyNOPE", "--yes"], "--port left=/dev/ttyNOPE: not there"),
        (["--ids"], "--ids: of which arm? add --arm, one of: left, right"),
        (["--ids", "--arm", "left", "--yes"], "--ids --yes: a person has to connect"),
    ],
)
def test_mistakes_are_one_line(person, options, wrong):
    typist = person(*options)
    assert typist.ends() == 2 and wrong in typist.said
