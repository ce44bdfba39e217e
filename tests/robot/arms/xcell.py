"""Three emulated X servos on their line, on a clock that advances with the wire, and hosts that come and go."""

from dataclasses import replace

from twinloop.robot.arms.chain import TURN, Motor, ServoChain
from twinloop.robot.arms.xseries import XSeriesFamily
from twinloop.robot.buses import Bus, DynamixelFraming
from twinloop.sim.emulate.dynamixel import DynamixelServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.shaft import Shaft
from twinloop.sim.emulate.wire import FreeMotor, WireClock, WirePort
from twinloop.sim.emulate.xseries import XServo

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
