"""The guard's process: sole owner of the buses, one cycle a period on absolute deadlines.

Started by the supervisor as `python -m twinloop.robot.process.server FOLDER EPOCH`. When the agent is dead, the
arm holds, parks and is released.
Imports neither torch nor OpenCV.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..arms import arm_driver
from ..clock import RealClock
from ..errors import DeviceError, GuardFault, TwinloopError
from ..guard import Guard
from ..guard.protections import Protection
from ..interfaces import Arm, Clock, Gripper
from ..stops.page import StopPage
from .orders import Order, Request, decode
from .parent import Parent
from .plan import HELLO, LOG, ORDERS_RING, STATUS_RING, ProcessPlan, load_plan
from .realtime import prepare
from .ring import RingReader, RingWriter
from .sources import StopSources
from .status import STATUS, Status, StatusCodec

log = logging.getLogger(__name__)

DONE, FAILED, NOT_OPENED = 0, 1, 3  # exit codes that the supervisor takes as an end
STALL_PERIODS = 3
ALONE_NS = 1_000_000_000  # between the agent's death and parking
PARK_NS = 20_000_000_000  # then the arm is released where it is
STOPPED_NS = 60_000_000_000  # an e-stop that nobody re-arms any more
MAX_NS = 1 << 62
NOT_AN_ORDER = (TwinloopError, LookupError, TypeError, ValueError, AttributeError, OverflowError)
AGAIN_NS = 500_000_000  # between attempts to open devices that a dead guard left behind
LOOK_EVERY = 10  # periods between two looks at whether the agent lives
TELL_EVERY = 100  # periods between two looks at which protections act


class GuardServer:
    """Runs the guard of `plan` until it is asked to close, or left alone.

    `alone()` says whether the agent is dead; `epoch` counts how often the process was started anew: from 1 on
    a fault is latched, since nobody knows what happened meanwhile.
    """

    def __init__(self, plan: ProcessPlan, clock: Clock, alone: Callable[[], bool], epoch: int = 0) -> None:
        self._plan = plan
        self._clock = clock
        self._alone = alone
        self._epoch = epoch
        self._orders = RingReader(plan.folder / ORDERS_RING)
        self._status = RingWriter(plan.folder / STATUS_RING)
        self._stop = StopPage(plan.folder)
        self._sources = StopSources(plan.rig.estop, plan.folder, self._stop, clock)
        self._codec = StatusCodec(plan.rig)
        arms, grippers = connect(plan, clock)
        self.guard = Guard(plan.rig, arms, grippers, clock, blackbox=plan.blackbox, obstacles=plan.obstacles)
        self._granted: tuple[Protection, ...] = ()
        self._answered, self._answer = -1, ""
        self._ticks = self._missed = self._latest_ns = 0
        self._left_ns: int | None = None  # when the agent was found dead, or the end was asked for
        self._closing = False
        self._lost = 0  # bytes of orders that were written over before they were read
        self._told: list[Protection] = []

    def end(self) -> None:
        """Park, release and end; from a signal handler."""
        self._closing = True

    def run(self) -> int:
        """Serve; returns the process's exit code."""
        self._orders.open()
        self._status.open()
        self._stop.open()
        self._sources.wait()
        self._granted = prepare(self._plan.cpu)
        if not self._open():
            return NOT_OPENED
        self._introduce()
        clock, period = self._clock, self.guard.period_ns
        deadline = clock.now()
        while self.guard.is_open:
            deadline += period
            clock.sleep_until(deadline)
            late = clock.now() - deadline
            if late > STALL_PERIODS * period:  # no catching up
                self._missed += late // period
                deadline += late // period * period
            self._latest_ns = max(self._latest_ns, late)
            self._take_orders()
            self.guard.tick()
            self._ticks += 1
            if self._ticks % LOOK_EVERY == 0:
                self._sources.look()
                self._look_around(clock.now())
            if self._ticks % TELL_EVERY == 0 and self.guard.is_open:
                self._tell_changes()
            self._publish(late)
        self._publish(0)
        return DONE

    def _open(self) -> bool:
        """Open the arms; a guard that follows a dead one tries until they answer, or nobody needs them."""
        while True:
            try:
                self.guard.open()
            except TwinloopError as error:
                if self._epoch == 0 or self._alone() or self._closing:
                    self._say({"error": f"{error}"})
                    return False
                log.warning("not open yet: %s", error)
                self._clock.sleep_until(self._clock.now() + AGAIN_NS)
                continue
            if self._epoch:
                self.guard.fault("the guard's process died and was started anew")
            return True

    def _tell_changes(self) -> None:
        """A camera or a heartbeat that is watched from now on is one more protection."""
        acting = {p.name: p.active for p in self.guard.protections()} | {"own_process": True}
        acting |= {p.name: p.active for p in self._sources.protections()}
        if acting != {p.name: p.active for p in self._told}:
            self._introduce()

    def _introduce(self) -> None:
        """Say who is there, and which protections act."""
        own = Protection("own_process", True, f"process {os.getpid()}, started anew when it dies")
        known = (*self.guard.protections(), *self._sources.protections())
        self._told = [own if p.name == own.name else p for p in known]
        self._say(
            {
                "pid": os.getpid(),
                "epoch": self._epoch,
                "protections": [asdict(p) for p in (*self._told, *self._granted)],
            }
        )

    def _say(self, content: dict[str, object]) -> None:
        fresh = self._plan.folder / f".{HELLO}"
        try:
            fresh.write_text(json.dumps(content))
            os.replace(fresh, self._plan.folder / HELLO)
        except OSError as error:  # no reason to stop guarding
            log.warning("%s: %s", fresh, error.strerror)

    def _take_orders(self) -> None:
        reason = self._stop.pressed()
        if reason is not None and self.guard.mode != "estop":
            self.guard.estop(reason)
        for message in self._orders.poll():
            try:
                self._obey(decode(message.kind, message.data), message.position)
            except NOT_AN_ORDER as error:
                log.warning("an order that is none: %s: %s", type(error).__name__, error)
                self.guard.reject("dtype")
        if self._orders.lost != self._lost:  # a hold may have been among them
            self._lost = self._orders.lost
            self.guard.limits.add(["orders_lost"])
            self.guard.hold("orders came faster than they were read, and some were lost")

    def _obey(self, request: Request, position: int) -> None:
        guard, values = self.guard, request.values
        if not guard.is_open or self._clock.now() > values.get("due_ns", MAX_NS):
            return  # who gave this order has given it up
        if request.kind is Order.CHUNK and request.chunk is not None:
            guard.submit(request.chunk)
        elif request.kind is Order.REJECTED:
            guard.reject(values["reason"])
        elif request.kind is Order.HOLD:
            guard.hold(values["reason"])
        elif request.kind is Order.PARK and guard.mode != "estop":
            guard.park()
        elif request.kind is Order.BEAT:
            guard.heartbeat(int(values["t_ns"]))
        elif request.kind is Order.DISARM:
            guard.disarm_heartbeat()
        elif request.kind is Order.FRAME:
            guard.note_frame(values["camera"], int(values["t_ns"]))
        elif request.kind is Order.SLACK:
            self._slack()
        elif request.kind in (Order.REARM, Order.CLOSE):
            self._answer = ""
            try:
                if request.kind is Order.REARM:
                    self._rearm(int(values["mark"]))
                else:
                    guard.close(unparked=bool(values["unparked"]))
            except (GuardFault, DeviceError) as error:
                self._answer = str(error)
            self._answered = position

    def _slack(self) -> None:
        try:
            self.guard.slack()
        except (GuardFault, DeviceError) as error:
            log.info("%s", error)

    def _rearm(self, mark: int) -> None:
        """As somebody asked who knew of the press with this mark as the last of the e-stop."""
        if mark != self._stop.mark:
            raise GuardFault(
                f"guard: the e-stop was pressed again ({self._stop.pressed()}); look, then re-arm"
            )
        self.guard.rearm()
        self._stop.take_back(mark)

    def _look_around(self, now: int) -> None:
        """Without an agent, or asked to end: hold, park, release."""
        guard = self.guard
        if not guard.is_open:
            return
        if self._left_ns is None:
            if not (self._closing or self._alone()):
                return
            self._left_ns = now
            if guard.mode != "slack":
                guard.hold("asked to end" if self._closing else "the agent's process died")
            return
        waited = now - self._left_ns
        if guard.parked or waited > (STOPPED_NS if guard.mode == "estop" else PARK_NS):
            try:
                guard.close(unparked=not guard.parked)
            except DeviceError as error:  # its port is gone: nothing more can be done
                log.warning("released without an answer: %s", error)
        elif guard.mode != "estop" and (self._closing or waited > ALONE_NS):
            guard.park()

    def _publish(self, late_ns: int) -> None:
        guard = self.guard
        self._status.write(
            STATUS,
            self._codec.pack(
                Status(
                    t_ns=guard.ticked_ns,
                    mode=guard.mode,
                    reason=guard.reason,
                    parked=guard.parked,
                    is_open=guard.is_open,
                    source=guard.source,
                    asked=guard.asked,
                    sent=guard.sent,
                    arms=dict(guard.arm_states),
                    grippers=dict(guard.gripper_states),
                    limits=guard.limits.total,
                    answered=self._answered,
                    answer=self._answer,
                    epoch=self._epoch,
                    ticks=self._ticks,
                    missed=self._missed,
                    late_ns=late_ns,
                    latest_ns=self._latest_ns,
                )
            ),
            self._clock.now(),
        )


def connect(plan: ProcessPlan, clock: Clock) -> tuple[dict[str, Arm], dict[str, Gripper]]:
    """The devices of the plan's rig, not open yet. Raises `RigError` for an arm without a driver."""
    arms: dict[str, Arm] = {}
    grippers: dict[str, Gripper] = {}
    for name, config in plan.rig.arms.items():
        devices = arm_driver(config.model)(name, plan.rig, plan.ports[name], clock)
        arms[name] = devices.arm
        gripper = plan.rig.gripper_of(name)
        if gripper is not None and devices.gripper is not None:
            grippers[gripper] = devices.gripper
    return arms, grippers


def main() -> int:
    folder, epoch = Path(sys.argv[1]), int(sys.argv[2])
    logging.basicConfig(
        filename=folder / LOG, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.raiseExceptions = False  # a full memory is said once, not with a traceback a line
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        plan = load_plan(folder)
        server = GuardServer(plan, RealClock(), Parent(plan.agent).gone, epoch)
        signal.signal(signal.SIGTERM, lambda *_: server.end())
        return server.run()
    except Exception as error:
        log.exception("the guard's process failed")
        if epoch == 0 and not (folder / HELLO).exists():  # it never began: say why instead of trying again
            told = f"{error}" if isinstance(error, TwinloopError) else f"{type(error).__name__}: {error}"
            (folder / HELLO).write_text(json.dumps({"error": told}))
            return NOT_OPENED
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
