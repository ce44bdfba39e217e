"""One step of all joints towards a target: grip force, sliding, joint limits, look-ahead, or else a stop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..rig import Rig
from ..types import F64, GripperState
from .collision import CollisionModel
from .devices import Devices
from .filter import LimitFilter
from .grip import GripForce, GripLimits
from .progress import Progress
from .step import Step

REHEARSED = 0.01  # rad and m


class Mover:
    """Keeps the commanded state of all joints, and is the only one that changes it.

    `note(limit)` is called for every limit that acts.
    """

    def __init__(
        self, rig: Rig, devices: Devices, collision: CollisionModel, note: Callable[[str], None]
    ) -> None:
        dt_s = 1.0 / rig.guard.rate_hz
        layout = self._layout = devices.layout
        self.filter = LimitFilter(
            q_min=layout.low,
            q_max=layout.high,
            dq_max=devices.v_max,
            ddq_max=devices.a_max,
            dddq_max=devices.j_max,
            dt_s=dt_s,
        )
        self._collision = collision
        self._progress = Progress(devices.n_joints, dt_s)
        self._joints = devices.n_joints
        self._along: list[str] = []  # names of what the arm slid along last
        self._note = note
        self._grips = {
            name: GripForce(
                GripLimits(
                    devices.force_max[name], config.hold_n, config.hold_after_s, float(devices.v_max[k])
                )
            )
            for (name, k), config in zip(layout.grippers.items(), rig.grippers.values(), strict=True)
        }

    @property
    def p(self) -> F64:
        """The position commanded last, (M,); treat as read-only."""
        return self.filter.p

    @property
    def at_rest(self) -> bool:
        return self.filter.at_rest

    def anchor(self, pose: F64) -> None:
        """Start anew from `pose` (M,), at rest."""
        self.filter.reset(pose)
        self._collision.anchor(self.filter.p)
        self._progress.reset()
        for grip in self._grips.values():
            grip.reset()

    def rehearse(self) -> None:
        """One look ahead that moves nothing. The first of a process takes 10 ms, since BLAS takes its memory then: that
        is too long for a tick."""
        fltr, collision = self.filter, self._collision
        target = fltr.p + REHEARSED
        collision.blocked(fltr, fltr.propose(target, None, 1.0, None))
        if collision.pair_names:
            collision.slide(fltr, target, None, [0])
        collision.anchor(fltr.p)

    def follow(self, pose: F64) -> None:
        """Take over `pose` (M,) of arms that a person moves: nothing is commanded."""
        self.filter.reset(pose)

    def feel(self, gripper: str, state: GripperState) -> None:
        """What a gripper measured last."""
        self._grips[gripper].update(state, float(self.filter.p[self._layout.grippers[gripper]]))

    def stop(self) -> None:
        """One step of the time-optimal stop. At rest the arms stand, and a jaw that squeezes too hard gives way."""
        self._progress.reset()
        fltr = self.filter
        arms = slice(0, self._joints)
        if not (fltr.v[arms].any() or fltr.a[arms].any()):
            eased = self._eased()
            if eased is not None:
                self._advance(eased, None, 1.0, counted=False)
                return
        if not fltr.at_rest:
            self._commit(fltr.stop())

    def move(self, target: F64, velocity: F64 | None, speed: float, counted: bool = True) -> None:
        """One step towards `target` (M,) moving at `velocity`; with `counted`, joint limits are noted."""
        wanted = target
        for name, k in self._layout.grippers.items():
            grip = self._grips[name]
            width = grip.limited(float(target[k]))
            if width != target[k]:
                wanted = wanted.copy()
                wanted[k] = width
                self._note(grip.acting)
        self._advance(wanted, velocity, speed, counted)

    def _eased(self) -> F64 | None:
        """The commanded position with those jaws wider that squeeze too hard; None when none does. An arm that
        stands closes nothing."""
        eased = None
        for name, k in self._layout.grippers.items():
            grip = self._grips[name]
            if grip.narrowest is not None and grip.narrowest > self.filter.p[k]:
                eased = self.filter.p.copy() if eased is None else eased
                eased[k] = grip.narrowest
                self._note(grip.acting)
        return eased

    def _advance(self, wanted: F64, velocity: F64 | None, speed: float, counted: bool) -> None:
        """`move` with the grips' forces seen to."""
        fltr, collision, note = self.filter, self._collision, self._note
        if collision.sliding:
            self._along = collision.names(collision.sliding)
        if collision.sliding or self._progress.resting:
            rest = self._progress.rest(wanted, fltr.p)
            if rest is not None:
                wanted, velocity = np.concatenate([rest, wanted[self._joints :]]), None
                for name in self._along:
                    note(name)
        if fltr.at_rest and (velocity is None or not velocity.any()) and (wanted == fltr.p).all():
            return
        aim, pace = collision.slide(fltr, wanted, velocity)
        step = fltr.propose(aim, pace, speed, collision.slid)
        hits = collision.blocked(fltr, step)
        if hits or collision.sliding:
            for name in collision.names([*collision.sliding, *hits]):
                note(name)
        if hits:
            aim, pace = collision.slide(fltr, wanted, velocity, hits)
            step = fltr.propose(aim, pace, speed, collision.slid)
            hits = collision.blocked(fltr, step)
            if hits:
                step = self._stop_involved(step, hits)
        if counted:
            for name in fltr.acting(step, wanted if aim is wanted else aim):
                note(name)
        self._commit(step)

    def _stop_involved(self, step: Step, hits: list[int]) -> Step:
        """Stop the arms that `hits` belong to, or all of them, along stops that are known to be clear."""
        involved = self._collision.involved(hits)
        if not involved.all():
            step = self.filter.stop(step, np.flatnonzero(involved).tolist())
            if not self._collision.blocked(self.filter, step):
                return step
        return self.filter.stop()

    def _commit(self, step: Step) -> None:
        self.filter.commit(step)
        self._collision.committed(step.p)
