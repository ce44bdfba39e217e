"""What doctor says of an arm's servos, calibration and address; and that it says nothing to them."""

import json
import os
import socket
import threading
from dataclasses import replace

import pytest
from bench import Bench, Still
from twinloop.launch.devices.arm_checks import arm_checks, calibration_check, reach, servo_checks
from twinloop.launch.devices.ports import Places
from twinloop.launch.devices.search import search
from twinloop.robot.arms.servo_line import servo_line
from twinloop.robot.buses.framing import PING, READ, SYNC_READ
from twinloop.robot.clock import RealClock
from twinloop.robot.lerobot_units import motor_names
from twinloop.robot.machine import ArmPlace, Machine, placed
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.feetech import FeetechServos
from twinloop.sim.emulate.sts3215 import REGISTERS, Sts3215

RIG = load_rig("so101")
LINE = servo_line(RIG, "arm")
SETUP = "twinloop setup-devices --rig so101"


class Arm:
    """Six servos in memory."""

    def __init__(self):
        self.servos = [Sts3215(id, Still(turns=0.4 + id / 100)) for id in LINE.joints]
        for servo in self.servos:
            put(servo, return_delay=0, p=16)

    def checks(self):
        """By the servo's id, or the check's name; all bytes that were sent are in `sent`."""
        bus = Bench(FeetechServos(self.servos), LINE.kind.framing)
        self.seen = {}
        found = search(bus, LINE.kind)
        named = {}
        for check in servo_checks("arm", LINE, bus(LINE.baud), found, SETUP, self.seen):
            words = check.name.split()
            named[int(words[2]) if words[1] == "servo" else check.name] = check
        self.sent = {packet[4] for packet in bus.log}
        return named


def put(servo, **values):
    for name, value in values.items():
        servo.write(REGISTERS[name].address, value.to_bytes(REGISTERS[name].size, "little"))


@pytest.fixture
def arm():
    return Arm()


def test_a_sound_arm_is_all_ok_and_was_only_read(arm):
    before = [bytes(servo._memory) for servo in arm.servos]
    found = arm.checks()
    assert {check.status for check in found.values()} == {"ok"} and list(found) == [1, 2, 3, 4, 5, 6]
    assert found[1].detail == "STS3215 firmware 3.10, 7.4 V, 30 C, torque off"
    assert arm.sent <= {PING, READ, SYNC_READ}
    assert [bytes(servo._memory) for servo in arm.servos] == before


def test_a_chain_that_breaks_names_the_cable(arm):
    arm.servos = arm.servos[:2]
    found = arm.checks()
    assert [found[id].status for id in (2, 3, 6)] == ["ok", "fail", "fail"]
    assert found[3].fix == found[6].fix == "check the cable behind servo 2 (shoulder_lift)"


def test_a_servo_that_is_missing_and_one_that_is_too_many(arm):
    put(arm.servos[3], id=9)
    found = arm.checks()
    assert found[4].status == "fail" and f"{SETUP} --ids" in found[4].fix
    others = found["arm other servos"]
    assert others.status == "fail" and "id 9 at 1000000 baud: not of this arm" in others.detail


def test_a_servo_at_another_rate_is_found_there(arm):
    put(arm.servos[4], baud=4)
    found = arm.checks()
    assert found[5].status == "fail" and found[5].detail == "answers at 115200 baud; 1000000 is wanted"
    assert [found[id].status for id in (1, 2, 3, 4, 6)] == ["ok"] * 5


def test_no_power_is_one_finding(arm):
    arm.servos = []
    assert arm.checks()["arm servos"].fix.startswith("switch the arm's power on")


def test_two_servos_with_one_id(arm):
    put(arm.servos[1], id=1)
    found = arm.checks()
    assert found[1].status == "fail" and "two servos with id 1" in found[1].detail
    assert found[1].fix == f"connect them one at a time: {SETUP} --ids"
    assert found[2].status == "fail" and found[3].status == "ok"


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"supply_v": 12.1}, "fail", "12.1 V, 30 C, torque off; voltage outside 4.0..8.0 V"),
        ({"supply_v": 3.5}, "fail", "voltage outside"),
        ({"temperature_c": 63.0}, "warn", "it stops at 70 C"),
    ],
)
def test_supply_and_heat(arm, change, status, words):
    arm.servos[2] = Sts3215(3, Still(**change))
    arm.servos[2].step(1)
    check = arm.checks()[3]
    assert check.status == status and words in check.detail and check.fix


def test_latched_faults_torque_and_settings(arm):
    arm.servos[0].overload()
    put(arm.servos[1], torque=1)
    put(arm.servos[2], mode=1, p=32)
    arm.servos[3]._set("model", 1029)
    found = arm.checks()
    assert found[1].status == "fail" and "latched: overload" in found[1].detail
    assert found[2].status == "warn" and "torque on though no program has the port" in found[2].detail
    assert found[3].status == "ok"  # the driver mends it when it opens the arm
    assert found[3].detail.endswith("mode 1 (the driver sets 0), gain P 32 (the driver sets 16)")
    assert found[4].status == "fail" and "model 1029" in found[4].detail
    assert arm.servos[1].get("torque") == 1


def calibration(path, offsets):
    model = load_model("so101")
    entry = {"drive_mode": 0, "range_min": 100, "range_max": 4000}
    content = {
        name: {"id": k, "homing_offset": offset, **entry}
        for k, (name, offset) in enumerate(zip(motor_names(model), offsets, strict=True), 1)
    }
    path.write_text(json.dumps(content))
    return placed(RIG, Machine({"arm": ArmPlace(calibration=str(path))}), path, {})


def test_a_calibration_of_another_arm_is_found_out(arm, tmp_path):
    offsets = [10, -200, 300, 5, 0, -1]
    for servo, offset in zip(arm.servos, offsets, strict=True):
        put(servo, offset=abs(offset) | (1 << 11 if offset < 0 else 0))
    arm.checks()
    file = tmp_path / "arm.json"
    check = calibration_check(calibration(file, offsets), "arm", arm.seen, SETUP)
    assert check.status == "ok" and "the servos remember the same offsets" in check.detail
    check = calibration_check(calibration(file, [10, 200, 300, 5, 0, -1]), "arm", arm.seen, SETUP)
    assert check.status == "fail" and "shoulder_lift -200 in the servo, 200 in the file" in check.detail
    local = calibration(file, offsets)
    file.write_text("{}")
    check = calibration_check(local, "arm", {}, SETUP)
    assert check.status == "fail" and "motor 'gripper' is missing" in check.detail
    os.unlink(file)
    assert "cannot read" in calibration_check(local, "arm", {}, SETUP).detail
    assert calibration_check(placed(RIG, Machine(), file, {}), "arm", {}, SETUP).status == "warn"


def test_a_control_box_is_reached_and_told_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        heard = []

        def answer():
            connection, _ = server.accept()
            heard.append(connection.recv(10))
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert reach("arm", "127.0.0.1", port, "").status == "ok"
        thread.join()
        assert heard == [b""]
    refused = reach("arm", "127.0.0.1", port, " (from x)")
    assert (
        refused.status == "fail"
        and f"127.0.0.1 port {port} (from x): there, but nobody listens" in refused.detail
    )
    nowhere = reach("arm", "no.such.host.invalid", 80, "")
    assert nowhere.status == "fail" and "cannot be reached" in nowhere.detail


@pytest.mark.parametrize(
    ("rig", "port"), [("ur5e", 30004), ("xarm7", 502), ("franka", 1337), ("trossen", 50001)]
)
def test_a_control_box_is_looked_for_where_its_sdk_connects(tmp_path, rig, port):
    address = f"127.9.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"  # here, and nobody listens
    local = placed(load_rig(rig), Machine(), tmp_path / "none", {"arm": address})
    (found,) = arm_checks(local, "arm", rig, Places(dev=tmp_path), RealClock())
    assert found.status == "fail"
    assert f"{address} port {port} (from --port): there, but nobody listens" in found.detail


def test_numbers_of_a_calibration_file_are_asked_for(tmp_path):
    """A file that numbers the servos otherwise decides which are looked for."""
    local = calibration(tmp_path / "arm.json", [0] * 6)
    arm = replace(local.rig.arms["arm"])
    content = json.loads((tmp_path / "arm.json").read_text())
    content["gripper"]["id"] = 16
    (tmp_path / "arm.json").write_text(json.dumps(content))
    line = servo_line(replace(local.rig, arms={"arm": arm}), "arm")
    assert line is not None and list(line.joints) == [1, 2, 3, 4, 5, 16]
