"""Six servos on a pseudo-terminal, in a process of their own: prints the path, takes faults as JSON lines.

STS3215, or XL430 when the first argument is "dynamixel".
"""

import json
import math
import select
import sys
from dataclasses import dataclass

from twinloop.robot.clock import RealClock
from twinloop.sim.emulate.dynamixel import DynamixelServos
from twinloop.sim.emulate.feetech import FeetechServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.motor import Sensed
from twinloop.sim.emulate.sts3215 import Sts3215
from twinloop.sim.emulate.terminal import Terminal, serve
from twinloop.sim.emulate.xseries import XServo

BAUD = 1_000_000
LAG_S = 0.05


@dataclass
class FirstOrder:
    """A motor that follows its goal with a lag, and carries no load."""

    clock: RealClock
    turns: float = 0.5
    goal: float | None = None
    speed: float = 0.0
    duty: float = 0.0
    temperature_c: float = 30.0

    def __post_init__(self):
        self.t_ns = self.clock.now()

    def sense(self):
        now = self.clock.now()
        dt, self.t_ns = (now - self.t_ns) * 1e-9, now
        moved = 0.0 if self.goal is None else (self.goal - self.turns) * (1.0 - math.exp(-dt / LAG_S))
        self.turns += moved
        self.speed = moved / dt if dt > 0.0 else 0.0
        return Sensed(self.turns, self.speed, self.duty, abs(self.duty), 7.4, self.temperature_c)

    def drive(self, turns, duty_max, p):
        self.goal = turns


def main():
    clock = RealClock()
    if sys.argv[1:] == ["dynamixel"]:
        servos = DynamixelServos(
            [XServo(id, "xl430_w250", FirstOrder(clock), {"baud": 3}) for id in range(1, 7)]
        )
    else:
        servos = FeetechServos([Sts3215(id, FirstOrder(clock)) for id in range(1, 7)])
    line = Line(servos, BAUD)
    last = clock.now()

    def idle():
        nonlocal last
        now = clock.now()
        if now > last:
            servos.step(now - last)
            last = now

    terminal = Terminal(line, clock)
    terminal.open()
    print(terminal.path, flush=True)
    while True:
        serve([terminal], clock, clock.now() + 2_000_000, idle)
        if select.select([sys.stdin], [], [], 0)[0]:
            order = sys.stdin.readline()
            if not order:
                return
            for name, value in json.loads(order).items():
                setattr(line.faults, name, set(value) if name == "dead" else value)
            print("done", flush=True)


if __name__ == "__main__":
    main()
