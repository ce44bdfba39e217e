"""Ten minutes on a bad line: 1 % of the answers damaged, 1 % lost. One JSON line a figure.

Run: python benchmarks/bad_line.py [--seconds 600] [--damaged 0.01] [--lost 0.01] [--rig so101] [--alone]

The guard's server, the arm's own driver and its packets, and the emulated servos run in this process, on a clock that
advances as bytes travel: what a missing answer costs is exact, the same on every machine, and takes a fraction of the
time. An agent sends a new chunk every 20 ms of that clock. The last figures are the same run on a clean line.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _figures import emit
from twinloop.robot.arms import SHIPPED
from twinloop.robot.models import load_model
from twinloop.robot.process.orders import Order, Request, encode
from twinloop.robot.process.plan import ORDERS_RING, STATUS_RING, ProcessPlan
from twinloop.robot.process.ring import RingReader, RingWriter
from twinloop.robot.process.server import DONE, GuardServer
from twinloop.robot.process.status import Status, StatusCodec
from twinloop.robot.rig import Rig, load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.emulate.feetech import FeetechServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.sts3215 import Sts3215
from twinloop.sim.emulate.wire import FreeMotor, WireClock, WirePort

MS = 1_000_000
PERIOD_NS = 5 * MS
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


@contextmanager
def wired(rig: Rig, clock: WireClock, damaged: float, lost: float, seed: int) -> Iterator[Line]:
    """The arm's driver finds the line where it looks for a serial port."""
    module = importlib.import_module(f"twinloop.robot.arms.{SHIPPED[rig.arms['arm'].model]}")
    model = load_model(rig.arms["arm"].model)
    low, high = model.joint_ranges()
    rest = np.append((model.rest_q_rad - (low + high) / 2) / (2 * np.pi) + 0.5, 0.5)
    servos = FeetechServos([Sts3215(id, FreeMotor(clock, turns)) for id, turns in enumerate(rest, 1)])
    clock.every(round(1e9 / rig.guard.rate_hz), lambda: servos.step(round(1e9 / rig.guard.rate_hz)))
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
    parser.add_argument("--damaged", type=float, default=0.01)
    parser.add_argument("--lost", type=float, default=0.01)
    parser.add_argument("--rig", default="so101")
    parser.add_argument("--alone", action="store_true", help="not on a clean line as well")
    args = parser.parse_args()
    os.environ.setdefault("TWINLOOP_REALTIME", "0")  # the clock is this program's own
    rig = load_rig(args.rig)
    lines = {"bad_line": (args.damaged, args.lost)} | ({} if args.alone else {"clean_line": (0.0, 0.0)})
    for name, (damaged, lost) in lines.items():
        seen, last, bus = fly(rig, args.seconds, damaged, lost)
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
