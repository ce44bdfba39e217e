"""A line of servos without an arm around them, in a process of its own: so that a bus is measured, and no physics."""

from __future__ import annotations

import multiprocessing as mp
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from twinloop.robot.clock import RealClock
from twinloop.sim.emulate.dynamixel import DynamixelServos
from twinloop.sim.emulate.feetech import FeetechServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.motor import Sensed
from twinloop.sim.emulate.sts3215 import Sts3215
from twinloop.sim.emulate.terminal import Terminal, serve
from twinloop.sim.emulate.xseries import BAUDS, XServo

IDS = range(1, 7)
MODEL = "xl330_m288"  # of the Dynamixel servos
RETURN_DELAY = 7  # register of an STS3215
SLICE_NS = 20_000_000


class StillMotor:
    """Stands where it is. Implements `Motor`."""

    def sense(self) -> Sensed:
        return Sensed(0.1, 0.0, 0.0, 0.0, 7.4, 30.0)

    def drive(self, turns: float | None, duty_max: float, p: int) -> None:
        pass


class LineProcess:
    """Six servos of `vendor` ("feetech", "dynamixel") at `baud`; `path` is their port while it is open."""

    def __init__(self, vendor: str, baud: int) -> None:
        context = mp.get_context("spawn")
        self.path = ""
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(vendor, baud, theirs), daemon=True)

    def __enter__(self) -> LineProcess:
        self._process.start()
        self.path = self._orders.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.close()
        self._process.join()

    def faults(self, **faults: Any) -> None:
        """Set fields of the `Faults` of the line."""
        self._orders.send(faults)
        self._orders.recv()

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(vendor: str, baud: int, orders: Connection) -> None:
    servos: FeetechServos | DynamixelServos
    if vendor == "feetech":
        made = [Sts3215(id, StillMotor()) for id in IDS]
        for servo in made:
            servo.write(RETURN_DELAY, b"\0")  # as every driver sets it; the factory's is 0.5 ms
        servos = FeetechServos(made)
    else:
        settings = {"baud": BAUDS.index(baud), "return_delay": 0}
        servos = DynamixelServos([XServo(id, MODEL, StillMotor(), settings) for id in IDS])
    clock = RealClock()
    line = Line(servos, baud)
    terminal = Terminal(line, clock)
    terminal.open()
    orders.send(terminal.path)
    while True:
        serve([terminal], clock, clock.now() + SLICE_NS, lambda: None)
        if not orders.poll():
            continue
        try:
            faults = orders.recv()
        except EOFError:
            break
        for name, value in faults.items():
            setattr(line.faults, name, value)
        orders.send(None)
    terminal.close()
