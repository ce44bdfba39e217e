"""A leader arm that is not real, and the scripted person who leads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ...robot.clock import RealClock
from ...robot.guard import Guard
from ...robot.interfaces import Robot
from ...robot.models import load_model
from ...robot.process import GuardProcess
from ...robot.rig import Rig
from ...robot.types import F64, ArmState, GripperState, Observation
from ...sim.emulate.onlooker import Onlooker
from ...sim.emulate.process import EmulatorProcess
from ...sim.hand import SpringHand
from ...sim.scene import build_scene, prefix
from ...sim.tasks import Task, TwinView
from ...sim.twin import Twin
from ...teleop.cartesian import CartesianAgent
from ...teleop.jog import Jog
from ...teleop.leader import Leader
from ...teleop.scripted import Scripted
from .cell import RigCell
from .operator import Operator, Sight

HOME_RAD = 0.15  # near enough to the home pose
HOME_S = 1.0  # and for that long: nobody moves the arm any more

Pull = Callable[[Mapping[str, float]], None]  # joint -> rad; joints that are left out are let go of


class Beside:
    """Stands beside an emulated cell and sees all of it; implements `Sight`. Usable once the cell is open."""

    def __init__(self, cell: RigCell) -> None:
        self._cell = cell
        self._onlooker: Onlooker | None = None
        self._home_ns: int | None = None  # since when the arms stand at home

    def ready(self) -> bool:
        """Whether the arms have stood at their home poses for a while."""
        twin, now = self.twin, self.robot.clock.now()
        for name, model in twin.scene.descriptions.items():
            if np.abs(twin.arms[name].servos.true_q() - model.home_q_rad).max() > HOME_RAD:
                self._home_ns = None
                return False
        self._home_ns = now if self._home_ns is None else self._home_ns
        return now - self._home_ns > HOME_S * 1e9

    @property
    def twin(self) -> Twin:
        onlooker = self._opened()
        onlooker.look()
        return onlooker.twin

    @property
    def task(self) -> Task:
        return self._opened().built.task

    @property
    def robot(self) -> Robot:
        return self._cell.robot

    def judge(self) -> tuple[bool, object] | None:
        return bool(self.task.success(TwinView(self.twin))), None

    def close(self) -> None:
        if self._onlooker is not None:
            self._onlooker.close()
            self._onlooker = None

    def _opened(self) -> Onlooker:
        if self._onlooker is None:
            emulator = self._cell.cell.emulator
            assert emulator is not None
            onlooker = Onlooker(emulator.folder)
            onlooker.open()
            self._onlooker = onlooker
        return self._onlooker


class ScriptedLead:
    """A person who holds `leader` and leads it as `operator` would move a Cartesian device; implements `JogDevice` and
    `Mirroring`.

    `pull` is the hand on the leader's joints; `advance` lets the leader's own time pass up to a time of the session.
    """

    name = "leader"

    def __init__(
        self,
        leader: Leader,
        rig: Rig,
        arm: str,
        operator: Operator,
        sight: Sight,
        *,
        pull: Pull,
        opened: Callable[[], None] = lambda: None,
        closed: Callable[[], None] = lambda: None,
        advance: Callable[[int], None] = lambda now_ns: None,
    ) -> None:
        self._leader = leader
        self._arm = arm
        self._gripper = rig.gripper_of(arm)
        self._model = load_model(rig.arms[arm].model)
        self._operator = operator
        self._sight = sight
        self._pull = pull
        self._opened, self._closed = opened, closed
        self._advance = advance
        self._jog = Jog(engaged=False)
        self._wrist = CartesianAgent(Scripted(lambda now_ns: self._jog), rig, arm)
        self._holds = False

    def open(self) -> None:
        self._opened()
        self._leader.open()

    def read(self, now_ns: int) -> Jog:
        self._advance(now_ns)
        self._jog = self._operator.hand(now_ns)
        felt = self._leader.read(now_ns)
        if felt.engaged and felt.q_rad is not None:
            self._lead(felt.q_rad, felt.width_share or 0.0, now_ns)
        elif self._holds:
            self._holds = False
            self._pull({})
        return replace(felt, keys=self._jog.keys)

    def mirror(self, q: F64, width_share: float | None, led: bool) -> None:
        self._leader.mirror(q, width_share, led)

    def stand(self) -> None:
        self._leader.stand()

    def rearm(self) -> None:
        self._leader.rearm()

    @property
    def trouble(self) -> str:
        return self._leader.trouble

    def feel(self, clamped: bool) -> None:
        """The leader has nothing to feel with."""

    def close(self) -> None:
        try:
            if self._holds:  # else it could not park
                self._holds = False
                self._pull({})
            self._leader.close()
        finally:
            self._closed()

    def _lead(self, q: F64, share: float, now_ns: int) -> None:
        """Pull the leader to where the operator's wrist goes."""
        if not self._holds:
            self._holds = True
            widths = {} if self._gripper is None else {self._gripper: share * self._model.gripper_width_max_m}
            self._wrist.reset(0)
            self._wrist.begin({self._arm: q}, widths)
        chunk = self._wrist.act(self._seen(now_ns))
        wanted = dict(zip(self._model.joints, chunk.q[self._arm][0].tolist(), strict=True))
        if self._gripper is not None and self._model.gripper_joint is not None:
            width = float(chunk.width_m[self._gripper][0])
            wanted[self._model.gripper_joint] = float(self._model.width_to_angle(width))
        self._pull(wanted)

    def _seen(self, now_ns: int) -> Observation:
        """The follower as it is."""
        twin = self._sight.twin
        q = twin.arms[self._arm].servos.true_q()
        still = np.zeros(q.size)
        grippers = {}
        if self._gripper is not None:
            angle = twin.grippers[self._gripper].servos.true_q()[0]
            grippers = {self._gripper: GripperState(now_ns, float(self._model.angle_to_width(angle)), 0.0)}
        return Observation(now_ns, {self._arm: ArmState(now_ns, q, still, still, still, still)}, grippers, {})


def emulated_lead(leader: Rig, rig: Rig, arm: str, cell: RigCell) -> ScriptedLead:
    """A leader on the servos' wire protocol, in real time, led in `cell`."""
    emulator, clock, sight = EmulatorProcess(leader), RealClock(), Beside(cell)
    (name,) = leader.arms
    emulator.open()

    def closed() -> None:
        sight.close()
        emulator.close()

    operator = Operator(sight, ready=sight.ready)
    return ScriptedLead(
        Leader(leader, GuardProcess(leader, emulator.paths, clock), clock), rig, arm, operator, sight,
        pull=lambda joints: emulator.lead(name, joints), closed=closed,
    )  # fmt: skip


def twin_lead(leader: Rig, rig: Rig, arm: str, sight: Sight) -> ScriptedLead:
    """A leader of the twin, in lockstep with the session's time."""
    twin = Twin(build_scene(leader))
    clock, hand = twin.clock, SpringHand(twin.model, twin.data)
    guard = Guard(leader, twin.arms, twin.grippers, clock)
    (name,) = leader.arms
    before = [0]

    def opened() -> None:
        clock.every(clock.step_ns, hand.pull)
        clock.every(guard.period_ns, guard.tick)

    def advance(now_ns: int) -> None:
        passed, before[0] = now_ns - before[0], now_ns
        if passed > 0:  # else another episode has begun
            clock.sleep_until(clock.now() + passed)

    return ScriptedLead(
        Leader(leader, guard, clock), rig, arm, Operator(sight), sight,
        pull=lambda joints: hand.take({prefix(name) + j: q for j, q in joints.items()}),
        opened=opened, advance=advance,
    )  # fmt: skip
