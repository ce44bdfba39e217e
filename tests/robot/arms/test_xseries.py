"""The Dynamixel driver on emulated servos, on a clock that advances with the wire: no terminal, no other process."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from twinloop.robot.arms.chain import TURN, Motor, ServoChain
from twinloop.robot.arms.devices import ChainArm, chain_devices
from twinloop.robot.arms.koch import motors as koch_motors
from twinloop.robot.arms.xseries import BusWatchdog, XSeriesFamily
from twinloop.robot.buses import Bus, DynamixelFraming
from twinloop.robot.errors import DeviceError, RigError
from twinloop.robot.guard import Guard
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.dynamixel import DynamixelServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.shaft import Shaft
from twinloop.sim.emulate.wire import FreeMotor, WireClock, WirePort
from twinloop.sim.emulate.xseries import STOPPED, XServo
from twinloop.sim.emulate.xtable import CURRENT_BASED, EXTENDED, POSITION

MS, BAUD = 1_000_000, 1_000_000
ARM = ("lift", "elbow")
MOTORS = (
    Motor("lift", (2, 3), 0.1, -1, (False, True), "xl430_w250", {"homing_offset": 0}),
    Motor("elbow", (4,), 0.0, 1, servo="xl430_w250"),
)


class Clock(WireClock):
    """The servos' time passes while somebody waits for bytes, too."""

    def wait_until(self, t_ns):
        for due, period_ns, call in self._calls:
            while due[0] <= t_ns:
                super().wait_until(due[0])
                due[0] += period_ns
                call()
        super().wait_until(t_ns)


class Powered(FreeMotor):
    """One that has the supply its servo wants."""

    def __init__(self, clock, servo):
        super().__init__(clock)
        self.supply_v = 5.0 if servo.startswith("xl330") else 12.0

    def sense(self):
        return replace(super().sense(), supply_v=self.supply_v)


class Cell:
    """Three servos, two of them on one shaft, their line, and hosts that come and go."""

    def __init__(self, settings=None, firmware=46):
        self.clock = Clock()
        self.lift, self.elbow = FreeMotor(self.clock, 0.55), FreeMotor(self.clock, 0.4)
        shaft = Shaft(self.lift, 2)
        kept = {"baud": 3, "return_delay": 0, **(settings or {})}
        self.servos = {
            2: XServo(2, "xl430_w250", shaft.share(0, mirrored=False), kept),
            3: XServo(3, "xl430_w250", shaft.share(1, mirrored=True), kept),
            4: XServo(4, "xl430_w250", self.elbow, kept),
        }
        self.servos[4]._put("firmware", firmware)
        everyone = DynamixelServos(list(self.servos.values()))
        self.line = Line(everyone, BAUD)
        self.clock.every(MS, lambda: everyone.step(MS))

    def host(self):
        """A process that opens the arm anew."""
        bus = Bus(WirePort(self.line, self.clock), DynamixelFraming(), self.clock, BAUD)
        return ServoChain(bus, XSeriesFamily(MOTORS), MOTORS, self.clock)

    def wait(self, ms):
        self.clock.sleep_until(self.clock.now() + round(ms * MS))

    def drive(self, chain, goals, ms=100):
        """A guard's cycles."""
        for _ in range(round(ms / 5)):
            readings = chain.cycle("arm", ARM)
            chain.command(goals)
            self.wait(5)
        return {name: reading for name, reading in zip(ARM, readings, strict=True)}

    def get(self, name):
        return [servo.get(name) for servo in self.servos.values()]

    def angles(self):
        return {"lift": 0.1 - (self.lift.turns - 0.5) * TURN, "elbow": (self.elbow.turns - 0.5) * TURN}


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


# ---------------------------------------------------------------- the bus watchdog


def test_the_watchdog_is_armed_by_the_first_goal_and_off_again_at_the_end(cell, chain):
    for _ in range(10):
        chain.cycle("arm", ARM)
        cell.wait(5)
    assert cell.get("watchdog") == [0, 0, 0]  # whoever only holds may take his time
    cell.drive(chain, cell.angles(), 20)
    assert cell.get("watchdog") == [10, 10, 10]
    assert chain.watchdog_ns == 200 * MS == BusWatchdog.limit_ns
    chain.close("arm", ARM)
    assert cell.get("watchdog") == [0, 0, 0] and cell.get("torque") == [0, 0, 0]


def test_servos_stop_by_themselves_when_their_host_falls_silent(cell, chain):
    cell.drive(chain, cell.angles(), 50)
    cell.drive(chain, {"lift": 0.6, "elbow": 0.6}, 20)  # far away: they are on their way when the host dies
    cell.wait(190)
    assert STOPPED not in cell.get("watchdog")
    cell.wait(30)
    assert cell.get("watchdog") == [STOPPED] * 3 and cell.get("torque") == [1, 1, 1]
    stood = cell.angles()
    cell.wait(500)
    assert cell.angles() == pytest.approx(stood, abs=1e-3)


@pytest.mark.parametrize("end", ["killed", "frozen", "silent line"])
def test_a_host_that_comes_back_gets_them_without_a_jump(cell, chain, end):
    """The goal of before is 1 rad away, and the servo's firmware would go there as soon as it is let."""
    start = cell.angles()
    cell.drive(chain, start, 50)
    far = {name: angle + 1.0 for name, angle in start.items()}
    for servo in cell.servos.values():
        servo._put("profile_velocity", 10)  # 0.24 rad/s: what is seen of a way is short
    cell.drive(chain, far, 10)
    if end == "silent line":
        chain.bus.port.send = lambda data: None  # nobody hears, nobody answers
        for _ in range(80):
            with contextlib.suppress(DeviceError):
                chain.cycle("arm", ARM)
            chain.command(far)
            cell.wait(5)
        del chain.bus.port.send
    else:
        cell.wait(400)
    stood = cell.angles()
    assert cell.get("watchdog") == [STOPPED] * 3
    if end == "killed":
        chain = cell.host()
        chain.open("arm", ARM)
    else:
        readings = chain.cycle("arm", ARM)
        assert all(reading.faults == ("motor_watchdog",) for reading in readings)
        with pytest.raises(DeviceError, match="lift: stopped by itself.*re-arm"):
            chain.command(far)
    assert STOPPED not in cell.get("watchdog")
    cell.wait(100)
    assert cell.angles() == pytest.approx(stood, abs=5e-3)
    near = {name: reading.q for name, reading in zip(ARM, chain.cycle("arm", ARM), strict=True)}
    seen = cell.drive(chain, near, 50)
    assert not any(reading.faults for reading in seen.values()) and cell.get("watchdog") == [10] * 3
    assert cell.angles() == pytest.approx(stood, abs=5e-3)


def test_answers_that_are_lost_on_their_way_back_trip_nothing(cell, chain):
    cell.drive(chain, cell.angles(), 50)
    cell.line.faults.silent = True  # the servos hear, and are not heard
    for _ in range(80):
        with contextlib.suppress(DeviceError):
            chain.cycle("arm", ARM)
        cell.wait(5)
    cell.line.faults.silent = False
    assert not any(reading.faults for reading in cell.drive(chain, cell.angles(), 50).values())
    assert cell.get("watchdog") == [10] * 3


def test_a_servo_that_lost_its_power_for_a_moment_holds_where_it_fell_until_led_from_there(cell, chain):
    goals = cell.angles()
    cell.drive(chain, goals, 50)
    cell.servos[4].power_cycle()
    cell.elbow.turns += 0.05
    fell = cell.angles()["elbow"]
    for _ in range(60):
        with contextlib.suppress(DeviceError):
            lift, elbow = chain.cycle("arm", ARM)
            if elbow.faults:
                break
            chain.command(goals)
        cell.wait(5)
    assert elbow.faults == ("lost_power",) and not lift.faults
    assert cell.get("torque") == [1, 1, 1] and elbow.q == pytest.approx(fell, abs=5e-3)
    with pytest.raises(DeviceError, match="elbow: lost its power; re-arm"):
        chain.command(goals)
    cell.wait(50)
    assert cell.angles()["elbow"] == pytest.approx(fell, abs=5e-3)
    seen = cell.drive(chain, goals | {"elbow": elbow.q}, 100)
    assert not seen["elbow"].faults and cell.get("watchdog") == [10] * 3  # armed anew


def test_two_stopped_servos_on_a_shaft_go_on_together(cell, chain):
    """While one of them is not heard, neither is let go of: its goal would be of where they stood before."""
    goal = cell.angles()
    for _ in range(40):
        goal["lift"] += 0.01  # 2 rad/s, on its way when the host falls silent
        cell.drive(chain, goal, 5)
    cell.wait(300)
    stood = cell.angles()
    real, family = chain._family.read, chain._family
    family.read = lambda bus, ids: {id: seen for id, seen in real(bus, ids).items() if id != 3}
    for _ in range(3):
        with contextlib.suppress(DeviceError):
            chain.cycle("arm", ARM)
        assert cell.get("watchdog")[:2] == [STOPPED] * 2
        cell.wait(5)
    family.read = real
    assert chain.cycle("arm", ARM)[0].faults == ("motor_watchdog",)
    assert STOPPED not in cell.get("watchdog")
    cell.wait(100)
    assert cell.angles() == pytest.approx(stood, abs=2e-3)


def test_a_port_that_comes_back_forgets_no_motor_that_was_stopped_before(cell, chain):
    cell.drive(chain, cell.angles(), 50)
    cell.wait(300)
    assert chain.cycle("arm", ARM)[0].faults == ("motor_watchdog",)
    chain._lost_ns = cell.clock.now()  # the port goes away, and comes back
    cell.servos[4].reboot()
    cell.wait(300)
    faults = [reading.faults for reading in chain.cycle("arm", ARM)]
    assert faults == [("motor_watchdog",), ("lost_power",)]
    with pytest.raises(DeviceError, match="lift: stopped by itself"):
        chain.command({"lift": cell.angles()["lift"] + 0.5})


# ---------------------------------------------------------------- turns


def test_the_turn_that_an_encoder_forgets_without_power_is_found_by_the_joints_range():
    cell = Cell({"operating_mode": EXTENDED})
    cell.lift.turns, cell.elbow.turns = 1.1, -0.1  # their encoders begin anew at 0: a turn off
    for servo in cell.servos.values():
        servo.power_cycle()
    cell.wait(200)
    start = cell.angles()
    chain = cell.host()
    chain.open("arm", ARM, dict.fromkeys(ARM, (-4.5, 0.5)))

    def read():
        return {name: reading.q for name, reading in zip(ARM, chain.cycle("arm", ARM), strict=True)}

    assert read() == pytest.approx(start, abs=2e-3)
    cell.wait(100)
    assert cell.angles() == pytest.approx(start, abs=2e-3)
    goals = {name: angle + 0.3 for name, angle in start.items()}
    cell.drive(chain, goals, 400)
    assert read() == pytest.approx(goals, abs=3e-3) == cell.angles()
    cell.servos[4].power_cycle()
    cell.elbow.turns -= 0.2 / TURN
    for _ in range(40):
        with contextlib.suppress(DeviceError):
            if chain.cycle("arm", ARM)[1].faults:
                break
        cell.wait(5)
    cell.wait(100)
    fell = goals | {"elbow": goals["elbow"] - 0.2}
    assert read() == pytest.approx(fell, abs=0.02) == cell.angles()


def test_a_turn_in_the_range_is_kept_and_a_pose_outside_of_it_that_no_turn_explains_is_refused(cell):
    chain, start = cell.host(), cell.angles()
    chain.open("arm", ARM, {"lift": (-4.0, 4.0), "elbow": (start["elbow"] + 0.2, 1.0)})  # it sagged
    for name, reading in zip(ARM, chain.cycle("arm", ARM), strict=True):
        assert reading.q == pytest.approx(start[name], abs=2e-3)
    chain.close("arm", ARM)
    with pytest.raises(
        DeviceError, match=r"elbow: stands at -0.63, its range is 0.20..1.00 rad; move it there by"
    ):
        cell.host().open("arm", ARM, {"elbow": (0.2, 1.0)})
    assert cell.get("torque") == [0, 0, 0]


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


def test_an_arm_of_a_chain_tells_its_watchdog(cell, chain):
    spec = load_rig("so101").joint_spec("arm")
    assert ChainArm("arm", spec, chain).watchdog_ns == 200 * MS


def test_a_gripper_is_limited_by_its_own_current():
    rig = load_rig("koch")
    jaw = koch_motors(rig, "arm")[-1]
    assert jaw.registers["operating_mode"] == CURRENT_BASED
    amps = jaw.registers["goal_current"] * 1e-3
    assert np.isclose(amps * 0.52 / 1.47, 1.25 * rig.grippers["gripper"].force_n * 0.0465, rtol=0.05)


def test_a_guard_that_was_frozen_finds_its_arm_stopped_and_goes_on_after_a_rearm():
    """The guard's own cycles on a Koch's driver and servos."""
    rig = load_rig("koch")
    clock, found = Clock(), koch_motors(rig, "arm")
    joints = {motor.name: Powered(clock, motor.servo) for motor in found}
    settings = {"baud": 3, "return_delay": 0}
    servos = [XServo(motor.ids[0], motor.servo, joints[motor.name], settings) for motor in found]
    everyone = DynamixelServos(servos)
    clock.every(MS, lambda: everyone.step(MS))
    bus = Bus(WirePort(Line(everyone, BAUD), clock), DynamixelFraming(), clock, BAUD)
    devices = chain_devices("arm", rig, ServoChain(bus, XSeriesFamily(found), found, clock))
    guard = Guard(rig, {"arm": devices.arm}, {"gripper": devices.gripper}, clock)

    def run(ms):
        for _ in range(ms // 5):
            guard.tick()
            clock.sleep_until(clock.now() + 5 * MS)

    guard.open()
    run(100)
    told = next(p for p in guard.protections() if p.name == "motor_watchdog")
    assert told.active and "arm 200 ms" in told.detail
    assert [servo.get("watchdog") for servo in servos] == [10] * 6 and guard.mode == "hold"
    clock.sleep_until(clock.now() + 300 * MS)  # the process stood still
    assert [servo.get("watchdog") for servo in servos] == [STOPPED] * 6
    stood = [joint.turns for joint in joints.values()]
    run(50)
    assert guard.mode == "fault" and "motor_watchdog" in guard.reason
    guard.rearm()
    run(200)
    assert guard.mode != "fault" and [servo.get("watchdog") for servo in servos] == [10] * 6
    assert [joint.turns for joint in joints.values()] == pytest.approx(stood, abs=1e-3)
    servos[-1].overload()
    run(50)
    assert guard.mode == "fault" and guard.reason == "gripper: overload"  # no joint of the arm has one
    guard.close(unparked=True)
    assert [servo.get("torque") for servo in servos] == [0] * 6
