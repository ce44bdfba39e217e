"""What the firmware of an emulated STS3215 does, with no line in between."""

from dataclasses import dataclass, replace

import pytest
from twinloop.robot.buses import FeetechFraming
from twinloop.robot.buses.framing import BROADCAST, SYNC_READ
from twinloop.sim.emulate.feetech import FeetechServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.motor import Sensed
from twinloop.sim.emulate.sts3215 import OVERHEAT, OVERLOAD, REGISTERS, VOLTAGE, Sts3215

MS = 1_000_000


@dataclass
class Bench:
    """A motor that stands where it is put and notes what it is told."""

    sensed: Sensed = Sensed(0.5, 0.0, 0.0, 0.0, 7.4, 30.0)
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
    return Sts3215(1, bench)


def put(servo, **values):
    for name, value in values.items():
        register = REGISTERS[name]
        servo.write(register.address, value.to_bytes(register.size, "little"))


def run(servo, ms):
    for _ in range(ms):
        servo.step(MS)


def test_torque_comes_on_where_the_goal_says_and_goes_off(servo, bench):
    put(servo, goal=1024, torque=1)
    run(servo, 1)
    assert bench.turns == pytest.approx(0.25) and bench.duty_max == 1.0
    put(servo, torque=0)
    run(servo, 1)
    assert bench.turns is None


def test_the_offset_is_sign_magnitude_and_taken_off(servo, bench):
    put(servo, offset=100 | 1 << 11)  # -100
    assert servo.get("offset") == -100
    assert int.from_bytes(servo.read(56, 2), "little") == 2148
    put(servo, goal=2148, torque=1)
    run(servo, 1)
    assert bench.turns == pytest.approx(0.5)


def test_recentring_makes_this_pose_2048(servo, bench):
    bench.sensed = replace(bench.sensed, turns=0.3)
    put(servo, torque=128)
    assert servo.get("torque") == 0 and servo.get("offset") == round(0.3 * 4096) - 2048
    assert int.from_bytes(servo.read(56, 2), "little") == 2048


def test_what_is_read_only_stays(servo):
    servo.write(56, bytes(8))
    assert int.from_bytes(servo.read(56, 2), "little") == 2048
    servo.write(3, b"\0\0")
    assert int.from_bytes(servo.read(3, 2), "little") == 777


def test_the_lock_decides_what_survives_a_power_cycle(servo):
    put(servo, p=16)
    servo.power_cycle()
    assert servo.get("p") == 32
    put(servo, lock=0, p=16)
    put(servo, torque=1)
    servo.power_cycle()
    assert servo.get("p") == 16 and servo.get("torque") == 0 and servo.get("lock") == 1


def test_limits_bound_the_goal(servo, bench):
    put(servo, min_position=1000, max_position=3000, goal=4000, torque=1)
    run(servo, 1)
    assert bench.turns == pytest.approx(3000 / 4096)


def test_an_overload_latches_until_the_torque_is_switched(servo, bench):
    put(servo, protection_time=10, torque=1, unloading=0)
    bench.sensed = replace(bench.sensed, duty=0.9)
    run(servo, 99)
    assert not servo.status & OVERLOAD and bench.duty_max == 1.0
    run(servo, 2)
    assert servo.status & OVERLOAD
    bench.sensed = replace(bench.sensed, duty=0.1)
    run(servo, 100)
    assert servo.status & OVERLOAD and bench.duty_max == pytest.approx(0.2)
    put(servo, torque=0)
    put(servo, torque=1)
    run(servo, 1)
    assert not servo.status and bench.duty_max == 1.0


def test_too_hot_and_the_motor_lets_go(servo, bench):
    put(servo, torque=1)
    bench.sensed = replace(bench.sensed, temperature_c=70.0)
    run(servo, 2)
    assert servo.status & OVERHEAT and bench.turns is None
    bench.sensed = replace(bench.sensed, temperature_c=40.0, supply_v=3.9)
    put(servo, torque=1)
    run(servo, 1)
    assert servo.status == VOLTAGE


def test_speed_and_acceleration_shape_the_way(servo, bench):
    put(servo, goal_speed=1000, acceleration=50, goal=3048, torque=1)
    way = []
    for _ in range(2500):
        servo.step(MS)
        way.append(bench.turns * 4096)
    speed = [(b - a) * 1000 for a, b in zip(way, way[1:], strict=False)]
    change = [(b - a) * 1000 for a, b in zip(speed, speed[1:], strict=False)]
    assert way[-1] == pytest.approx(3048, abs=1.0)
    assert max(speed) == pytest.approx(1000, rel=0.02)
    assert max(change) <= 5000 * 1.01 and max(way) <= 3050


def test_answers_need_their_time_on_the_wire(bench):
    """Six answers of 14 bytes and a request of 14 at 1 Mbaud: 0.98 ms; and 500 us of return delay each."""
    servos = FeetechServos([Sts3215(id, Bench()) for id in range(1, 7)])
    line = Line(servos, 1_000_000)
    ask = FeetechFraming().packet(BROADCAST, SYNC_READ, bytes((56, 8, 1, 2, 3, 4, 5, 6)))
    arrivals = line.receive(ask, 0)
    assert arrivals[-1][0] == 980_000 + 6 * 500_000
    for servo in servos.servos:
        put(servo, return_delay=0)
    assert line.receive(ask, 10 * MS)[-1][0] == 10 * MS + 980_000
