"""What the arms follow: a chunk, the way to the rest pose, the pose to yield to, or nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import DeviceError, GuardFault
from ..rig import Rig
from ..types import F64, ActionChunk
from .commands import Plan, standing
from .devices import Devices
from .modes import Mode
from .mover import Mover
from .park import Parking
from .watch import Watch

MOVED_RAD = 0.1  # an arm that holds is not that far off its goal: it sags by less


class Course:
    """Moves `mover` by one step a tick, as `mode` says; whoever changes the mode does it here, by `enter`.

    `note(limit)` is called for every limit that acts.
    """

    def __init__(
        self,
        rig: Rig,
        devices: Devices,
        watch: Watch,
        mover: Mover,
        parking: Parking,
        mode: Mode,
        note: Callable[[str], None],
    ) -> None:
        self._rig = rig
        self._devices = devices
        self._watch = watch
        self._mover = mover
        self._parking = parking
        self._mode = mode
        self._note = note
        self._plan: Plan | None = None
        self._toward: F64 | None = None  # pose to yield to while holding
        self.asked: F64 = np.zeros(devices.layout.size)  # in the last tick, (M,) rad and m
        self.source = ""  # of the chunk that is followed, or was last
        self.parked = False  # at the rest pose, measured and commanded
        self.slack = False  # torque is off, a person holds the arms

    def enter(self, mode: str, reason: str) -> None:
        """Change the mode, and drop what was followed."""
        self._mode.enter(mode, reason)
        self._plan, self._toward = None, None
        self.parked = False

    def let_go(self) -> None:
        """Torque off, readings go on. Raises `GuardFault` where that may not be, and what a device raises."""
        mode, rig = self._mode, self._rig
        if not rig.leader:
            raise GuardFault(
                f"guard: torque off would drop the arm; rig '{rig.name}' is no leader (leader: true)"
            )
        if unfit := self._devices.unslackable():
            raise GuardFault(f"guard: {', '.join(unfit)} cannot be read with torque off")
        if mode.latched:
            raise GuardFault(f"guard: {mode.name} latched ({mode.reason}); rearm() first")
        if not self._mover.at_rest:
            raise GuardFault("guard: the arm moves; it is let go of at rest")
        self._devices.slack(True)
        self.slack = True
        self.enter("slack", "a person leads")

    def grasp(self, now: int) -> bool:
        """Make arms that were let go of hold where they are now; where that fails they stay let go of, a fault."""
        if not self.slack:
            return True
        try:
            self._devices.slack(False)
        except DeviceError as error:
            self.enter("fault", f"let go of, and could not be held: {error}")
            return False
        self.slack = False
        self._devices.read(now)
        self._mover.anchor(self._devices.measured)
        self.asked = self._mover.p
        return True

    @property
    def yielding(self) -> bool:
        """Whether the arms give way to a load."""
        return self._toward is not None

    def take(self, chunk: ActionChunk, now: int) -> None:
        """Run `chunk` from now on; what ran before holds until it begins."""
        running = self._mode.name == "run" and self._plan
        before = self._plan if running and self._plan else standing(self._mover.p, now)
        expiry_ns = round(self._rig.guard.expiry_ms * 1e6)
        held = before.sample(now)[0]
        self._plan = before.followed_by(chunk, self._devices.layout, now, expiry_ns, held)
        self._mode.enter("run", "chunk")
        self._toward = None

    def give_way(self) -> None:
        """While holding, go to where the load has moved the joints; the grippers keep their grip."""
        self._toward = self._joints_measured()

    def anchor(self) -> None:
        """The measured pose becomes the commanded one."""
        self._mover.anchor(self._devices.measured)
        self.asked = self._mover.p
        self._devices.send(self._mover.p)

    def follow(self, now: int) -> bool:
        """Move on by one step, as the mode says. True when that took a new plan, which may last some periods."""
        mover, watch = self._mover, self._watch
        if self.slack:
            mover.follow(self._devices.measured)
            self.asked = mover.p
            return False
        plan = self._plan
        if self._mode.name == "run" and plan is not None:
            if now < plan.expires_ns:
                target, velocity = plan.sample(now)
                self.source, self.asked = plan.source, target
                mover.move(target, velocity, watch.speed)
                return False
            self._note("expired")
            self.enter("hold", "chunk expired")
        speed = min(watch.park_speed, self._rig.guard.park_speed)
        if watch.blind:
            mover.stop()
            if self._mode.name == "park":
                self._plan = None  # a new way when it sees again
        elif self._mode.name == "park":
            return self._park(now, speed)
        elif self._toward is not None:
            mover.move(self._toward, None, speed, counted=False)
        else:
            mover.stop()
        return False

    def _park(self, now: int, speed: float) -> bool:
        plan, mover = self._plan, self._mover
        if plan is None and not mover.at_rest:  # a straight line needs a start
            mover.stop()
            return False
        fresh = plan is None
        if plan is None:
            plan = self._plan = self._parking.plan(mover.p, speed, now)
        target, velocity = plan.sample(now)
        self.asked = target
        mover.move(target, velocity, speed, counted=False)
        if now >= plan.end_ns and mover.at_rest:
            self.parked = self._parking.arrived(mover.p, self._devices.measured)
        return fresh

    def recover_from_stall(self, now: int) -> None:
        """The arm has long reached its last goal, or was moved: no catching up, go on from where it is."""
        self._note("stall")
        sent = self._mover.p
        if self._devices.freshness.stale(now) is not None or (self._mover.at_rest and not self._moved()):
            self._mover.anchor(sent)  # it stood, and sags: from where it hangs it would sag again
        else:
            self._mover.anchor(self._joints_measured())
        if self._mode.name == "park":
            self._plan = None  # a new way from here

    def see_again(self) -> None:
        """A device that was silent answers: if its joints were moved meanwhile, the old goal would be a jump."""
        if self._moved():
            self._mover.anchor(self._devices.measured)
            self._plan = None if self._mode.name == "park" else self._plan

    def _moved(self) -> bool:
        joints = self._devices.n_joints
        return bool(np.abs(self._devices.measured - self._mover.p)[:joints].max() > MOVED_RAD)

    def _joints_measured(self) -> F64:
        """The measured pose with the grippers' commanded widths."""
        joints = self._devices.n_joints
        return np.concatenate([self._devices.measured[:joints], self._mover.p[joints:]])
