"""The guard: the only door to the motors. Every command passes it; nobody else holds the arms.

`tick()` is one cycle: read, watch, sample the plan, filter, look ahead, command, black box. The twin's clock
calls it in lockstep; on hardware a process of its own does. The modes:

    run           following a chunk; becomes hold when it expires or something watched is not as it should be
    hold          stopped or stopping, torque on; the next sound chunk runs
    park          on the way to the rest pose, or there
    slack         let go of, and read: a person leads the arms; in a rig that says so alone
    fault, estop  latched: stop, then stand until `rearm()`
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import GuardFault
from ..interfaces import Arm, Clock, Gripper
from ..rig import Box, Rig
from ..types import F64, ActionChunk, Applied, ArmState, GripperState
from .collision import CollisionModel
from .commands import fault_of, private
from .course import Course
from .devices import Devices
from .flight import FlightRecorder
from .limits import MALFORMED, LimitCounter
from .modes import Mode
from .mover import Mover
from .park import Parking, named_poses, with_openings
from .protections import STALL_PERIODS, Protection, protections
from .watch import Watch

log = logging.getLogger(__name__)


class Guard:
    """Enforces the limits of `rig` on its arms and grippers; docs/safety.md has the figures and the gaps.

    `clock` is only read. With `blackbox` the ring of the last 10 s is kept in that file. `obstacles` are
    boxes in W, m, that the arms must not touch.
    """

    def __init__(
        self,
        rig: Rig,
        arms: Mapping[str, Arm],
        grippers: Mapping[str, Gripper],
        clock: Clock,
        *,
        blackbox: Path | None = None,
        obstacles: Sequence[Box] = (),
    ) -> None:
        self.rig = rig
        self._mode = Mode()
        self.limits = LimitCounter()
        self.period_ns = round(1e9 / rig.guard.rate_hz)
        self._clock = clock
        self._blackbox_path = blackbox
        self._obstacles = tuple(obstacles)
        self._is_open = False
        self._devices = devices = Devices(rig, arms, grippers, self.limits)
        self._layout = layout = devices.layout
        rest, via = named_poses(rig, layout)
        self._collision = CollisionModel(rig, layout, with_openings(rest, layout), obstacles)
        self._mover = Mover(rig, devices, self._collision, self.limits.note)
        self._parking = Parking(rest, [via], devices.v_max, devices.n_joints, self._collision)
        self._watch = Watch(rig, devices)
        self._flight = FlightRecorder(devices.names, devices.n_joints, rig.guard.rate_hz, blackbox)
        self.blackbox = self._flight.box
        self._course = Course(
            rig, devices, self._watch, self._mover, self._parking, self._mode, self.limits.note
        )
        self._last_ns: int | None = None
        self._bad_in_a_row = 0

    # ---------------------------------------------------------------- life

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def mode(self) -> str:
        """One of "run", "hold", "park", "fault", "estop", "slack"."""
        return self._mode.name

    @property
    def reason(self) -> str:
        """Why the mode is what it is."""
        return self._mode.reason

    def open(self) -> None:
        """Open the devices (goal := present, then torque on), anchor on the measured pose, hold.

        An e-stop from before stays latched. Raises `DeviceError` when a device does not answer; then none is left open.
        """
        if self._is_open:
            return
        self._devices.open()
        try:
            self._anchor()
            self._mover.rehearse()
            self._flight.open()
        except BaseException:
            self._devices.close()
            raise
        self._is_open = True
        self._last_ns = None
        self._mode.forget_fault()
        self._course.enter("hold", "opened")

    def close(self, *, unparked: bool = False) -> None:
        """Release the devices (torque off); legal when parked; `unparked` drops the arm where it is.

        Raises `GuardFault` above the rest pose without `unparked`.
        """
        if not self._is_open:
            return
        if not self.parked:
            if not unparked:
                raise GuardFault(
                    f"guard: not parked (mode {self.mode}: {self.reason}); torque off would drop the arm. "
                    "Call park() and tick until `parked`, or support the arm and close(unparked=True)"
                )
            self.limits.add(["released_unparked"])
            log.warning("guard: torque off above the rest pose (mode %s: %s)", self.mode, self.reason)
        self._is_open = False
        self._mode.forget_fault()
        try:
            self._devices.close()
        finally:
            self._flight.close()
            self._course.enter("hold", "closed")

    def rearm(self) -> None:
        """Leave a latched e-stop or fault: anchor on the measured pose and hold.

        Raises `GuardFault` while the arm is still stopping, `DeviceError` when a device does not answer.
        """
        pressed = self._mode.pressed
        if not self._mode.latched:
            return
        if self._is_open:
            if not self._mover.at_rest:
                raise GuardFault(
                    f"guard: still stopping after '{self.reason}'; re-arm when the arm is at rest"
                )
            if not self._course.grasp(self._clock.now()):
                raise GuardFault(self.reason)
            self._anchor()
        self._mode.release(pressed)  # unless it was pressed again meanwhile
        self._course.enter("hold", "re-armed")

    # ---------------------------------------------------------------- orders

    def submit(self, chunk: ActionChunk) -> bool:
        """Follow `chunk` from now on; False when it was rejected (counted as "rejected_<reason>").

        Raises `GuardFault` when the guard is not open."""
        if not self._is_open:
            raise GuardFault("guard: not open; open() the robot before it is given commands")
        now = self._clock.now()
        chunk = private(chunk)
        reason = fault_of(chunk, self._layout, now)
        if reason in MALFORMED:
            self.reject(reason)
            return False
        self._bad_in_a_row = 0
        reason = reason or self._unfit(now)
        if reason is not None:
            self.limits.add([f"rejected_{reason}"])
            return False
        self._course.take(chunk, now)
        return True

    def hold(self, reason: str = "hold") -> None:
        """Drop every pending command; stop within the limits and hold. A latched mode stays."""
        if self._is_open and not self._mode.latched and self._course.grasp(self._clock.now()):
            self._course.enter("hold", reason)

    def slack(self) -> None:
        """Let go of the arms of a leader and read on; `hold()` and `park()` take them up again.

        Raises `GuardFault` for a rig that is no leader, for devices that cannot do this, and while the guard is not
        open, latched, or moving the arms.
        """
        if not self._is_open:
            raise GuardFault("guard: not open; open() the robot before it is let go of")
        if not self._course.slack:
            self._course.let_go()

    def fault(self, reason: str) -> None:
        """Latch a fault: stop within the limits and stand until `rearm()`; `park()` stays legal."""
        if self._is_open and self.mode != "estop":
            self._course.enter("fault", reason)

    def reject(self, reason: str) -> None:
        """Count a chunk that somebody before the guard found malformed (one of `REJECT_REASONS`)."""
        self.limits.add([f"rejected_{reason}"])
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= self.rig.guard.rejects_to_fault and self.mode in ("run", "hold"):
            self._course.enter("fault", f"{self._bad_in_a_row} bad chunks in a row, the last: {reason}")

    def estop(self, reason: str) -> None:
        """Stop within the limits and stand, whatever comes, until `rearm()`. Torque stays on.

        May be called at any time, open or closed, from any thread and from a signal handler: nothing but
        `rearm` takes it back. The stop begins with the next tick.
        """
        self._mode.press(str(reason))

    def park(self) -> None:
        """Start moving to the rest pose at `park_speed`; tick until `parked`.

        Legal in a fault, which stays latched: no chunk runs before `rearm()`. Raises `GuardFault` in an e-stop,
        and when the guard is not open.
        """
        if not self._is_open:
            raise GuardFault("guard: not open; open() the robot before it parks")
        if self.mode == "estop":
            raise GuardFault(f"guard: e-stop latched ({self.reason}); rearm() before park()")
        if self.mode != "park" and self._course.grasp(self._clock.now()):
            self._course.enter("park", "park")

    @property
    def parked(self) -> bool:
        """At rest at the rest pose, measured and commanded; or let go of."""
        return self._is_open and (self._course.parked or self._course.slack)

    def heartbeat(self, t_ns: int) -> None:
        """The remote operator was alive at `t_ns`. The first call arms the dead-man."""
        self._watch.beat(t_ns, self._clock.now())

    def disarm_heartbeat(self) -> None:
        """The remote operator has handed over: no more beats are expected."""
        self._watch.heart.disarm()

    def note_frame(self, camera: str, t_ns: int) -> None:
        """The agent saw a frame of `camera` taken at `t_ns`. The first call starts the watch on it.

        A time that is none (a driver's NaN, say) counts as no frame: the camera grows stale.
        """
        self._watch.note_frame(camera, t_ns, self._clock.now())

    # ---------------------------------------------------------------- reports

    @property
    def arm_states(self) -> Mapping[str, ArmState]:
        """Latest state of each arm that has answered; no new read."""
        return self._devices.arm_states

    @property
    def gripper_states(self) -> Mapping[str, GripperState]:
        """Latest state of each gripper that has answered; no new read."""
        return self._devices.gripper_states

    def collect(self) -> Applied:
        """What was asked and sent last, and which limits acted since the last call."""
        asked_q, asked_width_m = self._layout.split(self.asked)
        sent_q, sent_width_m = self._layout.split(self.sent)
        limits = self.limits.take()
        return Applied(
            self.ticked_ns, asked_q, sent_q, asked_width_m, sent_width_m, limits, self.mode, self.source
        )

    @property
    def ticked_ns(self) -> int:
        """Time of the last tick; now, before the first."""
        return self._clock.now() if self._last_ns is None else self._last_ns

    @property
    def asked(self) -> F64:
        """What was asked in the last tick, (M,) rad and m: arms in the rig's order, then grippers."""
        return self._course.asked

    @property
    def source(self) -> str:
        """Source of the chunk that is followed, or was last."""
        return self._course.source

    @property
    def sent(self) -> F64:
        """What was commanded in the last tick, (M,), as `asked`."""
        return self._mover.p

    def protections(self) -> tuple[Protection, ...]:
        """Every protection, and whether it acts on this robot; stored with every episode."""
        return protections(
            self.rig,
            capsules=self._collision.capsules,
            pairs=self._collision.contacts,
            obstacles=len(self._obstacles),
            unreported=self._devices.unreported(),
            cameras=self._watch.cameras,
            heartbeat=self._watch.heart.armed,
            blackbox=str(self._blackbox_path or "in memory"),
            watchdogs=self._devices.watchdogs(),
        )

    # ---------------------------------------------------------------- the cycle

    def tick(self) -> None:
        """One cycle at `clock.now()`; what a device or a command does raises nothing here."""
        if not self._is_open:
            return
        now = self._clock.now()
        since = self.period_ns if self._last_ns is None else now - self._last_ns
        if 2 * since < self.period_ns:
            return  # a second tick in one period would double every velocity
        self._last_ns = now
        if (stop := self._mode.unseen) is not None:
            self._course.enter("estop", stop.reason)
        fault = self._devices.read(now)
        if fault is not None and not self._mode.latched and self.mode != "park":
            self.limits.note("device")
            self._course.enter("fault", fault)
        if since > STALL_PERIODS * self.period_ns:
            self._course.recover_from_stall(now)
        blind = self._watch.blind
        self._react(now)
        if blind and not self._watch.blind:
            self._course.see_again()
        if self._course.follow(now):
            self._last_ns = self._clock.now()  # planning takes some periods, at rest: that is no stall
        if not self._course.slack:
            self._devices.send(self._mover.p)
        self._flight.record(
            now,
            since,
            (self.mode, self.reason),
            self.limits.end_tick(),
            asked=self.asked,
            sent=self._mover.p,
            measured=self._devices.measured,
            tau=self._devices.tau,
        )

    def _react(self, now: int) -> None:
        """What the watch finds is counted, and turns into a mode."""
        for name, state in self._devices.gripper_states.items():
            self._mover.feel(name, state)
        for finding in self._watch.check(now, self._mover.p, self.mode == "run"):
            self.limits.note(finding.limit)
            if finding.effect == "fault" and not self._mode.latched:
                self._course.enter("fault", finding.reason)
            elif finding.effect == "hold" and (self.mode == "run" or finding.yields and self.mode == "park"):
                self._course.enter("hold", finding.reason)
            if finding.yields and self.mode != "estop":
                self._course.give_way()

    def _unfit(self, now: int) -> str | None:
        """Why no chunk may run now (one of `REJECT_REASONS`)."""
        if not self._is_open:
            return "park"
        if self._mode.latched or self.mode == "park":
            return self.mode
        if self._course.slack:
            return "park"
        return self._watch.unfit(now, self._course.yielding)

    def _anchor(self) -> None:
        """Fresh readings become the commanded state; raises what a device raises."""
        now = self._clock.now()
        self._devices.read(now, strict=True)
        self._watch.reset()
        self._bad_in_a_row = 0
        self._course.anchor()
