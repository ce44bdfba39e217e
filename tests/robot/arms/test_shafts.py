"""A ViperX, two servos on the shafts of its shoulder and elbow, whose line was silent: nothing pulls against itself."""

import contextlib

import pytest
from twinloop.robot.arms.chain import ServoChain
from twinloop.robot.arms.viperx import motors as viperx_motors
from twinloop.robot.arms.xseries import XSeriesFamily
from twinloop.robot.buses import Bus, DynamixelFraming
from twinloop.robot.errors import DeviceError
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.dynamixel import DynamixelServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.shaft import Shaft
from twinloop.sim.emulate.wire import WirePort
from twinloop.sim.emulate.xseries import STOPPED, XServo
from xcell import BAUD, MS, Clock, Powered

PAIRS = {"shoulder": (2, 3), "elbow": (4, 5)}
FAR = {"shoulder": 0.8, "elbow": 0.8}  # rad: what a guard that knows nothing yet goes on to want
WATCHDOG = 98


class ViperX:
    """Its servos on their line and a host; `pull` is the furthest that two on a shaft wanted to be apart, in turns."""

    def __init__(self):
        self.clock = Clock()
        motors = viperx_motors(load_rig("viperx"), "arm")
        self.names = [motor.name for motor in motors]
        self.shafts, self.servos, self.pull = {}, {}, 0.0
        for motor in motors:
            shaft = self.shafts[motor.name] = Shaft(Powered(self.clock, motor.servo), len(motor.ids))
            for k, id in enumerate(motor.ids):
                share = shaft.share(k, mirrored=motor.mirrored[k])
                self.servos[id] = XServo(id, motor.servo, share, {"baud": 3, "return_delay": 0})
        self._everyone = DynamixelServos(list(self.servos.values()))
        self.line = Line(self._everyone, BAUD)
        self.bus = Bus(WirePort(self.line, self.clock), DynamixelFraming(), self.clock, BAUD)
        self.chain = ServoChain(self.bus, XSeriesFamily(motors), motors, self.clock)
        self.clock.every(MS, self._step)
        self.chain.open("arm", self.names)

    def cycles(self, goals, count):
        """A guard's: it reads, and commands what it wants, whatever it is answered."""
        for _ in range(count):
            for call in (lambda: self.chain.cycle("arm", self.names), lambda: self.chain.command(goals)):
                with contextlib.suppress(DeviceError):
                    call()
            self.clock.sleep_until(self.clock.now() + 5 * MS)

    def stood(self):
        return {name: self.shafts[name].motor.turns for name in PAIRS}

    def watchdogs(self, name):
        return [self.servos[id].get("watchdog") for id in PAIRS[name]]

    def _step(self):
        self._everyone.step(MS)
        for name in PAIRS:
            wanted = [drive.turns for drive in self.shafts[name]._drives.values()]
            self.pull = max(self.pull, max(wanted) - min(wanted)) if wanted else self.pull


@pytest.fixture
def stopped():
    """One that was on its way, slowly, in both joints when its line fell silent until the servos stopped."""
    arm = ViperX()
    for servo in arm.servos.values():
        servo._put("profile_velocity", 20)  # 0.48 rad/s, which a stop ends
    arm.cycles(FAR, 20)
    arm.bus.port.send = lambda data: None
    arm.cycles(FAR, 50)
    del arm.bus.port.send
    assert all(arm.watchdogs(name) == [STOPPED] * 2 for name in PAIRS)
    arm.pull = 0.0
    return arm


def back(arm, stood):
    """All are there again: the joints stand where they stopped, hold, and go on together once led from there."""
    arm.cycles(FAR, 20)
    readings = dict(zip(arm.names, arm.chain.cycle("arm", arm.names), strict=True))
    assert all("motor_watchdog" in readings[name].faults for name in PAIRS)
    assert arm.stood() == pytest.approx(stood, abs=2e-3)
    assert all(STOPPED not in arm.watchdogs(name) for name in PAIRS)
    here = {name: readings[name].q for name in PAIRS}
    arm.cycles(here, 5)
    arm.cycles({name: q + 0.1 for name, q in here.items()}, 60)
    after = dict(zip(arm.names, arm.chain.cycle("arm", arm.names), strict=True))
    assert not any(after[name].faults for name in PAIRS)
    for name in PAIRS:
        assert after[name].q == pytest.approx(here[name] + 0.1, abs=5e-3)
    assert arm.pull < 2e-3


@pytest.mark.parametrize("silent", [{3}, {2, 5}])
def test_while_one_of_a_shaft_is_not_heard_both_stay_stopped(stopped, silent):
    stood = stopped.stood()
    stopped.line.faults.dead = silent
    stopped.cycles(FAR, 6)
    for name, ids in PAIRS.items():
        if silent.intersection(ids):
            assert stopped.watchdogs(name) == [STOPPED] * 2
    assert stopped.stood() == pytest.approx(stood, abs=2e-3) and stopped.pull < 2e-3
    stopped.line.faults.dead = set()
    back(stopped, stood)


def test_while_the_watchdog_of_one_of_a_shaft_is_not_known_both_stay_stopped(stopped):
    """Its position arrives, and the answer about its watchdog does not."""
    stood, real = stopped.stood(), stopped.bus.sync_read

    def loses(ids, address, size):
        answers = real(ids, address, size)
        return {id: a for id, a in answers.items() if address != WATCHDOG or id not in (3, 4)}

    stopped.bus.sync_read = loses
    stopped.cycles(FAR, 6)
    assert all(stopped.watchdogs(name) == [STOPPED] * 2 for name in PAIRS)
    del stopped.bus.sync_read
    back(stopped, stood)
