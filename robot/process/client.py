"""`GuardProcess`: the guard as the agent's process sees it, while it runs in a process of its own."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..clock import RealClock
from ..errors import DeviceError, GuardFault, UsageError
from ..guard.commands import fault_of, private
from ..guard.limits import MALFORMED
from ..guard.protections import Protection
from ..interfaces import Clock
from ..rig import Box, Rig
from ..stops.page import StopPage
from ..types import ActionChunk, Applied, ArmState, GripperState
from .layout import rig_layout
from .orders import Order, Request, encode
from .plan import HELLO, LOG, ORDERS_RING, STATUS_RING, ProcessPlan
from .ring import RingReader, RingWriter
from .sessions import PREFIX, SUPERVISOR_PID, guard_pid, lives, memory
from .status import Status, StatusCodec

log = logging.getLogger(__name__)

START_NS = 60_000_000_000  # importing MuJoCo and opening an arm on a busy machine
ANSWER_NS = 2_000_000_000
SILENT_NS = 250_000_000  # without a word from the guard for this long, it is not there
END_NS = 25_000_000_000  # parking takes up to 20 s
LOOK_NS = 2_000_000
SUPERVISOR = Path(__file__).with_name("supervisor.py")  # as a script: it must not need this package


class GuardProcess:
    """A guard of `rig` on the arms at `ports` (arm -> serial port), with the methods of `Guard`.

    `submit` hands a chunk over; what the guard made of it stands in the next `collect()`. `open` starts the
    process, `close` ends it. When this process dies, the arm holds, parks and is released.
    """

    def __init__(
        self,
        rig: Rig,
        ports: Mapping[str, str],
        clock: Clock | None = None,
        *,
        blackbox: Path | None = None,
        obstacles: Sequence[Box] = (),
        cpu: int | None = None,
    ) -> None:
        self.rig = rig
        self.period_ns = round(1e9 / rig.guard.rate_hz)
        self._ports = dict(ports)
        self._clock: Clock = clock or RealClock()
        self._options: dict[str, Any] = {"blackbox": blackbox, "obstacles": tuple(obstacles), "cpu": cpu}
        self._layout = rig_layout(rig)
        self._codec = StatusCodec(rig)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: RingWriter | None = None
        self._statuses: RingReader | None = None
        self._stop: StopPage | None = None
        self._hello: dict[str, Any] = {}
        self._status: Status | None = None
        self._status_at = -1
        self._seen: dict[str, int] = {}  # limit -> ticks that were collected
        self._epoch = 0
        self._early: list[str] = []  # rejected here, before the guard saw it
        self._late_reason = "not opened"
        self.abandoned = False  # its process died with the arms open, so that nobody let go of them
        self._latched: str | None = None  # an e-stop that was not re-armed
        self._writing = (
            threading.Lock()
        )  # a ring has one writer at a time: a heartbeat may come from another thread

    # ---------------------------------------------------------------- life

    @property
    def is_open(self) -> bool:
        return self._process is not None

    def open(self) -> None:
        """Start the guard's process, which opens the arms and holds. Raises `DeviceError` that says why it cannot."""
        if self._process is not None:
            return
        self._status, self._status_at, self._epoch = None, -1, 0
        self.abandoned = False
        self._seen, self._early = {}, []
        missing = [name for name in self.rig.arms if name not in self._ports]
        if missing:
            raise DeviceError(
                f"arms {', '.join(missing)}: no port; `twinloop setup-devices` finds it, or name it in the rig "
                f"(arms.NAME.port)"
            )
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=memory()))
        self._folder = folder
        try:
            ProcessPlan(folder, self.rig, self._ports, **self._options).save()
            self._orders, self._stop = RingWriter(folder / ORDERS_RING), StopPage(folder)
            self._orders.open()
            self._stop.open()
            if self._latched is not None:  # closing and opening does not take it back
                self._stop.press(self._latched)
            RingWriter(folder / STATUS_RING).open()
            self._statuses = RingReader(folder / STATUS_RING, from_start=True)
            self._statuses.open()
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(SUPERVISOR), str(folder)],
                stdin=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the agent's
            )
            (folder / SUPERVISOR_PID).write_text(str(self._process.pid))
            self._wait_for_hello()
        except BaseException:
            self._end()
            raise

    def close(self, *, unparked: bool = False) -> None:
        """Release the arms (torque off) and end the process; the rules of `Guard.close`."""
        if self._process is None:
            return
        if self._alive():
            try:
                self._ask(Order.CLOSE, unparked=unparked)
            except GuardFault:
                status = self._latest()
                if status is not None and status.is_open:
                    raise  # it goes on guarding
                self._end()
                raise
        else:
            status = self._latest()
            self.abandoned = status is not None and status.is_open
            if self.abandoned:
                log.error(
                    "guard: %snobody let go of the arms, their torque may still be on: hold them, and switch "
                    "their power off",
                    self._ending(),
                )
        self._late_reason = "closed"
        self._end()

    def rearm(self) -> None:
        """Leave a latched e-stop or fault; the rules of `Guard.rearm`."""
        if self._stop is None:
            self._latched = None
            return
        self._ask(Order.REARM, mark=self._stop.mark)
        self._latched = None

    # ---------------------------------------------------------------- orders

    def submit(self, chunk: ActionChunk) -> bool:
        """Follow `chunk` from now on; False when it is malformed. Raises `GuardFault` when no guard is there."""
        self._must_live()
        chunk = private(chunk)
        reason = fault_of(chunk, self._layout, self._clock.now())
        if reason in MALFORMED:
            self._early.append(reason)
            self._send(Order.REJECTED, reason=reason)
            return False
        self._write(Request(Order.CHUNK, chunk=chunk))
        return True

    def hold(self, reason: str = "hold") -> None:
        """Drop every pending command; stop within the limits and hold."""
        self._send(Order.HOLD, reason=reason)

    def slack(self) -> None:
        """Let go of a leader's arms and read on; the rules of `Guard.slack`, but without waiting: `mode` tells."""
        self._must_live()
        self._send(Order.SLACK, due_ns=self._clock.now() + ANSWER_NS)

    def estop(self, reason: str) -> None:
        """Stop within the limits and stand until `rearm()`; from any thread and from a signal handler."""
        if self._latched is None:
            self._latched = str(reason)
        if self._stop is not None:
            self._stop.press(str(reason))

    def park(self) -> None:
        """Start moving to the rest pose; the rules of `Guard.park`."""
        self._must_live()
        if self.mode == "estop":
            raise GuardFault(f"guard: e-stop latched ({self.reason}); rearm() before park()")
        if self.mode != "park":
            self._send(Order.PARK, due_ns=self._clock.now() + ANSWER_NS)

    def heartbeat(self, t_ns: int) -> None:
        """The remote operator was alive at `t_ns`. The first call arms the dead-man."""
        if not isinstance(t_ns, int | np.integer):
            raise UsageError(
                f"guard: heartbeat at {t_ns!r}; times are whole nanoseconds of the guard's clock"
            )
        self._send(Order.BEAT, t_ns=int(t_ns))

    def disarm_heartbeat(self) -> None:
        """No more beats are expected."""
        self._send(Order.DISARM)

    def note_frame(self, camera: str, t_ns: int) -> None:
        """The agent saw a frame of `camera` taken at `t_ns`."""
        self._send(Order.FRAME, camera=camera, t_ns=int(t_ns) if isinstance(t_ns, int | np.integer) else 0)

    # ---------------------------------------------------------------- reports

    @property
    def mode(self) -> str:
        """As `Guard.mode`; "fault" while there is no word from the guard."""
        status = self._latest()
        return "hold" if status is None else "fault" if self._silent(status) else status.mode

    @property
    def reason(self) -> str:
        """Why the mode is what it is."""
        status = self._latest()
        if status is None:
            return self._late_reason
        return "no word from the guard's process" if self._silent(status) else status.reason

    @property
    def parked(self) -> bool:
        status = self._latest()
        return status is not None and status.parked and not self._silent(status)

    @property
    def status(self) -> Status | None:
        """Everything that the guard told last; None before it opened."""
        return self._latest()

    @property
    def arm_states(self) -> Mapping[str, ArmState]:
        status = self._latest()
        return {} if status is None else status.arms

    @property
    def gripper_states(self) -> Mapping[str, GripperState]:
        status = self._latest()
        return {} if status is None else status.grippers

    def collect(self) -> Applied:
        """What was asked and sent last, and which limits acted since the last call."""
        status = self._latest()
        if status is None:
            raise GuardFault(f"guard: {self._late_reason}; open() the robot first")
        if status.epoch != self._epoch:  # another process counts from 0
            self._epoch, self._seen = status.epoch, {}
        limits: dict[str, int] = {}
        for reason in self._early:  # told at once, and not again when the guard has counted it
            name = f"rejected_{reason}"
            limits[name] = limits.get(name, 0) + 1
            self._seen[name] = self._seen.get(name, 0) + 1
        self._early = []
        for name, total in status.limits.items():
            if total > self._seen.get(name, 0):
                limits[name] = limits.get(name, 0) + total - self._seen.get(name, 0)
                self._seen[name] = total
        asked_q, asked_width_m = self._layout.split(status.asked)
        sent_q, sent_width_m = self._layout.split(status.sent)
        return Applied(
            status.t_ns, asked_q, sent_q, asked_width_m, sent_width_m, limits, self.mode, status.source
        )

    def protections(self) -> tuple[Protection, ...]:
        """Every protection, and whether it acts on this machine and robot."""
        if self._folder is not None and (self._folder / HELLO).exists():
            self._hello = json.loads((self._folder / HELLO).read_text())
        return tuple(Protection(**entry) for entry in self._hello.get("protections", ()))

    # ---------------------------------------------------------------- inside

    def _latest(self) -> Status | None:
        if self._statuses is None:
            return self._status
        message = self._statuses.latest()
        if message is not None and message.position != self._status_at:
            self._status, self._status_at = self._codec.unpack(message.data), message.position
        return self._status

    def _silent(self, status: Status) -> bool:
        return status.is_open and self._clock.now() - status.t_ns > SILENT_NS

    def _alive(self) -> bool:
        if self._process is None or self._folder is None:
            return False
        return self._process.poll() is None or lives(guard_pid(self._folder), self._folder)

    def _must_live(self) -> None:
        if self._process is None:
            raise GuardFault("guard: not open; open() the robot before it is given commands")
        if not self._alive():
            raise GuardFault(f"guard: {self._ending()}close() and open() the robot again")

    def _send(self, kind: Order, **values: Any) -> int:
        return self._write(Request(kind, values))

    def _write(self, request: Request) -> int:
        if self._orders is None:
            return -1
        with self._writing:
            return self._orders.write(request.kind, encode(request), self._clock.now())

    def _ask(self, kind: Order, **values: Any) -> None:
        """Give an order and wait for what becomes of it. Raises `GuardFault` with what was wrong."""
        self._must_live()
        due = self._clock.now() + ANSWER_NS
        position = self._send(kind, **values, due_ns=due)
        while self._clock.now() < due:
            status = self._latest()
            if status is not None and status.answered == position:
                if status.answer:
                    raise GuardFault(status.answer)
                return
            if not self._alive() and kind is Order.CLOSE:
                return
            self._clock.sleep_until(self._clock.now() + LOOK_NS)
        raise GuardFault(f"guard: no answer to '{kind.name.lower()}'; {self._last_words()}")

    def _wait_for_hello(self) -> None:
        assert self._folder is not None
        due = self._clock.now() + START_NS
        while self._clock.now() < due:
            alive = self._alive()
            if (self._folder / HELLO).exists():
                self._hello = json.loads((self._folder / HELLO).read_text())
                if "error" in self._hello:
                    raise DeviceError(self._hello["error"])
                if self._latest() is not None:
                    return
            elif not alive:
                raise DeviceError(f"guard: its process ended at once; {self._last_words()}")
            self._clock.sleep_until(self._clock.now() + LOOK_NS)
        raise DeviceError(f"guard: its process does not come up; {self._last_words()}")

    def _last_words(self) -> str:
        """The end of the guard's log."""
        if self._folder is None or not (self._folder / LOG).exists():
            return ""
        lines = (self._folder / LOG).read_text(errors="replace").strip().splitlines()
        lines = [line for line in lines if " INFO " not in line]
        return f"its log ends with '{lines[-1]}'; " if lines else ""

    def _ending(self) -> str:
        """How the process ended."""
        code = None if self._process is None else self._process.poll()
        if code is not None and code < 0:
            return f"its process was killed (signal {-code}); "
        if code == 0:
            return "its process was asked to end, and let go of the arms; "
        return f"its process ended; {self._last_words()}"

    def _end(self) -> None:
        process, self._process = self._process, None
        gone = True
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()  # whatever happens, it knows now that nobody is there
            if self._stop is not None and self._stop.pressed() is not None:
                self._latched = self._stop.pressed()
            gone = self._wait_for_end(process)
        for part in (self._orders, self._statuses, self._stop):
            if part is not None:
                part.close()
        self._orders = self._statuses = self._stop = None
        if self._folder is not None:
            if gone:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _wait_for_end(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether supervisor and guard have ended. One that still has the arm is not killed: it parks, and ends."""
        assert self._folder is not None
        due = self._clock.now() + (END_NS if (self._folder / HELLO).exists() else START_NS)
        while self._clock.now() < due:
            if process.poll() is not None and not lives(guard_pid(self._folder), self._folder):
                return True
            self._clock.sleep_until(self._clock.now() + LOOK_NS)
        log.warning(
            "guard: its process is still at work in %s; it parks the arm and ends by itself", self._folder
        )
        return False
