"""A leader arm: the person moves it, torque off, and the follower stands as it does.

It has a guard of its own, as every arm that can move: while somebody else has the follower (a policy, the way home), it
is driven along, slowly and giving way to the hand, so that who takes it finds it where the follower stands.
"""

from __future__ import annotations

import numpy as np

from ..robot.errors import DeviceError, GuardFault, RigError, UsageError
from ..robot.guard import Guard
from ..robot.interfaces import Clock
from ..robot.models import load_model
from ..robot.process import GuardProcess
from ..robot.rig import Rig
from ..robot.types import F64, ActionChunk
from .jog import Jog

NEAR_RAD = 0.1  # of the follower: near enough to be let go of
PATIENCE_NS = 3_000_000_000  # then it is let go of where it is: a hand held it back
VALID_NS = 150_000_000
PERIOD_NS = 33_000_000
LATCHED = ("fault", "estop")


def check_leader(leader: Rig, follower: Rig, arm: str) -> None:
    """Raises `RigError` unless `leader` has one arm, that a person leads, with the joints of `arm` of `follower`."""
    if not leader.leader:
        raise RigError(f"rig '{leader.name}' is no leader; its file would say `leader: true`")
    if len(leader.arms) != 1:
        raise RigError(f"rig '{leader.name}' has {len(leader.arms)} arms; a leader has one")
    (name,) = leader.arms
    mine, its = leader.joint_spec(name).names, follower.joint_spec(arm).names
    if mine != its:
        raise RigError(
            f"leader '{leader.name}' has the joints {', '.join(mine)}; "
            f"arm '{arm}' of '{follower.name}' has {', '.join(its)}"
        )


class Leader:
    """The one arm of `rig` behind `guard`; implements `JogDevice` and `Mirroring`.

    `clock` is the guard's. Begins standing, torque on.
    """

    name = "leader"

    def __init__(self, rig: Rig, guard: Guard | GuardProcess, clock: Clock) -> None:
        self._rig = rig
        self._guard = guard
        self._clock = clock
        (self._arm,) = rig.arms
        self._trigger = rig.gripper_of(self._arm)
        self._widest_m = load_model(rig.arms[self._arm].model).gripper_width_max_m
        self._taken_ns: int | None = None  # since when a person wants it
        self._released = False  # it was asked to let go

    def open(self) -> None:
        """Open its guard. Raises `DeviceError` when the arm does not answer."""
        self._guard.open()

    def read(self, now_ns: int) -> Jog:
        state = self._guard.arm_states.get(self._arm)
        if state is None or self._guard.mode != "slack":
            return Jog(engaged=False)
        share = None
        if self._trigger is not None and (trigger := self._guard.gripper_states.get(self._trigger)):
            share = min(max(trigger.width_m / self._widest_m, 0.0), 1.0)
        return Jog(q_rad=state.q, width_share=share, age_ns=max(0, self._clock.now() - state.t_ns))

    def mirror(self, q: F64, width_share: float | None, led: bool) -> None:
        """The follower is told `q` (n,) rad and to open that far, 0..1. With `led` a person takes the leader: it is let
        go of when it has come there; else it goes along. Never blocks."""
        now, mode = self._clock.now(), self._guard.mode
        if not led:
            self._taken_ns, self._released = None, False
        if mode in LATCHED or (led and mode == "slack"):
            return
        if mode == "slack":
            self._guard.hold("driven along")
            return
        if led:
            self._taken_ns = now if self._taken_ns is None else self._taken_ns
            if self._near(q) or now - self._taken_ns > PATIENCE_NS:
                self._let_go()
                return
        widths = {}
        if self._trigger is not None and width_share is not None:
            widths = {self._trigger: np.array([width_share * self._widest_m])}
        spec = self._rig.joint_spec(self._arm)
        rows = {self._arm: np.clip(q, spec.q_min, spec.q_max)[None]}
        self._submit(ActionChunk(now, PERIOD_NS, rows, widths, now + VALID_NS, "follower"))

    def stand(self) -> None:
        """Hold it where it is."""
        self._taken_ns, self._released = None, False
        if self._guard.mode not in LATCHED:
            self._guard.hold("stands")

    def rearm(self) -> None:
        """Leave a latched stop of its guard. Raises `GuardFault` while that cannot be."""
        if self._guard.mode in LATCHED:
            self._guard.rearm()

    @property
    def trouble(self) -> str:
        """Why it does not lead, "" while it may."""
        mode = self._guard.mode
        return f"leader: {mode}: {self._guard.reason}" if mode in LATCHED else ""

    def feel(self, clamped: bool) -> None:
        """It has nothing to feel with."""

    def close(self) -> None:
        """Release it where it is: the hand that holds it keeps it, and driven home it parks."""
        try:
            if self._guard.is_open and self._guard.mode not in ("slack", *LATCHED):
                self._park()
        finally:
            self._guard.close(unparked=not self._guard.parked)

    def _park(self) -> None:
        due = self._clock.now() + 20_000_000_000
        while not self._guard.parked and self._guard.mode not in LATCHED and self._clock.now() < due:
            self._guard.park()
            self._clock.sleep_until(self._clock.now() + 50_000_000)

    def _let_go(self) -> None:
        """Stop, and let go once it stands."""
        if not self._released:
            self._released = True
            self._guard.hold("a person takes it")
        try:
            self._guard.slack()
        except (GuardFault, DeviceError):  # it still moves; the next look tries again
            pass

    def _near(self, q: F64) -> bool:
        state = self._guard.arm_states.get(self._arm)
        return state is not None and bool(np.abs(state.q - q).max() < NEAR_RAD)

    def _submit(self, chunk: ActionChunk) -> None:
        try:
            self._guard.submit(chunk)
        except GuardFault:  # its process ended: `trouble` says so
            pass


def leader_ports(rig: Rig) -> dict[str, str]:
    """Arm -> port of a leader's rig. Raises `UsageError` where none is known."""
    ports = {name: arm.port for name, arm in rig.arms.items() if arm.port is not None}
    if len(ports) < len(rig.arms):
        raise UsageError(
            f"--device leader: rig '{rig.name}' names no port; `twinloop setup-devices --rig {rig.name}` finds it, "
            f"or --emulated emulates it"
        )
    return ports
