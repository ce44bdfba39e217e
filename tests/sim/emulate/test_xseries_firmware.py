"""What the firmware of an emulated Dynamixel X servo does, with no line in between."""

from dataclasses import dataclass, replace

import pytest
from twinloop.sim.emulate.motor import Sensed
from twinloop.sim.emulate.shaft import Shaft
from twinloop.sim.emulate.xseries import (
    ACCESS,
    BOOT_NS,
    DATA_LENGTH,
    DATA_LIMIT,
    DATA_RANGE,
    OVERHEAT,
    OVERLOAD,
    RESULT_FAIL,
    STOPPED,
    VOLTAGE,
    XServo,
)  # fmt: skip

MS = 1_000_000


@dataclass
class Bench:
    """A motor that stands where it is put and notes what it is told."""

    sensed: Sensed = Sensed(0.5, 0.0, 0.0, 0.0, 5.0, 30.0)
    turns: float | None = None
    duty_max: float = 0.0

    def sense(self):
        return self.sensed

    def drive(self, turns, duty_max, p):
        self.turns, self.duty_max = turns, duty_max


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def servo(bench):
    return XServo(1, "xl330_m288", bench)


def put(servo, **values):
    """Write registers in turn; the error number of the last."""
    error = 0
    for name, value in values.items():
        register = servo.table[name]
        data = (value & (1 << 8 * register.size) - 1).to_bytes(register.size, "little")
        error = servo.write(register.address, data)
    return error


def run(servo, ms):
    for _ in range(ms):
        servo.step(MS)


def position(servo):
    error, data = servo.read(132, 4)
    assert not error
    return int.from_bytes(data, "little", signed=True)


@pytest.mark.parametrize(
    ("model", "number", "p", "temperature"),
    [
        ("xl330_m077", 1190, 400, 70),
        ("xl330_m288", 1200, 400, 70),
        ("xl430_w250", 1060, 640, 72),
        ("xm430_w350", 1020, 800, 80),
        ("xm540_w270", 1120, 800, 80),
    ],
)
def test_every_model_has_its_own_table(bench, model, number, p, temperature):
    servo = XServo(1, model, bench)
    assert int.from_bytes(servo.read(0, 2)[1], "little") == number
    assert servo.get("p") == p and servo.get("max_temperature") == temperature
    assert servo.write(102, b"\1\0") == (ACCESS if model == "xl430_w250" else 0)  # it has no current sensor
    assert servo.write(11, b"\5") == (DATA_RANGE if model == "xl430_w250" else 0)


def test_torque_comes_on_where_the_goal_says_and_goes_off(servo, bench):
    assert put(servo, goal=1024, torque=1) == 0
    run(servo, 1)
    assert bench.turns == pytest.approx(0.25) and bench.duty_max == 1.0
    put(servo, torque=0)
    run(servo, 1)
    assert bench.turns is None


def test_the_eeprom_is_locked_while_the_torque_is_on(servo):
    put(servo, torque=1)
    assert put(servo, operating_mode=4) == ACCESS and put(servo, homing_offset=5) == ACCESS
    put(servo, torque=0)
    assert put(servo, operating_mode=4) == 0 and put(servo, homing_offset=5) == 0


def test_errors_of_a_write_have_their_numbers_and_change_nothing(servo):
    assert servo.write(132, bytes(4)) == ACCESS  # read only
    assert servo.write(92, b"\0") == ACCESS  # nothing is there
    assert servo.write(116, b"\0\0") == DATA_LENGTH and servo.write(117, b"\0") == DATA_LENGTH
    assert put(servo, torque=2) == DATA_RANGE and put(servo, id=253) == DATA_RANGE
    put(servo, min_position=1000, max_position=3000)
    assert put(servo, goal=999) == DATA_LIMIT and put(servo, goal=3001) == DATA_LIMIT
    put(servo, current_limit=100)
    assert put(servo, goal_current=101) == DATA_LIMIT
    goal = servo.get("goal")
    assert servo.write(112, (7).to_bytes(4, "little") + (5000).to_bytes(4, "little")) == DATA_LIMIT
    assert servo.get("goal") == goal and servo.get("profile_velocity") == 0
    put(servo, operating_mode=4)
    assert put(servo, goal=-5000) == 0 and servo.get("goal") == -5000


def test_reverse_mode_and_homing_offset_count_in_both_directions(servo, bench):
    bench.sensed = replace(bench.sensed, turns=0.6)
    put(servo, drive_mode=1, operating_mode=4, homing_offset=-300)
    shown = position(servo)
    assert shown == 4096 - round(0.6 * 4096) - 300  # the sign of the offset does not turn with the direction
    put(servo, goal=shown, torque=1)
    run(servo, 1)
    assert bench.turns == pytest.approx(0.6, abs=1e-3)


def test_an_offset_of_more_than_a_quarter_turn_is_ignored_in_position_mode(servo):
    put(servo, homing_offset=2000)
    assert position(servo) == 2048
    put(servo, operating_mode=4)
    assert position(servo) == 4048


def test_a_profile_leads_to_the_goal_at_its_velocity(servo, bench):
    put(servo, profile_velocity=100, goal=3048, torque=1)
    run(servo, 100)
    assert bench.turns * 4096 - 2048 == pytest.approx(100 * 0.229 / 60 * 4096 * 0.1, rel=0.01)


def test_the_goal_current_limits_the_duty_in_current_based_mode(servo, bench):
    put(servo, operating_mode=5, goal_current=147, torque=1)
    run(servo, 1)
    assert bench.duty_max == pytest.approx(0.1)  # of the 1.47 A that flow at standstill and full duty


def test_the_bus_watchdog_stops_a_servo_that_nobody_speaks_to(servo, bench):
    put(servo, operating_mode=4, goal=3000, torque=1, watchdog=5)
    for _ in range(3):
        run(servo, 100)
        assert servo.get("watchdog") == 5
        servo.heard()
    bench.sensed = replace(bench.sensed, turns=0.55)
    run(servo, 101)
    assert servo.get("watchdog") == STOPPED and servo.read(98, 1)[1] == b"\xff"
    assert bench.turns == pytest.approx(0.55)  # stands where it was, torque on
    assert put(servo, goal=1000) == DATA_RANGE and servo.get("goal") == 3000
    assert put(servo, watchdog=0) == 0
    run(servo, 1)
    assert bench.turns == pytest.approx(3000 / 4096)  # the goal of before: whoever clears it must follow up
    assert put(servo, goal=1000) == 0


def test_without_torque_the_watchdog_does_not_watch(servo):
    put(servo, watchdog=1)
    run(servo, 100)
    assert servo.get("watchdog") == 1


@pytest.mark.parametrize("cause", ["pulls", "hot", "told"])
def test_what_the_shutdown_register_names_lets_go_until_a_reboot(servo, bench, cause):
    put(servo, torque=1)
    if cause == "pulls":
        bench.sensed = replace(bench.sensed, duty=-0.95)
        run(servo, 900)
        assert not servo.alert
        run(servo, 200)
    elif cause == "hot":
        bench.sensed = replace(bench.sensed, temperature_c=71.0)
    else:
        servo.overload()
    run(servo, 1)
    assert servo.alert and servo.get("error_status") == (OVERHEAT if cause == "hot" else OVERLOAD)
    assert servo.get("torque") == 0 and bench.turns is None
    bench.sensed = Bench().sensed
    run(servo, 100)
    assert put(servo, torque=1) == RESULT_FAIL and servo.alert
    servo.reboot()
    assert not servo.awake
    run(servo, BOOT_NS // MS + 1)
    assert servo.awake and not servo.alert and put(servo, torque=1) == 0


def test_an_error_outside_the_shutdown_register_is_only_told(servo, bench):
    put(servo, shutdown=52, torque=1)
    bench.sensed = replace(bench.sensed, supply_v=7.4)
    run(servo, 1)
    assert servo.get("error_status") == VOLTAGE and servo.alert
    assert servo.get("torque") == 1 and bench.turns is not None


def test_without_power_the_eeprom_is_kept_and_turns_are_forgotten(servo, bench):
    put(servo, operating_mode=4, homing_offset=100, return_delay=0)
    bench.sensed = replace(bench.sensed, turns=2.25)
    assert position(servo) == 2 * 4096 + 1024 + 100
    put(servo, p=500, goal=7000, torque=1)
    servo.power_cycle()
    assert servo.get("homing_offset") == 100 and servo.get("return_delay") == 0
    assert servo.get("p") == 400 and servo.get("torque") == 0
    assert position(servo) == 1024 + 100 == servo.get("goal")


def test_the_factory_is_told_what_to_leave(servo):
    put(servo, id=7, baud=3, homing_offset=9)
    assert servo.factory_reset(2) == 0
    assert (servo.id, servo.get("baud"), servo.get("homing_offset")) == (7, 3, 0)
    put(servo, homing_offset=9)
    assert servo.factory_reset(1) == 0 and (servo.id, servo.get("baud")) == (7, 1)
    assert servo.factory_reset(0xFF) == 0 and servo.id == 1
    assert servo.factory_reset(3) == DATA_RANGE


def test_two_on_a_shaft_share_the_work_and_a_mirrored_one_counts_the_other_way(bench):
    shaft = Shaft(bench, 2)
    one, other = (XServo(id, "xm540_w270", shaft.share(id, mirrored=id == 3)) for id in (2, 3))
    bench.sensed = Sensed(0.6, 0.01, 0.2, 3.0, 12.0, 30.0)
    assert position(one) + position(other) == 4096
    currents = [int.from_bytes(each.read(126, 2)[1], "little", signed=True) for each in (one, other)]
    assert currents == [round(1.5 / 2.69e-3), -round(1.5 / 2.69e-3)]
    for each, goal in ((one, 3000), (other, 1096)):
        put(each, goal=goal, torque=1)
        run(each, 1)
    assert bench.turns == pytest.approx(3000 / 4096) and bench.duty_max == 1.0
    put(other, torque=0)
    run(other, 1)
    assert bench.turns == pytest.approx(3000 / 4096) and bench.duty_max == 0.5
    put(one, torque=0)
    run(one, 1)
    assert bench.turns is None
