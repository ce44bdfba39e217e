"""The machine file: where it lies, what may stand in it, and what it changes of a rig."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from twinloop.robot.errors import RigError
from twinloop.robot.machine import (
    ArmPlace,
    CameraPlace,
    Machine,
    load_local_rig,
    load_machine,
    machine_path,
    machine_text,
    save_machine,
)
from twinloop.robot.rig import load_rig

SO101 = load_rig("so101")
FULL = Machine(
    {"arm": ArmPlace("/dev/serial/by-id/usb-one", "arm.json")},
    {"front": CameraPlace("/dev/v4l/by-id/a"), "wrist": CameraPlace("2")},
)


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def mistakes(tmp_path, text, rig=SO101):
    file = tmp_path / "x.machine.yaml"
    file.write_text(text)
    with pytest.raises(RigError) as caught:
        load_machine(file, rig)
    head, *lines = str(caught.value).splitlines()
    assert head.startswith(f"{file}: {len(lines)} mistake")
    return [line.strip() for line in lines]


def own_rig(folder: Path, **arm) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "cell.yaml"
    path.write_text(yaml.safe_dump({"name": "cell", "arms": {"arm": {"model": "so101", **arm}}}))
    return path


def test_a_shipped_rigs_file_is_the_users_and_an_own_rigs_lies_beside_it(config, monkeypatch, tmp_path):
    assert machine_path("so101") == config / "twinloop" / "so101.machine.yaml"
    assert machine_path(tmp_path / "cell.yaml") == tmp_path / "cell.machine.yaml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert machine_path("so101") == tmp_path / ".config/twinloop/so101.machine.yaml"


def test_what_is_saved_is_loaded_again_and_says_where_it_comes_from():
    path = machine_path("so101")
    assert load_local_rig("so101").rig == SO101  # there is none yet
    save_machine(path, FULL, SO101)
    assert load_machine(path, SO101) == FULL
    local = load_local_rig("so101")
    assert local.rig.arms["arm"].port == "/dev/serial/by-id/usb-one"
    assert local.rig.arms["arm"].calibration == path.parent / "arm.json"
    assert [camera.device for camera in local.rig.cameras.values()] == ["/dev/v4l/by-id/a", "2"]
    assert local.lines() == [f"arm: port /dev/serial/by-id/usb-one (from {path})"]
    assert local.rig.hash() == SO101.hash()
    assert os.listdir(path.parent) == [path.name]


def test_the_command_line_goes_before_the_machine_and_the_machine_before_the_rig(tmp_path):
    rig = own_rig(tmp_path / "a", port="/dev/ttyACM7")
    local = load_local_rig(rig)
    assert local.lines() == ["arm: port /dev/ttyACM7"]
    (tmp_path / "a" / "cell.machine.yaml").write_text("arms: {arm: {port: /dev/ttyUSB0}}")
    assert load_local_rig(rig).lines() == [f"arm: port /dev/ttyUSB0 (from {tmp_path}/a/cell.machine.yaml)"]
    local = load_local_rig(rig, {"arm": "/dev/pts/4"})
    assert local.lines() == ["arm: port /dev/pts/4 (from --port)"]
    with pytest.raises(RigError, match="--port amr: no arm is called 'amr'; did you mean 'arm'"):
        load_local_rig(rig, {"amr": "x"})


def test_a_rig_that_is_moved_takes_its_machine_file_along(tmp_path):
    own_rig(tmp_path / "a")
    (tmp_path / "a" / "cell.machine.yaml").write_text("arms: {arm: {calibration: arm.json}}")
    shutil.move(tmp_path / "a", tmp_path / "b")
    local = load_local_rig(tmp_path / "b" / "cell.yaml")
    assert local.rig.arms["arm"].calibration == tmp_path / "b" / "arm.json"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("arms: {amr: {port: x}}", "arms.amr: the rig 'so101' has no arm of that name; did you mean 'arm'?"),
        ("arms: {arm: {prot: x}}", "arms.arm.prot: unknown field; did you mean 'port'? valid: calibration, port"),
        ("arm: {}", "arm: unknown field; did you mean 'arms'? valid: arms, cameras"),
        ("arms: {arm: /dev/x}", "arms.arm: '/dev/x' is not a mapping with the fields port, calibration"),
        ("arms: [arm]", "arms: ['arm'] is not a mapping of the rig's arms; valid: arm"),
        ("arms: {arm: {port: 3}}", "arms.arm.port: 3 is not a text; put it in quotes"),
        ("arms: {arm: {port: ''}}", "arms.arm.port: '' is not a text"),
        ("cameras: {front: {serial: '1'}}", "cameras.front.serial: a camera of kind 'opencv' is chosen by its device"),
        ("cameras: {front: {device: a}, wrist: {device: a}}", "cameras.wrist.device: 'a' is cameras.front's already"),
        ("- 1", "a machine file is a mapping of fields; valid: arms, cameras"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, text, wrong):
    assert mistakes(tmp_path, text)[0].startswith(wrong)


def test_a_realsense_is_chosen_by_its_serial(tmp_path):
    rig = load_rig("so101_realsense")
    assert "chosen by its serial" in mistakes(tmp_path, "cameras: {front: {device: '0'}}", rig)[0]
    save_machine(tmp_path / "y", Machine({}, {"front": CameraPlace(serial="218622270000")}), rig)
    assert load_machine(tmp_path / "y", rig).cameras["front"].serial == "218622270000"


@pytest.mark.parametrize("text", ["arms: {", "arms: {arm: {port: a, port: b}}", "\x00", "a: &x [*x]", "é: 1"])
def test_what_is_no_yaml_is_one_error(tmp_path, text):
    file = tmp_path / "x.machine.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(RigError, match=str(file)):
        load_machine(file, SO101)


def test_an_empty_file_says_nothing(tmp_path):
    for text in ("", "arms:\n", "{}", machine_text(Machine(), SO101)):
        (tmp_path / "x").write_text(text)
        assert load_machine(tmp_path / "x", SO101) == Machine()


def test_nothing_is_written_that_would_not_load_and_the_old_file_stays(tmp_path):
    file = tmp_path / "so101.machine.yaml"
    save_machine(file, FULL, SO101)
    before = file.read_text()
    twice = Machine({}, {"front": CameraPlace("a"), "wrist": CameraPlace("a")})
    with pytest.raises(RigError, match="not written"):
        save_machine(file, twice, SO101)
    assert file.read_text() == before and os.listdir(tmp_path) == [file.name]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RigError, match="cannot write the machine file"):
        save_machine(tmp_path / "file" / "so101.machine.yaml", FULL, SO101)


def test_a_disk_that_fills_up_leaves_the_old_file_whole(tmp_path, monkeypatch):
    file = tmp_path / "so101.machine.yaml"
    save_machine(file, FULL, SO101)
    before = file.read_text()
    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(RigError, match="No space left on device"):
                save_machine(file, Machine(), SO101)
        assert file.read_text() == before and os.listdir(tmp_path) == [file.name]
