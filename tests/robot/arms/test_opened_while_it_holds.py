"""An arm that holds when its driver opens it, as one whose process was killed: no servo of it lets go for a moment."""

from dataclasses import replace

import pytest
from twinloop.robot.arms.chain import TURN, ServoChain
from twinloop.robot.arms.koch import motors as koch_motors
from twinloop.robot.arms.so101 import motors as so101_motors
from twinloop.robot.arms.sts3215 import Sts3215Family
from twinloop.robot.arms.viperx import motors as viperx_motors
from twinloop.robot.arms.xseries import XSeriesFamily
from twinloop.robot.buses import Bus, DynamixelFraming, FeetechFraming
from twinloop.robot.errors import DeviceError
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.dynamixel import DynamixelServos
from twinloop.sim.emulate.feetech import FeetechServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.shaft import Shaft
from twinloop.sim.emulate.sts3215 import Sts3215
from twinloop.sim.emulate.wire import WirePort
from twinloop.sim.emulate.xseries import ENCODER, XServo
from xcell import BAUD, MS, Clock, Powered

FALL_TURNS_S = 1.0  # of a joint that nothing holds
ARMS = {"so101": so101_motors, "koch": koch_motors, "viperx": viperx_motors}


class Loaded(Powered):
    """A joint that falls while its motor lets go of it; `supply_v` is what it gets."""

    def __init__(self, clock, servo):
        super().__init__(clock, servo)
        self.supply_v = 7.4 if servo == "sts3215" else self.supply_v
        self._fell_ns = clock.now()

    def sense(self):
        now = self.clock.now()
        if self._goal is None:
            self.turns -= FALL_TURNS_S * (now - self._fell_ns) * 1e-9
        self._fell_ns = now
        return replace(super().sense(), supply_v=self.supply_v)


class HeldArm:
    """Servos of an arm, all of them holding, and hosts that open them; `let_go` names what did not hold meanwhile."""

    def __init__(self, name):
        self.clock, self.motors = Clock(), ARMS[name](load_rig(name), "arm")
        self.feetech = self.motors[0].servo == "sts3215"
        self.joints = {motor.name: Loaded(self.clock, motor.servo) for motor in self.motors}
        self.servos = {id: servo for motor in self.motors for id, servo in self._of(motor).items()}
        everyone = (FeetechServos if self.feetech else DynamixelServos)(list(self.servos.values()))
        self.line, self.let_go = Line(everyone, BAUD), set()
        for servo in self.servos.values():
            self._watched(servo)
        self.clock.every(MS, lambda: everyone.step(MS))
        self.clock.every(MS, self._look)

    def hold(self):
        """As a process that died left them: where the joint stands, torque on."""
        self.open()
        self.clock.sleep_until(self.clock.now() + 300 * MS)  # at rest again after its fall
        self.let_go.clear()
        return {name: joint.turns for name, joint in self.joints.items()}

    def open(self):
        chain = self.host()
        chain.open("arm", [motor.name for motor in self.motors])
        return chain

    def host(self):
        framing = FeetechFraming() if self.feetech else DynamixelFraming()
        family = Sts3215Family() if self.feetech else XSeriesFamily(self.motors)
        bus = Bus(WirePort(self.line, self.clock), framing, self.clock, BAUD)
        return ServoChain(bus, family, self.motors, self.clock)

    def gains(self):
        return [servo.get("p") for servo in self.servos.values()]

    def change_settings(self):
        """Those that may be set while a servo holds; to set the others of an X servo, its driver asks for its power."""
        for servo in self.servos.values():
            values = {"p": 32, "return_delay": 250, "acceleration": 50} if self.feetech else {"p": 640}
            for name, value in values.items():
                (servo._set if self.feetech else servo._put)(name, value)

    def complain(self):
        """Of what lets no servo of this kind go."""
        for joint in self.joints.values():
            joint.supply_v = 3.0 if self.feetech else joint.supply_v
        for servo in self.servos.values():
            if not self.feetech:
                servo._fail(ENCODER)
        self.clock.sleep_until(self.clock.now() + 5 * MS)

    def _of(self, motor):
        if self.feetech:
            return {motor.ids[0]: Sts3215(motor.ids[0], self.joints[motor.name])}
        shaft, kept = Shaft(self.joints[motor.name], len(motor.ids)), {"baud": 3, "return_delay": 0}
        return {
            id: XServo(id, motor.servo, shaft.share(k, mirrored=mirrored), kept)
            for k, (id, mirrored) in enumerate(zip(motor.ids, motor.mirrored, strict=True))
        }

    def _watched(self, servo):
        """Look after every write, too: off and on again between two steps of its firmware is seen."""
        real = servo.write

        def write(*args, **options):
            answer = real(*args, **options)
            self._look()
            return answer

        servo.write = write

    def _look(self):
        self.let_go |= {id for id, servo in self.servos.items() if servo.get("torque") != 1}


@pytest.fixture(params=ARMS)
def arm(request):
    return HeldArm(request.param)


@pytest.mark.parametrize("left", ["as we do", "as another program does"])
def test_opening_lets_go_of_no_servo_that_holds(arm, left):
    stood, gains = arm.hold(), arm.gains()
    if left == "as another program does":
        arm.change_settings()
    chain = arm.open()
    arm.clock.sleep_until(arm.clock.now() + 200 * MS)
    assert not arm.let_go and arm.gains() == gains
    assert {name: joint.turns for name, joint in arm.joints.items()} == pytest.approx(stood, abs=1e-3)
    for motor, reading in zip(arm.motors, chain.cycle("arm", list(stood)), strict=True):
        where = motor.zero_rad + motor.sign * (stood[motor.name] - 0.5) * TURN
        assert reading.q == pytest.approx(where, abs=5e-3)


def test_an_arm_that_complains_and_holds_is_opened_as_it_stands(arm):
    """An error that shuts no servo down is no reason to reboot one; it is said."""
    stood = arm.hold()
    arm.complain()
    chain = arm.open()
    arm.clock.sleep_until(arm.clock.now() + 200 * MS)
    assert not arm.let_go
    assert {name: joint.turns for name, joint in arm.joints.items()} == pytest.approx(stood, abs=1e-3)
    error = "voltage" if arm.feetech else "encoder"
    assert all(error in str(reading.faults) for reading in chain.cycle("arm", list(stood)))


def test_where_another_device_cannot_be_opened_what_held_holds_on(arm):
    """The guard opens all or none; an arm that held in the air must not fall because its gripper does not answer."""
    stood = arm.hold()
    *names, jaw = stood
    chain = arm.host()
    chain.open("arm", names)
    arm.line.faults.dead = {max(arm.servos)}
    with pytest.raises(DeviceError, match=f"servo {max(arm.servos)}"):
        chain.open("gripper", [jaw])
    chain.close("gripper", [jaw])
    chain.close("arm", names)
    arm.clock.sleep_until(arm.clock.now() + 100 * MS)
    assert not arm.let_go
    assert {name: joint.turns for name, joint in arm.joints.items()} == pytest.approx(stood, abs=1e-3)


def test_what_held_before_is_let_go_of_by_whoever_led_it(arm):
    stood = arm.hold()
    chain, names = arm.open(), list(stood)
    chain.command({name: seen.q for name, seen in zip(names, chain.cycle("arm", names), strict=True)})
    chain.close("arm", names)
    assert arm.let_go == set(arm.servos)
