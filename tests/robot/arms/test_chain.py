"""A chain of servos on a bus that a script answers for: what is sent, in which order, and what is kept."""

import json

import numpy as np
import pytest
from twinloop.robot.arms.chain import TURN, Motor, ServoChain
from twinloop.robot.arms.so101 import motors
from twinloop.robot.arms.sts3215 import GOAL, TORQUE, Sts3215Family
from twinloop.robot.buses import Answer, Counters
from twinloop.robot.errors import DeviceError
from twinloop.robot.lerobot_units import LeRobotUnits, motor_names
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig

MS = 1_000_000
ARM, JAW = ("lift", "elbow"), ("jaw",)
MOTORS = (
    Motor("lift", (1, 2), 0.1, 1, (False, True)),  # two servos on one shaft, face to face
    Motor("elbow", (3,), 0.0, -1),
    Motor("jaw", (4,), 0.5),
)


class Clock:
    t_ns = 0

    def now(self):
        return self.t_ns

    def sleep_until(self, deadline_ns):
        self.t_ns = max(self.t_ns, deadline_ns)


class ScriptedBus:
    """Servos that stand at `counts` and note what they are told."""

    def __init__(self, clock):
        self.clock = clock
        self.counts = dict.fromkeys(range(1, 5), 2048)
        self.silent, self.errors, self.log = set(), {}, []
        self.mute = set()  # ids that tell their torque and miss the cycle
        self.torque = dict.fromkeys(range(1, 5), 0)
        self.gone = False
        self.counters = Counters()

    def open(self):
        if self.gone:
            raise DeviceError("port p: not there")
        self.log.append("open")

    def close(self):
        self.log.append("close")

    def read(self, id, address, size):
        if id in self.silent:
            raise DeviceError(f"servo {id}: no answer")
        return {3: (777).to_bytes(2, "little"), 21: b"\x10"}.get(address, bytes(size))

    def write(self, id, address, data):
        self.log.append((id, address, int.from_bytes(data, "little")))
        if address == TORQUE:
            self.torque[id] = data[0]

    def sync_read(self, ids, address, size):
        if self.gone:
            raise DeviceError("port p: gone")
        if address == TORQUE:
            return {id: Answer(id, 0, bytes((self.torque[id],))) for id in ids if id not in self.silent}
        self.log.append("cycle")
        self.clock.t_ns += MS
        return {
            id: Answer(id, self.errors.get(id, 0), self.counts[id].to_bytes(2, "little") + bytes((0, 0, 0, 0, 74, 30)))
            for id in ids
            if id not in self.silent | self.mute
        }  # fmt: skip

    def sync_write(self, address, values):
        if self.gone:
            raise DeviceError("port p: gone")
        for id, data in values.items():
            self.log.append((id, address, int.from_bytes(data, "little")))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bus(clock):
    return ScriptedBus(clock)


@pytest.fixture
def chain(bus, clock):
    made = ServoChain(bus, Sts3215Family(), MOTORS, clock)
    made.open("arm", ARM)
    return made


def written(bus, address):
    return {id: value for id, at, value in (e for e in bus.log if isinstance(e, tuple)) if at == address}


def test_the_goal_is_where_the_servo_stands_before_torque_comes_on(bus, clock):
    bus.counts |= {1: 1500, 2: 2596, 3: 700}
    ServoChain(bus, Sts3215Family(), MOTORS, clock).open("arm", ARM)
    assert written(bus, GOAL) == {1: 1500, 2: 2596, 3: 700}
    assert written(bus, TORQUE) == {1: 1, 2: 1, 3: 1}  # not the jaw's: that is another device
    goals = [k for k, e in enumerate(bus.log) if isinstance(e, tuple) and e[1] == GOAL]
    torques = [k for k, e in enumerate(bus.log) if isinstance(e, tuple) and e[1] == TORQUE]
    assert max(goals) < min(torques)


@pytest.mark.parametrize("counts", [2048 - 700, 2048 + 3000])
def test_a_joint_far_outside_its_range_is_not_opened(bus, clock, counts):
    """Whole turns are none of an STS3215's: it forgets none, and has no more than one."""
    bus.counts[3] = counts
    q = -(counts - 2048) / 4096 * TURN
    chain = ServoChain(bus, Sts3215Family(), MOTORS, clock)
    with pytest.raises(
        DeviceError, match=f"elbow: stands at {q:.2f}, its range is -0.70..0.70 rad;.*calibrate"
    ):
        chain.open("arm", ARM, {"lift": (-2.0, 2.0), "elbow": (-0.7, 0.7)})
    assert not written(bus, TORQUE) and not written(bus, GOAL)
    bus.counts[3] = 2048 + round(0.9 / TURN * 4096)
    chain.open("arm", ARM, {"lift": (-2.0, 2.0), "elbow": (-0.7, 0.7)})


def test_what_is_set_already_is_not_written_again(bus, chain):
    assert not [e for e in bus.log if isinstance(e, tuple) and e[1] not in (GOAL, TORQUE)]


def test_angles_there_and_back(bus, chain):
    chain.command({"lift": 0.1 + TURN / 8, "elbow": -0.2})
    assert written(bus, GOAL) == {1: 2560, 2: 1536, 3: 2048 + round(0.2 / TURN * 4096)}
    bus.counts |= written(bus, GOAL)
    lift, elbow = chain.cycle("arm", ARM)
    assert lift.q == pytest.approx(0.1 + TURN / 8) and elbow.q == pytest.approx(-0.2, abs=1e-3)


def test_one_cycle_serves_all_who_share_the_bus(bus, chain):
    chain.open("jaw", JAW)
    bus.log.clear()
    for _ in range(5):
        chain.cycle("arm", ARM)
        chain.cycle("jaw", JAW)
    assert bus.log.count("cycle") == 5


def test_a_servo_that_misses_a_cycle_keeps_its_reading_and_its_time(bus, chain):
    before = chain.cycle("arm", ARM)
    bus.silent = {3}
    bus.counts[1] = 2100
    after = chain.cycle("arm", ARM)
    assert after[0].q > before[0].q and after[0].t_ns > before[0].t_ns
    assert after[1] == before[1]


def test_faults_of_a_servo_are_named(bus, chain):
    bus.errors = {3: 32 + 4}
    assert chain.cycle("arm", ARM)[1].faults == ("overheat", "overload")


def gone_and_back(bus, clock, chain):
    bus.gone = True
    with pytest.raises(DeviceError, match="gone"):
        chain.cycle("arm", ARM)
    bus.gone = False
    with pytest.raises(DeviceError, match="gone"):  # not at once: opening takes its time
        chain.cycle("arm", ARM)
    bus.log.clear()
    clock.t_ns += 250 * MS


def test_a_port_that_comes_back_to_servos_that_held_moves_nothing(bus, clock, chain):
    gone_and_back(bus, clock, chain)
    chain.cycle("arm", ARM)
    assert bus.log == ["close", "open", "cycle"]
    chain.command({"lift": 0.3, "elbow": 0.3})


def test_goals_that_are_sent_meanwhile_do_not_put_off_the_next_attempt(bus, clock, chain):
    bus.gone = True
    for _ in range(100):  # the guard goes on, 200 times a second
        for call in (lambda: chain.cycle("arm", ARM), lambda: chain.command({"lift": 0.3, "elbow": 0.3})):
            with pytest.raises(DeviceError, match="port"):
                call()
        clock.t_ns += 5 * MS
    bus.gone = False
    clock.t_ns += 250 * MS
    assert len(chain.cycle("arm", ARM)) == 2


def test_servos_that_lost_their_power_stand_where_they_are_until_commanded_from_there(bus, clock, chain):
    gone_and_back(bus, clock, chain)
    bus.torque[3] = 0
    bus.counts[3] = 900  # it fell
    lift, elbow = chain.cycle("arm", ARM)
    assert elbow.faults == ("lost_power",) and not lift.faults
    assert written(bus, GOAL) == {3: 900} and written(bus, TORQUE) == {3: 1}
    bus.log.clear()
    with pytest.raises(DeviceError, match="elbow: lost its power; re-arm"):
        chain.command({"lift": 0.1, "elbow": 0.0})
    assert not bus.log
    chain.command({"lift": 0.1, "elbow": elbow.q + 0.01})
    chain.command({"lift": 0.1, "elbow": 0.0})
    assert not chain.cycle("arm", ARM)[1].faults


def test_a_port_that_comes_back_before_the_servos_is_tried_again(bus, clock, chain):
    gone_and_back(bus, clock, chain)
    bus.silent = {2}
    with pytest.raises(DeviceError, match="not all servos answer"):
        chain.cycle("arm", ARM)
    bus.silent = set()
    clock.t_ns += 250 * MS
    assert len(chain.cycle("arm", ARM)) == 2


def test_a_port_that_comes_back_forgets_nobody_who_lost_power_before(bus, clock, chain):
    """Nor is he led while he has not answered since: where he stands now, nobody knows."""
    chain.cycle("arm", ARM)
    bus.torque[3], bus.counts[3] = 0, 900
    for _ in range(12):
        lift, elbow = chain.cycle("arm", ARM)
        clock.t_ns += 5 * MS
    assert elbow.faults == ("lost_power",) and bus.torque[3]
    gone_and_back(bus, clock, chain)
    chain.cycle("arm", ARM)
    assert chain.cycle("arm", ARM)[1].faults == ("lost_power",)
    gone_and_back(bus, clock, chain)
    bus.mute = {3}
    with pytest.raises(DeviceError, match="elbow: no answer"):
        chain.cycle("arm", ARM)
    bus.log.clear()
    with pytest.raises(DeviceError, match="elbow: lost its power; re-arm"):
        chain.command({"lift": 0.1, "elbow": elbow.q})
    assert not bus.log


def test_a_servo_that_lost_its_power_alone_is_found_when_it_answers_again(bus, clock, chain):
    chain.cycle("arm", ARM)
    bus.silent = {3}
    chain.cycle("arm", ARM)
    bus.silent, bus.torque[3], bus.counts[3] = set(), 0, 900  # booted, and it fell
    bus.log.clear()
    lift, elbow = chain.cycle("arm", ARM)
    assert elbow.faults == ("lost_power",) and not lift.faults
    assert written(bus, GOAL) == {3: 900} and written(bus, TORQUE) == {3: 1}
    assert [e[1] for e in bus.log if isinstance(e, tuple)] == [GOAL, TORQUE]
    with pytest.raises(DeviceError, match="elbow: lost its power; re-arm"):
        chain.command({"lift": 0.1, "elbow": 0.0})
    chain.command({"lift": 0.1, "elbow": elbow.q})
    assert not chain.cycle("arm", ARM)[1].faults


@pytest.mark.parametrize("id", [1, 2, 3])
def test_torque_that_goes_off_while_all_answer_is_found_in_turn(bus, clock, chain, id):
    chain.cycle("arm", ARM)
    bus.torque[id], began = 0, clock.t_ns
    while not bus.torque[id]:
        chain.cycle("arm", ARM)
        clock.t_ns += 4 * MS
        assert clock.t_ns - began <= (3 * 20 + 10) * MS
    assert [reading.faults for reading in chain.cycle("arm", ARM)].count(("lost_power",)) == 1


def test_a_servo_that_let_go_for_a_fault_is_left_alone(bus, clock, chain):
    bus.errors, bus.torque[3] = {3: 4}, 0
    for _ in range(50):
        assert chain.cycle("arm", ARM)[1].faults == ("overheat",)
        clock.t_ns += 4 * MS
    assert bus.torque[3] == 0


def test_two_servos_on_a_shaft_hold_again_once_both_are_back(bus, clock, chain):
    chain.cycle("arm", ARM)
    bus.silent = {1, 2}
    chain.cycle("arm", ARM)
    bus.torque |= {1: 0, 2: 0}
    bus.silent = {2}
    bus.log.clear()
    chain.cycle("arm", ARM)
    clock.t_ns += 110 * MS
    with pytest.raises(DeviceError, match="lift: no answer"):
        chain.cycle("arm", ARM)
    assert not written(bus, TORQUE)  # and no cycle waits for the one that is not there
    with pytest.raises(DeviceError, match="lift: lost its power"):
        chain.command({"lift": 0.3, "elbow": 0.0})
    bus.silent = set()
    assert chain.cycle("arm", ARM)[0].faults == ("lost_power",) and written(bus, TORQUE) == {1: 1, 2: 1}


class MissesOnce(ScriptedBus):
    """The jaw's servo misses the first cycle that is asked after `miss` is set."""

    miss = False

    def sync_read(self, ids, address, size):
        if self.miss and address != TORQUE:
            self.miss, self.silent = False, {4}
            try:
                return super().sync_read(ids, address, size)
            finally:
                self.silent = set()
        return super().sync_read(ids, address, size)


def test_a_servo_that_misses_the_cycle_of_its_opening_is_asked_again_and_holds_where_it_is_now(clock):
    bus = MissesOnce(clock)
    chain = ServoChain(bus, Sts3215Family(), MOTORS, clock)
    chain.open("arm", ARM)
    bus.counts[4], bus.miss = 1200, True
    chain.open("jaw", JAW)
    assert written(bus, GOAL)[4] == 1200


def test_an_opening_that_fails_lets_nothing_go_that_held_before(bus, clock):
    bus.torque[1] = 1  # left on by a process that died
    bus.silent = {3}
    chain = ServoChain(bus, Sts3215Family(), MOTORS, clock)
    with pytest.raises(DeviceError, match="servo 3"):
        chain.open("arm", ARM)
    chain.close("arm", ARM)
    assert not written(bus, TORQUE)


def test_nothing_is_sent_for_an_angle_that_is_none(bus, chain):
    bus.log.clear()
    with pytest.raises(DeviceError, match="elbow: goal nan is not finite"):
        chain.command({"lift": 0.0, "elbow": float("nan")})
    assert not bus.log


def test_the_last_one_closes_the_port_and_all_lets_go(bus, chain):
    chain.open("jaw", JAW)
    chain.close("arm", ARM)
    assert "close" not in bus.log and written(bus, TORQUE) == {1: 0, 2: 0, 3: 0, 4: 1}
    chain.close("jaw", JAW)
    chain.close("jaw", JAW)
    assert bus.log[-1] == "close" and written(bus, TORQUE)[4] == 0


def test_zeros_are_those_of_lerobots_calibration_file(tmp_path):
    """Whatever the file holds, an encoder's count is the angle that LeRobot's own units say."""
    model, rng = load_model("so101"), np.random.default_rng(0)
    entries = {}
    for id, name in enumerate(motor_names(model), 1):
        low, high = sorted(rng.integers(300, 3800, 2).tolist())
        entries[name] = {
            "id": id, "drive_mode": int(rng.integers(2)), "homing_offset": 0, "range_min": low, "range_max": high + 1
        }  # fmt: skip
    file = tmp_path / "arm.json"
    file.write_text(json.dumps(entries))
    rig = tmp_path / "rig.yaml"
    rig.write_text(
        f"name: mine\narms: {{arm: {{model: so101, calibration: {file}}}}}\ngrippers: {{gripper: {{arm: arm}}}}\n"
    )
    units = LeRobotUnits.from_file(file, model)
    for motor in motors(load_rig(str(rig)), "arm"):
        entry = entries[motor.name]
        share = rng.random()
        counts = entry["range_min"] + share * (entry["range_max"] - entry["range_min"])
        value = 100 * share if motor.name == model.gripper_joint else 200 * share - 100
        if entry["drive_mode"]:
            value = 100 - value if motor.name == model.gripper_joint else -value
        wanted = float(units.to_rad([value], [motor.name])[0])
        assert motor.zero_rad + motor.sign * (counts - 2048) / 4096 * TURN == pytest.approx(wanted, abs=1e-9)
