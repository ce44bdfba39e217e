"""Servos on a line in memory, on a clock of their own: a search of all baud rates takes no time."""

from collections import deque

from twinloop.robot.buses import Bus
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.motor import Sensed


class Ticking:
    def __init__(self):
        self.t_ns = 0

    def now(self):
        return self.t_ns

    def sleep_until(self, deadline_ns):
        self.t_ns = max(self.t_ns, deadline_ns)


class Still:
    """A motor that stands where it is put."""

    def __init__(self, turns=0.5, temperature_c=30.0, supply_v=7.4):
        self.sensed = Sensed(turns, 0.0, 0.0, 0.0, supply_v, temperature_c)

    def sense(self):
        return self.sensed

    def drive(self, turns, duty_max, p):
        pass


class LinePort:
    """One end of a line; implements `Port`. `log` has what was sent."""

    def __init__(self, line, baud, clock, log):
        self._line, self._baud, self._clock, self._log = line, baud, clock, log
        self._due = deque()

    def open(self):
        pass

    def close(self):
        pass

    def send(self, data):
        self._log.append(bytes(data))
        self._due.extend(self._line.receive(data, self._clock.now(), self._baud))

    def receive(self, deadline_ns):
        if self._due and self._due[0][0] <= max(deadline_ns, self._clock.now()):
            at, data = self._due.popleft()
            self._clock.sleep_until(at)
            return data
        self._clock.sleep_until(deadline_ns)
        return b""


class Bench:
    """`servos` (a `Servos`) as `search.OpenBus`."""

    def __init__(self, servos, framing):
        self.clock, self.log = Ticking(), []
        self.line = Line(servos, 1_000_000)
        self._framing = framing

    def __call__(self, baud):
        port = LinePort(self.line, baud, self.clock, self.log)
        return Bus(port, self._framing, self.clock, baud)
