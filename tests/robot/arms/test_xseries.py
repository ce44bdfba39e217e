"""The Dynamixel driver on emulated servos, on a clock that advances with the wire: no terminal, no other process."""

import contextlib

import numpy as np
import pytest
from twinloop.robot.arms.chain import Motor, ServoChain
from twinloop.robot.arms.koch import motors as koch_motors
from twinloop.robot.arms.xseries import XSeriesFamily
from twinloop.robot.buses import Bus, DynamixelFraming
from twinloop.robot.errors import DeviceError, RigError
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.wire import WirePort
from twinloop.sim.emulate.xtable import CURRENT_BASED, EXTENDED, POSITION
from xcell import ARM, BAUD, MS, Cell


@pytest.fixture
def cell():
    return Cell()


@pytest.fixture
def chain(cell):
    made = cell.host()
    made.open("arm", ARM)
    return made


def test_torque_comes_on_without_a_jump_although_the_goals_are_stale(cell):
    for servo in cell.servos.values():
        assert servo.write(116, (100).to_bytes(4, "little")) == 0
    before = cell.angles()
    chain = cell.host()
    chain.open("arm", ARM)
    cell.wait(200)
    assert cell.get("torque") == [1, 1, 1]
    for name, reading in zip(ARM, chain.cycle("arm", ARM), strict=True):
        assert reading.q == pytest.approx(before[name], abs=2e-3)
        assert cell.angles()[name] == pytest.approx(before[name], abs=2e-3)


def test_two_servos_on_a_shaft_get_mirrored_goals_that_agree_although_a_horn_is_off(cell):
    cell.servos[3]._put("homing_offset", 0)
    shaft = cell.servos[3].motor
    shaft._turned = lambda turns: 1.02 - turns  # the second servo's horn sits 7 degrees off
    chain = cell.host()
    chain.open("arm", ARM)
    goals = {"lift": 0.4, "elbow": 0.3}
    seen = cell.drive(chain, goals, 400)
    for name, goal in goals.items():
        assert seen[name].q == pytest.approx(goal, abs=3e-3) == cell.angles()[name]
    one, other = (servo.get("goal") for servo in (cell.servos[2], cell.servos[3]))
    assert one + other == pytest.approx(round(1.02 * 4096), abs=2)  # neither pulls against the other


def test_opening_sets_what_differs_and_leaves_the_rest():
    """As Interbotix leaves its servos: reversed, the second one on a shaft obeying the first one's id."""
    cell = Cell({"drive_mode": 1, "secondary_id": 2, "operating_mode": POSITION, "return_delay": 250})
    cell.host().open("arm", ARM)
    assert cell.get("drive_mode") == [0] * 3 and cell.get("secondary_id") == [255] * 3
    assert cell.get("operating_mode") == [EXTENDED] * 3 and cell.get("return_delay") == [0] * 3
    assert cell.get("p") == [800] * 3 and cell.get("torque") == [1] * 3
    written = []
    for servo in cell.servos.values():
        servo.write = lambda *args, real=servo.write, **how: written.append(args[0]) or real(*args, **how)
    cell.host().open("arm", ARM)  # another process, while they hold
    assert set(written) == {64, 116}  # torque and goal


def test_what_holds_is_not_let_go_of_to_set_it(cell):
    for servo in cell.servos.values():
        servo.write(64, b"\1")
    with pytest.raises(DeviceError, match="servo 2: operating mode is 3, 4 is needed.*while the servo holds"):
        cell.host().open("arm", ARM)
    assert cell.get("torque") == [1, 1, 1]


def test_another_servo_than_the_arm_has_is_named(cell):
    motors = (Motor("elbow", (4,), 0.0, servo="xl330_m288"),)
    bus = Bus(WirePort(cell.line, cell.clock), DynamixelFraming(), cell.clock, BAUD)
    chain = ServoChain(bus, XSeriesFamily(motors), motors, cell.clock)
    with pytest.raises(DeviceError, match=r"servo 4: is an xl430_w250, an xl330_m288 \(1200\) is needed"):
        chain.open("arm", ("elbow",))
    with pytest.raises(RigError, match="unknown servo 'xl430'.*xl430_w250"):
        XSeriesFamily([Motor("elbow", (4,), 0.0, servo="xl430")])


# ---------------------------------------------------------------- faults and losses


def test_an_overload_is_named_stays_and_is_over_with_a_reboot(cell, chain):
    cell.drive(chain, cell.angles(), 50)
    cell.servos[3].overload()
    lift, elbow = chain.cycle("arm", ARM)
    assert lift.faults == ("servo 3: overload",) and not elbow.faults
    cell.drive(chain, cell.angles(), 100)
    assert chain.cycle("arm", ARM)[0].faults == ("servo 3: overload",)
    assert chain.bus.counters.errors[3, 0x80] > 10
    chain.close("arm", ARM)
    chain.open("arm", ARM)  # it had let go by itself: nothing falls that was not falling
    assert not chain.cycle("arm", ARM)[0].faults and cell.get("torque") == [1, 1, 1]


def test_an_overload_right_behind_an_answer_is_no_lost_power(cell, chain, monkeypatch):
    """Its torque is found off in a cycle whose answer told of nothing yet."""
    family = chain._family
    read, holding = family.read, family.holding

    def late(bus, ids):
        answers = read(bus, ids)
        if cell.servos[3].get("torque"):
            cell.servos[3].overload()
        return answers

    cell.drive(chain, cell.angles(), 50)
    monkeypatch.setattr(family, "read", late)
    chain._unsure.add(3)
    assert not chain.cycle("arm", ARM)[0].faults
    for _ in range(20):
        cell.wait(5)
        assert chain.cycle("arm", ARM)[0].faults == ("servo 3: overload",)
    assert holding(chain.bus, [3]) == {3: False}


def test_a_servo_with_an_error_that_holds_is_not_rebooted(cell, chain):
    cell.drive(chain, cell.angles(), 50)
    cell.servos[4]._fail(1)  # the supply was low; that alone shuts no servo down
    assert cell.get("torque") == [1, 1, 1]
    torque = []
    cell.clock.every(MS, lambda: torque.append(cell.servos[4].get("torque")))
    chain = cell.host()  # the process of before died
    chain.open("arm", ARM)
    cell.wait(50)
    assert set(torque) == {1}
    assert chain.cycle("arm", ARM)[1].faults == ("voltage",)  # said, not lost
    cell.drive(chain, cell.angles(), 20)
    chain.close("arm", ARM)
    chain.open("arm", ARM)
    assert not chain.cycle("arm", ARM)[1].faults


def test_what_a_reboot_does_not_clear_is_named(cell):
    cell.servos[4].heat(90.0)
    cell.wait(5)
    with pytest.raises(DeviceError, match=r"servo 4: shut down \(overheat\), and a reboot does not clear it"):
        cell.host().open("arm", ARM)


@pytest.mark.parametrize(("firmware", "fast"), [(46, True), (40, False)])
def test_all_share_one_answer_where_every_firmware_can(firmware, fast):
    cell = Cell(firmware=firmware)
    chain = cell.host()
    chain.open("arm", ARM)
    chain.cycle("arm", ARM)  # which looks at a torque, as one in 20 ms does
    before = cell.clock.now()
    chain.cycle("arm", ARM)
    took = cell.clock.now() - before
    asked = 14 + 3
    assert took == (asked + (8 + 3 * 25 if fast else 3 * 32)) * 10_000
    for name, reading in zip(ARM, chain.cycle("arm", ARM), strict=True):
        assert reading.q == pytest.approx(cell.angles()[name], abs=2e-3)
        assert (reading.temperature_c, reading.voltage_v) == (30.0, 7.4)


def test_one_dead_servo_costs_its_joint_and_not_the_others(cell, chain):
    cell.drive(chain, cell.angles(), 50)
    cell.line.faults.dead = {3}
    old = chain.cycle("arm", ARM)  # the common answer has no end
    lift, elbow = chain.cycle("arm", ARM)
    assert lift == old[0] and elbow.t_ns > old[1].t_ns
    cell.line.faults.dead = set()
    chain.cycle("arm", ARM)
    lift, _ = chain.cycle("arm", ARM)
    assert lift.t_ns > old[0].t_ns
    assert chain.bus.counters.missing == {2: 1, 3: 2, 4: 1}


def test_a_cycle_never_takes_longer_than_its_wire_time_and_two_deadlines(cell, chain):
    """The reading's, and that of the register which tells an alert or a watchdog."""
    cell.drive(chain, cell.angles(), 50)
    for name in ("lost", "damaged", "truncated", "doubled", "garbage"):
        setattr(cell.line.faults, name, 0.05)
    goals, longest = cell.angles(), 0
    for _ in range(1000):
        before = cell.clock.now()
        with contextlib.suppress(DeviceError):  # two missing answers to a joint in a row, or three
            chain.cycle("arm", ARM)
        longest = max(longest, cell.clock.now() - before)
        chain.command(goals)
        cell.wait(5)
    counters = chain.bus.counters
    assert longest < 8 * MS
    assert counters.checksum and counters.garbage_bytes and counters.late_bytes and counters.missing
    assert cell.angles() == pytest.approx(goals, abs=5e-3)


def test_a_gripper_is_limited_by_its_own_current():
    rig = load_rig("koch")
    jaw = koch_motors(rig, "arm")[-1]
    assert jaw.registers["operating_mode"] == CURRENT_BASED
    amps = jaw.registers["goal_current"] * 1e-3
    assert np.isclose(amps * 0.52 / 1.47, 1.25 * rig.grippers["gripper"].force_n * 0.0465, rtol=0.05)
