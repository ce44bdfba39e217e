"""The guard: the only door to the motors. Every command passes it; nobody else holds the arms.

`tick()` is one cycle: read, watch, sample the plan, filter, look ahead, command, black box. The twin's clock
calls it in lockstep; on hardware a process of its own does. The modes:

    run           following a chunk; becomes hold when it expires or something watched is not as it should be
    hold          stopped or stopping, torque on; the next sound chunk runs
    park          on the way to the rest pose, or there
    fault, estop  latched: stop, then stand until `rearm()`
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import GuardFault
from ..interfaces import Arm, Clock, Gripper
from ..models import load_model
from ..rig import Box, Rig
from ..types import F64, ActionChunk, Applied, ArmState, GripperState, frozen
from .blackbox import BlackBox
from .collision import CollisionModel
from .commands import Plan, fault_of, standing
from .devices import Devices
from .filter import LimitFilter, Step
from .grip import GripForce
from .limits import MALFORMED, LimitCounter
from .monitor import SUSTAINED_NS, Freshness, Heartbeat, Sustained, Thermometer, beyond
from .park import ARRIVED_RAD, PARKED_RAD, park_plan
from .protections import BLACKBOX_S, STALL_PERIODS, Protection, protections

log = logging.getLogger(__name__)

MODES = ("run", "hold", "park", "fault", "estop")  # in the black box: the index
LATCHED = ("fault", "estop")
TEMPERATURE_EVERY = 20  # ticks; a winding does not heat faster


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
        g = rig.guard
        self.rig = rig
        self.mode = "hold"
        self.reason = "not opened"  # why the mode is what it is
        self.limits = LimitCounter()
        self.period_ns = round(1e9 / g.rate_hz)
        self._clock = clock
        self._blackbox_path = blackbox
        self._obstacles = tuple(obstacles)
        self._is_open = False
        self._parked = False
        self._devices = devices = Devices(rig, arms, grippers, self.limits)
        self._layout = layout = devices.layout
        dt_s = 1.0 / g.rate_hz
        self._filter = LimitFilter(
            q_min=layout.low,
            q_max=layout.high,
            dq_max=devices.v_max,
            ddq_max=devices.a_max,
            dddq_max=devices.j_max,
            dt_s=dt_s,
        )
        self._rest, self._vias = self._named_poses()
        self._collision = CollisionModel(
            rig,
            layout,
            [np.where(np.arange(layout.size) < devices.n_joints, self._rest, w) for w in self._widths()],
            obstacles,
        )
        self._cameras = Freshness(round(g.stale_camera_ms * 1e6))
        self._heart = Heartbeat(round(g.heartbeat_ms * 1e6))
        self._thermometer = Thermometer(g.temperature_derate_c, g.temperature_stop_c)
        self._torque = Sustained(SUSTAINED_NS)
        self._tracking = Sustained(round(g.tracking_error_ms * 1e6))
        self._lag_max = np.full(devices.n_joints, g.tracking_error_rad)
        self._grips = {
            name: GripForce(
                min(grippers[name].spec.force_max, rig.grippers[name].force_n), float(devices.v_max[k]), dt_s
            )
            for name, k in layout.grippers.items()
        }
        labels = [f"{what} {name}" for what in ("asked", "sent", "measured") for name in devices.names]
        labels += [f"tau {name}" for name in devices.names[: devices.n_joints]]
        self.blackbox = BlackBox(
            ("t_ns", "since_last_ns", "mode", "limits", *labels), round(BLACKBOX_S * g.rate_hz), blackbox
        )
        self._plan: Plan | None = None
        self._toward: F64 | None = None  # pose to yield to while holding
        self._asked: F64 = np.zeros(layout.size)
        self._source = ""
        self._last_ns: int | None = None
        self._ticks = 0
        self._speed = 1.0
        self._overloaded = False
        self._bad_in_a_row = 0

    # ---------------------------------------------------------------- life

    @property
    def is_open(self) -> bool:
        return self._is_open

    def open(self) -> None:
        """Open the devices (goal := present, then torque on), anchor on the measured pose, hold.

        Raises `DeviceError` when a device does not answer; then none is left open.
        """
        if self._is_open:
            return
        self._devices.open()
        try:
            self._anchor()
            self.blackbox.open()
        except BaseException:
            self._devices.close()
            raise
        self._is_open = True
        self._last_ns = None
        self._set_mode("hold", "opened")

    def close(self, *, unparked: bool = False) -> None:
        """Release the devices (torque off); legal when parked; `unparked` drops the arm where it is.

        Raises `GuardFault` above the rest pose without `unparked`.
        """
        if not self._is_open:
            return
        if not self._parked:
            if not unparked:
                raise GuardFault(
                    f"guard: not parked (mode {self.mode}: {self.reason}); torque off would drop the arm. "
                    "Call park() and tick until `parked`, or support the arm and close(unparked=True)"
                )
            self.limits.add(["released_unparked"])
            log.warning("guard: torque off above the rest pose (mode %s: %s)", self.mode, self.reason)
        self._is_open = False
        try:
            self._devices.close()
        finally:
            self.blackbox.close()
            self._set_mode("hold", "closed")

    def rearm(self) -> None:
        """Leave a latched e-stop or fault: anchor on the measured pose and hold.

        Raises `GuardFault` while the arm is still stopping, `DeviceError` when a device does not answer.
        """
        if self.mode not in LATCHED:
            return
        if not self._filter.at_rest:
            raise GuardFault(f"guard: still stopping after '{self.reason}'; re-arm when the arm is at rest")
        self._anchor()
        self._set_mode("hold", "re-armed")

    # ---------------------------------------------------------------- orders

    def submit(self, chunk: ActionChunk) -> bool:
        """Follow `chunk` from now on; False when it was rejected (counted as "rejected_<reason>")."""
        now = self._clock.now()
        reason = fault_of(chunk, self._layout, now)
        if reason in MALFORMED:
            self._bad_in_a_row += 1
            if self._bad_in_a_row >= self.rig.guard.rejects_to_fault and self.mode in ("run", "hold"):
                self._set_mode("fault", f"{self._bad_in_a_row} bad chunks in a row, the last: {reason}")
        else:
            self._bad_in_a_row = 0
            reason = reason or self._unfit(now)
        if reason is not None:
            self.limits.add([f"rejected_{reason}"])
            return False
        before = self._plan if self.mode == "run" and self._plan else standing(self._filter.p, now)
        expiry_ns = round(self.rig.guard.expiry_ms * 1e6)
        held = before.sample(now)[0]
        self._plan = before.followed_by(chunk, self._layout, now, expiry_ns, held)
        self.mode, self.reason, self._toward = "run", "chunk", None
        return True

    def hold(self, reason: str = "hold") -> None:
        """Drop every pending command; stop within the limits and hold. A latched mode stays."""
        if self.mode not in LATCHED:
            self._set_mode("hold", reason)

    def estop(self, reason: str) -> None:
        """Stop within the limits and stand, whatever comes, until `rearm()`. Torque stays on."""
        if self.mode != "estop":
            self._set_mode("estop", reason)

    def park(self) -> None:
        """Start moving to the rest pose at `park_speed`; tick until `parked`.

        Legal in a fault (it is the way out of one); raises `GuardFault` in an e-stop.
        """
        if self.mode == "estop":
            raise GuardFault(f"guard: e-stop latched ({self.reason}); rearm() before park()")
        if self.mode != "park":
            self._set_mode("park", "park")

    @property
    def parked(self) -> bool:
        """At rest at the rest pose, measured and commanded."""
        return self._is_open and self._parked

    def heartbeat(self, t_ns: int) -> None:
        """The remote operator was alive at `t_ns`. The first call arms the dead-man."""
        self._heart.beat(int(t_ns))

    def disarm_heartbeat(self) -> None:
        """The remote operator has handed over: no more beats are expected."""
        self._heart.disarm()

    def note_frame(self, camera: str, t_ns: int) -> None:
        """The agent saw a frame of `camera` taken at `t_ns`. The first call starts the watch on it."""
        self._cameras.note(camera, int(t_ns))

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
        asked, sent, layout = self._asked, self._filter.p, self._layout
        return Applied(
            t_ns=self._clock.now() if self._last_ns is None else self._last_ns,
            asked_q={name: frozen(asked[at]) for name, at in layout.arms.items()},
            sent_q={name: frozen(sent[at]) for name, at in layout.arms.items()},
            asked_width_m={name: float(asked[k]) for name, k in layout.grippers.items()},
            sent_width_m={name: float(sent[k]) for name, k in layout.grippers.items()},
            limits=self.limits.take(),
            mode=self.mode,
            source=self._source,
        )

    def protections(self) -> tuple[Protection, ...]:
        """Every protection, and whether it acts on this robot; stored with every episode."""
        return protections(
            self.rig,
            capsules=self._collision.capsules,
            pairs=self._collision.contacts,
            obstacles=len(self._obstacles),
            temperatures=self._devices.hottest() is not None,
            cameras=self._cameras.watched,
            heartbeat=self._heart.armed,
            blackbox=str(self._blackbox_path or "in memory"),
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
        self._ticks += 1
        fault = self._devices.read(now)
        if fault is not None and self.mode not in (*LATCHED, "park"):
            self.limits.note("device")
            self._set_mode("fault", fault)
        if since > STALL_PERIODS * self.period_ns:
            # The arm has long reached its last goal, or has been moved: no catching up.
            self.limits.note("stall")
            self._reanchor()
        blocked = self._watch(now)
        step = self._next(now, blocked)
        if step is not None:
            self._filter.commit(step)
            self._collision.committed(step.p)
        self._devices.send(self._filter.p)
        self._record(now, since)

    def _next(self, now: int, blocked: bool) -> Step | None:
        """The state to command next; None = stay."""
        fltr = self._filter
        if self.mode == "run" and self._plan is not None:
            if now < self._plan.expires_ns:
                target, velocity = self._plan.sample(now)
                self._source, self._asked = self._plan.source, target
                return self._move(target, velocity, self._speed)
            self.limits.note("expired")
            self._set_mode("hold", "chunk expired")
        speed = min(self._speed, self.rig.guard.park_speed)
        if not blocked and speed > 0.0:
            if self.mode == "park":
                return self._park(now, speed)
            if self._toward is not None:
                return self._move(self._toward, None, speed)
        return None if fltr.at_rest else fltr.stop()

    def _park(self, now: int, speed: float) -> Step | None:
        fltr, joints = self._filter, self._devices.n_joints
        if self._plan is None:
            if not fltr.at_rest:
                return fltr.stop()
            rest = np.concatenate([self._rest[:joints], fltr.p[joints:]])  # grippers keep their grip
            vias = [np.concatenate([via[:joints], fltr.p[joints:]]) for via in self._vias]
            # Slower than the filter may go, so that it can keep up with the plan.
            pace = self._devices.v_max * (0.8 * speed)
            self._plan = park_plan(fltr.p, rest, vias, pace=pace, collision=self._collision, now_ns=now)
        target, velocity = self._plan.sample(now)
        if now >= self._plan.end_ns and fltr.at_rest:
            measured = np.abs(self._devices.measured - self._rest)[:joints].max(initial=0.0)
            commanded = np.abs(fltr.p - self._rest)[:joints].max(initial=0.0)
            self._parked = bool(measured < PARKED_RAD and commanded < ARRIVED_RAD)
        self._asked = target
        return self._move(target, velocity, speed)

    def _move(self, target: F64, velocity: F64 | None, speed: float) -> Step | None:
        """Filter and look ahead; None when the arm already rests where it should."""
        fltr, collision, note = self._filter, self._collision, self.limits.note
        wanted = target
        for name, k in self._layout.grippers.items():
            width = self._grips[name].limited(float(target[k]))
            if width != target[k]:
                wanted = wanted.copy()
                wanted[k] = width
                note("gripper_force")
        if fltr.at_rest and (velocity is None or not velocity.any()) and (wanted == fltr.p).all():
            return None
        aim, pace = collision.slide(fltr.p, wanted, velocity)
        step = fltr.propose(aim, pace, speed)
        hits = collision.blocked(fltr, step)
        for name in collision.names([*collision.sliding, *hits]):
            note(name)
        if hits:
            aim, pace = collision.slide(fltr.p, wanted, velocity, hits)
            step = fltr.propose(aim, pace, speed)
            if collision.blocked(fltr, step):
                step = fltr.stop()  # along the last committed stop, which is known to be clear
        if self.mode == "run":
            for name in fltr.acting(step, aim if hits or collision.sliding else wanted):
                note(name)
        return step

    def _watch(self, now: int) -> bool:
        """What is not as it should be turns into a mode and is counted; True = stand still even in park."""
        devices, note = self._devices, self.limits.note
        running = self.mode == "run"
        blocked = False
        if (name := devices.freshness.stale(now)) is not None:
            note("stale_state")
            blocked = True
            if running:
                self._set_mode("hold", f"{name}: its state is stale")
        if running and (name := self._cameras.stale(now)) is not None:
            note("stale_camera")
            self._set_mode("hold", f"{name}: its frame is stale")
        if running and self._heart.lost(now):
            note("heartbeat")
            self._set_mode("hold", "the operator's heartbeat is lost")
        if self._ticks % TEMPERATURE_EVERY == 1:
            hottest = devices.hottest()
            self._speed = 1.0 if hottest is None else self._thermometer.speed(hottest)
        if self._speed < 1.0 and self.mode in ("run", "park"):
            note("temperature")
            if self._speed == 0.0 and self.mode == "run":
                self._set_mode("hold", "a servo is too hot")
        for name, state in devices.gripper_states.items():
            k = self._layout.grippers[name]
            self._grips[name].update(state.force_n, float(self._filter.p[k]), state.width_m)
        self._overloaded = beyond(devices.tau, devices.tau_max)
        if self._torque.update(now, self._overloaded):
            note("torque")
            self._torque.reset()
            if self.mode == "run":
                self._set_mode("hold", "torque above its limit")
            if self.mode != "park":
                self._toward = self._yield_pose()
        lag = devices.measured[: devices.n_joints] - self._filter.p[: devices.n_joints]
        if self._tracking.update(now, beyond(lag, self._lag_max)):
            note("tracking")
            self._tracking.reset()
            if self.mode not in LATCHED:
                worst = int(np.argmax(np.abs(lag)))
                self._set_mode("fault", f"{devices.names[worst]} is {lag[worst]:+.2f} rad off its command")
            self._toward = self._yield_pose()
        return blocked

    def _unfit(self, now: int) -> str | None:
        """Why no chunk may run now (one of `REJECT_REASONS`)."""
        if not self._is_open:
            return "park"
        if self.mode in (*LATCHED, "park"):
            return self.mode
        if self._devices.freshness.stale(now) is not None:
            return "stale_state"
        if self._cameras.stale(now) is not None:
            return "stale_camera"
        if self._heart.lost(now):
            return "heartbeat"
        if self._speed == 0.0:
            return "temperature"
        return "torque" if self._overloaded and self._toward is not None else None

    def _set_mode(self, mode: str, reason: str) -> None:
        if mode in LATCHED:
            log.warning("guard: %s: %s", mode, reason)
        self.mode, self.reason = mode, reason
        self._plan, self._toward = None, None
        self._parked = False

    def _anchor(self) -> None:
        """Fresh readings become the commanded state; raises what a device raises."""
        now = self._clock.now()
        self._devices.read_all(now)
        for monitor in (self._torque, self._tracking, *self._grips.values()):
            monitor.reset()
        self._bad_in_a_row = 0
        self._speed = 1.0
        self._reanchor()
        self._asked = self._filter.p
        self._devices.send(self._filter.p)

    def _reanchor(self) -> None:
        self._filter.reset(self._devices.measured)
        self._collision.anchor(self._filter.p)

    def _yield_pose(self) -> F64:
        """The measured pose, so that the motors stop pushing; grippers keep their grip."""
        joints = self._devices.n_joints
        return np.concatenate([self._devices.measured[:joints], self._filter.p[joints:]])

    def _widths(self) -> F64:
        """Openings at which the rest pose counts as safe, (5, M): only gripper entries matter."""
        share = np.linspace(0.0, 1.0, 5)[:, None]
        return self._layout.low + share * (self._layout.high - self._layout.low)

    def _named_poses(self) -> tuple[F64, list[F64]]:
        """The rest pose of all arms and raised poses to pass through, (M,) each."""
        rest, via = np.zeros(self._layout.size), np.zeros(self._layout.size)
        for name, at in self._layout.arms.items():
            description = load_model(self.rig.arms[name].model)
            rest[at], via[at] = description.rest_q_rad, description.home_q_rad
        low, high = self._layout.low, self._layout.high
        return np.clip(rest, low, high), [np.clip(via, low, high)]

    def _record(self, now: int, since: int) -> None:
        size, row = self._layout.size, self.blackbox.begin()
        row[0], row[1], row[2] = now, since, MODES.index(self.mode)
        row[3] = self.limits.end_tick()
        row[4 : 4 + size] = self._asked
        row[4 + size : 4 + 2 * size] = self._filter.p
        row[4 + 2 * size : 4 + 3 * size] = self._devices.measured
        row[4 + 3 * size :] = self._devices.tau
        self.blackbox.end()
