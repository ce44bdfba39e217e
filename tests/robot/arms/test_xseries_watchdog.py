"""What Dynamixel servos do without their host or their power, and how the driver finds them afterwards."""

import contextlib

import pytest
from twinloop.robot.arms.chain import TURN, ServoChain
from twinloop.robot.arms.devices import ChainArm, chain_devices
from twinloop.robot.arms.koch import motors as koch_motors
from twinloop.robot.arms.xseries import BusWatchdog, XSeriesFamily
from twinloop.robot.buses import Bus, DynamixelFraming
from twinloop.robot.errors import DeviceError
from twinloop.robot.guard import Guard
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.dynamixel import DynamixelServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.wire import WirePort
from twinloop.sim.emulate.xseries import STOPPED, XServo
from twinloop.sim.emulate.xtable import EXTENDED
from xcell import ARM, BAUD, MS, Cell, Clock, Powered


@pytest.fixture
def cell():
    return Cell()


@pytest.fixture
def chain(cell):
    made = cell.host()
    made.open("arm", ARM)
    return made


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


def test_an_arm_of_a_chain_tells_its_watchdog(cell, chain):
    spec = load_rig("so101").joint_spec("arm")
    assert ChainArm("arm", spec, chain).watchdog_ns == 200 * MS


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
