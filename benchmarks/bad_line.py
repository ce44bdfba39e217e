"""Ten minutes on a bad line: 1 % of the answers damaged, 1 % lost. One JSON line a figure.

Run: python benchmarks/bad_line.py [--quick] [--seconds 600] [--damaged 0.01] [--lost 0.01]
     [--rig so101|koch|viperx] [--alone]

The guard's server, the arm's own driver and its packets, and the emulated servos run in this process, on a clock that
advances as bytes travel: what a missing answer costs is exact, the same on every machine, and takes a fraction of the
time. An agent sends a new chunk every 20 ms of that clock. The last figures are the same run on a clean line.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _figures import emit
from twinloop.robot.arms.chain import TURN
from twinloop.robot.arms.servo_line import driver_module
from twinloop.robot.models import load_model
from twinloop.robot.process.orders import Order, Request, encode
from twinloop.robot.process.plan import ORDERS_RING, STATUS_RING, ProcessPlan
from twinloop.robot.process.ring import RingReader, RingWriter
from twinloop.robot.process.server import DONE, GuardServer
from twinloop.robot.process.status import Status, StatusCodec
from twinloop.robot.rig import Rig, load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.emulate.dynamixel import DynamixelServos
from twinloop.sim.emulate.feetech import FeetechServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.rig import joint_motors, servo_baud
from twinloop.sim.emulate.shaft import Shaft
from twinloop.sim.emulate.sts3215 import Sts3215
from twinloop.sim.emulate.wire import FreeMotor, WireClock, WirePort
from twinloop.sim.emulate.xseries import BAUDS, MODELS, XServo

MS = 1_000_000
PERIOD_NS = 5 * MS
SUPPLY_V = {"xl330": 5.0, "xl430": 12.0, "xm": 12.0}
AHEAD_NS = 40 * MS  # a chunk's first row


class Timed(WireClock):
    """Notes how long a cycle takes: from its deadline to the call for the next."""

    longest_ns = 0

    def sleep_until(self, deadline_ns: int) -> None:
        self.longest_ns = max(self.longest_ns, self.now() - deadline_ns + PERIOD_NS)
        super().sleep_until(deadline_ns)


@dataclass
class Seen:
    """What the guard told, looked at as it came."""

    rig: Rig
    last: list[Status] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)  # limit -> share of it that was used
    longest_ms: float = 0.0  # cycle

    def look(self, statuses: list[Status]) -> None:
        """Finite differences of the commands, across what was looked at before; anew after a stall."""
        spec = self.rig.joint_spec("arm")
        kept = self.last
        for status in statuses:
            if kept and (status.t_ns == kept[-1].t_ns or not status.is_open):
                continue
            if kept and status.limits.get("stall", 0) > kept[-1].limits.get("stall", 0):
                kept = []
            kept.append(status)
            self.modes[status.mode] += 1
        values = np.array([s.sent[: spec.n] for s in kept])
        for name, limit in (
            ("velocity", spec.dq_max),
            ("acceleration", spec.ddq_max),
            ("jerk", spec.dddq_max),
        ):
            values = np.diff(values, axis=0) * self.rig.guard.rate_hz
            share = float(np.abs(values / limit).max(initial=0.0))
            self.worst[name] = max(self.worst.get(name, 0.0), share)
        self.last = kept[-3:]


def servos_of(rig: Rig, clock: WireClock) -> FeetechServos | DynamixelServos:
    """The arm's servos as its driver tells them, folded at rest, behind motors that carry nothing."""
    model = load_model(rig.arms["arm"].model)
    rest = dict(zip(model.joints, model.rest_q_rad.tolist(), strict=True))
    feetech: list[Sts3215] = []
    dynamixel: list[XServo] = []
    for joint in joint_motors(rig, "arm"):
        angle = rest.get(joint.name, sum(model.gripper_range()) / 2)
        supply_v = next((volts for servo, volts in SUPPLY_V.items() if joint.servo.startswith(servo)), 7.4)
        turns = 0.5 + joint.sign * (angle - joint.zero_rad) / TURN
        shaft = Shaft(FreeMotor(clock, turns, supply_v), len(joint.ids))
        for k, (id, mirrored) in enumerate(zip(joint.ids, joint.mirrored, strict=True)):
            motor = shaft.share(k, mirrored=mirrored) if len(joint.ids) > 1 or mirrored else shaft.motor
            if joint.servo in MODELS:
                dynamixel.append(
                    XServo(id, joint.servo, motor, {"baud": BAUDS.index(servo_baud(rig, "arm"))})
                )
            else:
                feetech.append(Sts3215(id, motor))
    return DynamixelServos(dynamixel) if dynamixel else FeetechServos(feetech)


@contextmanager
def wired(rig: Rig, clock: WireClock, damaged: float, lost: float, seed: int) -> Iterator[Line]:
    """The arm's driver finds the line where it looks for a serial port."""
    module = driver_module(rig.arms["arm"].model)
    servos, period_ns = servos_of(rig, clock), round(1e9 / rig.guard.rate_hz)
    clock.every(period_ns, lambda: servos.step(period_ns))
    line = Line(servos, module.BAUD, seed)
    line.faults.damaged, line.faults.lost = damaged, lost
    found, module.SerialPort = module.SerialPort, lambda *_: WirePort(line, clock)
    try:
        yield line
    finally:
        module.SerialPort = found


def fly(
    rig: Rig, seconds: float, damaged: float, lost: float, seed: int = 0
) -> tuple[Seen, Status, Counter[str]]:
    """One session, from opening to release; what was seen, the last status, and how the bus fared."""
    clock, seen, codec = Timed(), Seen(rig), StatusCodec(rig)
    end_ns = clock.now() + round(seconds * 1e9)
    home = load_model(rig.arms["arm"].model).home_q_rad
    with tempfile.TemporaryDirectory() as name, wired(rig, clock, damaged, lost, seed):
        folder = Path(name)
        orders, statuses = RingWriter(folder / ORDERS_RING), RingReader(folder / STATUS_RING, from_start=True)
        orders.open()
        RingWriter(folder / STATUS_RING, 1 << 22).open()
        statuses.open()
        server = GuardServer(ProcessPlan(folder, rig, {"arm": "wire"}), clock, lambda: clock.now() > end_ns)
        rng = np.random.default_rng(seed)
        phases = rng.uniform(0, 2 * np.pi, home.size)

        def act() -> None:
            now = clock.now()
            if now > end_ns:
                return
            times = (now + AHEAD_NS + np.arange(3) * 33 * MS) * 1e-9
            rows = home + 0.25 * np.sin(1.5 * times[:, None] + phases)
            chunk = ActionChunk(now + AHEAD_NS, 33 * MS, {"arm": rows}, {}, now + 200 * MS, "sway")
            orders.write(Order.CHUNK, encode(Request(Order.CHUNK, chunk=chunk)), now)

        clock.every(20 * MS, act)
        clock.every(500 * MS, lambda: seen.look([codec.unpack(m.data) for m in statuses.poll(5000)]))
        assert server.run() == DONE
        last = [codec.unpack(m.data) for m in statuses.poll(5000)]
        seen.look(last)
        assert not statuses.lost
        counters = server.guard._devices._arms["arm"]._chain.bus.counters  # type: ignore[attr-defined]
        bus = Counter(asked=counters.asked, missing=sum(counters.missing.values()), damaged=counters.checksum)
        for part in (orders, statuses):
            part.close()
    seen.longest_ms = clock.longest_ns / MS
    return seen, last[-1], bus


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--quick", action="store_true", help="60 s")
    parser.add_argument("--damaged", type=float, default=0.01)
    parser.add_argument("--lost", type=float, default=0.01)
    parser.add_argument("--rig", default="so101")
    parser.add_argument("--alone", action="store_true", help="not on a clean line as well")
    args = parser.parse_args()
    seconds = min(args.seconds, 60.0) if args.quick else args.seconds
    os.environ.setdefault("TWINLOOP_REALTIME", "0")  # the clock is this program's own
    rig = load_rig(args.rig)
    lines = {"bad_line": (args.damaged, args.lost)} | ({} if args.alone else {"clean_line": (0.0, 0.0)})
    for name, (damaged, lost) in lines.items():
        seen, last, bus = fly(rig, seconds, damaged, lost)
        emit(f"{name}_cycles", last.ticks, "cycles")
        emit(f"{name}_answers_missing", bus["missing"], f"of {bus['asked']} answers", damaged=bus["damaged"])
        emit(f"{name}_longest_cycle", seen.longest_ms, "ms")
        emit(f"{name}_latest_cycle", last.latest_ns / MS, "ms late", at_most=5.0)
        emit(f"{name}_running", seen.modes["run"] / sum(seen.modes.values()), "of the cycles")
        for what in ("stall", "stale_state", "expired", "device"):
            emit(f"{name}_{what}", last.limits.get(what, 0), "ticks", at_most=0)
        for limit, share in seen.worst.items():
            emit(f"{name}_{limit}", share, "of the limit", at_most=1 + 1e-6)
        emit(f"{name}_released_unparked", last.limits.get("released_unparked", 0), "times", at_most=0)


if __name__ == "__main__":
    main()
