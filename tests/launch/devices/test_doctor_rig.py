"""`twinloop doctor --rig` in front of an emulated arm and videos for cameras."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from twinloop.launch.devices.camera_checks import look_check
from twinloop.launch.devices.camera_probe import Look, look_through
from twinloop.launch.doctor import examine_rig
from twinloop.robot.errors import DeviceError
from twinloop.robot.machine import ArmPlace, CameraPlace, Machine, load_local_rig, placed, save_machine
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.process import EmulatorProcess
from typist import Typist
from videos import video

HOLD = "import sys, serial; s = serial.Serial(sys.argv[1]); print('open', flush=True); sys.stdin.read()"


@pytest.fixture(scope="module")
def emulator():
    with EmulatorProcess(load_rig("so101")) as made:
        yield made


@pytest.fixture
def cell(tmp_path, emulator):
    """A rig of a user's own, whose machine file names the emulated arm and two videos."""
    path = tmp_path / "cell.yaml"
    camera = {"width": 64, "height": 48}
    content = {"name": "cell", "arms": {"arm": {"model": "so101"}}, "grippers": {"gripper": {"arm": "arm"}}}
    path.write_text(yaml.safe_dump({**content, "cameras": {"front": camera, "wrist": camera}}))
    one, two = (str(video(tmp_path / f"{name}.mp4", [120] * 45)) for name in ("one", "two"))
    cameras = {"front": CameraPlace(one), "wrist": CameraPlace(two)}
    places = Machine({"arm": ArmPlace(emulator.paths["arm"])}, cameras)
    save_machine(tmp_path / "cell.machine.yaml", places, load_rig(path))
    return path


def run(cell, *options):
    typist = Typist("doctor", "--rig", cell, *options, MUJOCO_GL="egl")
    return typist.ends(), typist.said


@pytest.mark.slow
def test_a_user_sees_every_device_and_who_named_it(cell, emulator):
    code, said = run(cell, "--json")
    found = {check["name"]: check for check in json.loads(said)}
    assert code == 0 and "rendering" in found
    file = cell.with_name("cell.machine.yaml")
    assert found["machine file"]["detail"] == str(file)
    assert found["arm port"]["detail"].startswith(f"{emulator.paths['arm']} (from {file}) -> /dev/pts/")
    servos = [check for name, check in found.items() if name.startswith("arm servo")]
    assert len(servos) == 6 and all("STS3215 firmware 3.10" in check["detail"] for check in servos)
    assert found["arm calibration"]["status"] == "warn"
    for camera, name in (("front", "one"), ("wrist", "two")):  # the rate is the machine's own affair
        check = found[f"{camera} camera"]
        assert check["status"] != "fail" and f"{name}.mp4 (from {file}): 64x48 at " in check["detail"]


@pytest.mark.slow
def test_dead_servos_and_the_table_end_in_what_to_do(cell, emulator):
    emulator.faults("arm", dead={5, 6})
    try:
        found = {check.name: check for check in examine_rig(load_local_rig(cell), str(cell))}
    finally:
        emulator.faults("arm", dead=set())
    assert found["arm servo 4 wrist_flex"].status == "ok"
    assert found["arm servo 6 gripper"].fix == "check the cable behind servo 4 (wrist_flex)"


@pytest.mark.slow
def test_a_bus_that_another_process_owns_is_left_alone(cell, emulator):
    path = emulator.paths["arm"]
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert owner.stdout.readline() == b"open\n"
        local = load_local_rig(cell)
        local = replace(local, rig=replace(local.rig, cameras={}))
        found = {check.name: check for check in examine_rig(local, str(cell))}
    finally:
        owner.communicate()
    assert f"in use by process {owner.pid}" in found["arm port"].detail
    assert not [name for name in found if "servo" in name]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--port", "arm=/dev/x"], "--port: of which rig? add --rig"),
        (["--rig", "so101", "--port", "arn=x"], "--port arn=x: nothing is called 'arn'; did you mean 'arm'?"),
        (["--rig", "so110"], "unknown rig 'so110'; did you mean 'so101'"),
    ],
)
def test_mistakes_are_one_line_and_told_before_the_checks(options, wrong):
    typist = Typist("doctor", *options)
    assert typist.ends() == 2 and wrong in typist.said and len(typist.said.splitlines()) == 1


def test_nothing_plugged_in_names_the_command(tmp_path):
    found = examine_rig(placed(load_rig("so101"), Machine(), tmp_path / "none", {}), "so101")
    named = {check.name: check for check in found}
    assert (
        named["arm port"].status == "fail" and named["arm port"].fix == "twinloop setup-devices --rig so101"
    )
    assert named["front camera"].status == "fail" and "no device named" in named["front camera"].detail
    same = {"arms": {"a": {"model": "so101", "port": "/dev/x"}, "b": {"model": "so101", "port": "/dev/x"}}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"name": "two", **same}))
    twice = {check.name: check for check in examine_rig(load_local_rig(tmp_path / "two.yaml"), "two")}
    assert twice["ports"].detail == "a and b have the same port /dev/x"


GOOD = Look(640, 480, 33, 30.0, 120.0, True)


@pytest.mark.parametrize(
    ("look", "usb", "status", "words"),
    [
        (GOOD, 5000, "ok", "640x480 at 30.0 Hz, brightness 120, USB 3 (5000 Mbit/s)"),
        (replace(GOOD, brightness=2.0), None, "warn", "dark"),
        (replace(GOOD, changed=False), None, "warn", "every picture is the same"),
        (replace(GOOD, rate_hz=15.0), 480, "warn", "15.0 Hz, brightness 120, USB 2 (480 Mbit/s); the rig wants 30 Hz"),
        (replace(GOOD, width=320, height=240), None, "warn", "320x240 at 30.0 Hz, brightness 120; the rig wants 640x"),
    ],
)  # fmt: skip
def test_what_pictures_say(tmp_path, look, usb, status, words):
    local = placed(load_rig("so101"), Machine(), tmp_path / "none", {})
    check = look_check(local, "front", "x", usb, look)
    assert check.status == status and words in check.detail and bool(check.fix) == (status != "ok")


def test_a_camera_is_looked_through_in_a_process_of_its_own(cell, tmp_path):
    rig = load_local_rig(cell).rig
    video(tmp_path / "still.mp4", [120] * 45, size=(128, 96), moving=False)
    camera = replace(rig.cameras["front"], device=str(tmp_path / "still.mp4"))
    look = look_through(replace(rig, cameras={"front": camera}), "front")
    assert (look.width, look.height, look.changed) == (128, 96, False)
    assert look.brightness == pytest.approx(120, abs=4) and look.rate_hz > 0
    camera = replace(camera, device="/nowhere.mp4")
    with pytest.raises(DeviceError, match="camera front: no file /nowhere.mp4"):
        look_through(replace(rig, cameras={"front": camera}), "front")
