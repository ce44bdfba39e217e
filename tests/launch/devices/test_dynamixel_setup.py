"""Dynamixel arms are examined and numbered as Feetech ones are."""

import pytest
from bench import Bench, Still
from twinloop.launch.devices.arm_checks import servo_checks
from twinloop.launch.devices.numbering import number, the_only_one
from twinloop.launch.devices.search import Found, search
from twinloop.robot.arms.servo_line import servo_line
from twinloop.robot.buses.framing import PING, READ
from twinloop.robot.errors import DeviceError
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.dynamixel import DynamixelServos
from twinloop.sim.emulate.xseries import XServo

KOCH = servo_line(load_rig("koch"), "arm")
INSTRUCTION = 7  # its place in a packet


def servo(model="xl330_m288", id=1, supply_v=5.0, **settings):
    return XServo(id, model, Still(supply_v=supply_v), {"min_voltage": 35, **settings})


def bench(*servos):
    return Bench(DynamixelServos(servos), KOCH.kind.framing)


def test_a_new_servo_comes_at_57600_baud_and_gets_its_number():
    new = servo()
    bus = bench(new)
    one = the_only_one(KOCH, bus)
    assert one == Found(1, 57_600) and {packet[INSTRUCTION] for packet in bus.log} == {PING}
    assert "is now id 4 at 1000000 (XL330-M288 firmware 46)" in number(one, 4, KOCH, bus)
    new.reboot()
    new.step(10**9)
    assert search(bus, KOCH.kind) == [Found(4, 1_000_000)]


@pytest.mark.parametrize("baud", range(8))
def test_found_at_any_rate(baud):
    assert [one.id for one in search(bench(servo(id=200, baud=baud)), KOCH.kind)] == [200]


def test_the_wrong_model_for_a_joint_and_a_holding_servo_are_refused():
    new = servo()
    with pytest.raises(DeviceError, match="this is a XL330-M288; XL430-W250 is needed"):
        number(Found(1, 57_600), 2, KOCH, bench(new))
    assert new.id == 1
    new.write(64, b"\1")
    with pytest.raises(DeviceError, match="its torque is on"):
        number(Found(1, 57_600), 4, KOCH, bench(new))
    assert new.id == 1 and new.get("torque") == 1


def test_two_at_once_are_refused():
    with pytest.raises(DeviceError, match="more than one servo answers"):
        the_only_one(KOCH, bench(servo(), servo(id=2, baud=3)))
    hot = servo()
    hot.overload()
    with pytest.raises(DeviceError, match=r"id 1 at 57600 baud \(several\)"):
        the_only_one(KOCH, bench(hot, servo()))


def test_doctor_reads_every_servo_and_writes_nothing():
    servos = [
        servo(KOCH.servos[id], id, baud=3, supply_v=12.0 if "430" in KOCH.servos[id] else 5.0)
        for id in KOCH.joints
    ]
    servos[4].overload()
    before = [bytes(one._memory[:64]) for one in servos]
    bus = bench(*servos)
    found = search(bus, KOCH.kind)
    checks = list(servo_checks("arm", KOCH, bus(KOCH.baud), found, "setup", {}))
    assert [check.status for check in checks] == ["ok", "ok", "ok", "ok", "fail", "ok"]
    assert "XL430-W250 firmware 46, 12.0 V, 30 C, torque off" in checks[0].detail
    assert "operating mode 3 (the driver sets 4)" in checks[0].detail
    assert "operating mode 3 (the driver sets 5), p 400" in checks[5].detail
    assert "latched: overload" in checks[4].detail
    assert {packet[INSTRUCTION] for packet in bus.log} == {PING, READ}
    assert [bytes(one._memory[:64]) for one in servos] == before
