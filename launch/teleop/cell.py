"""Where a session works: a twin in this process, or a rig in real time. The session sees no difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...policies.runtime import PolicyAgent
from ...robot.clock import RealClock
from ...robot.errors import GuardFault
from ...robot.guard import Guard
from ...robot.interfaces import Agent, Robot
from ...robot.loop import ControlLoop
from ...robot.models import load_model
from ...robot.process import GuardProcess
from ...robot.rig import Rig
from ...robot.types import F64, Applied, Observation
from ...sim.emulate.stage import Stage
from ...sim.pace import PacedRobot
from ...sim.tasks import Task, TwinView
from ...sim.twin import Twin, TwinRobot
from ...sim.world import World
from ..homing import Homing
from ..live import LiveCell, acting, open_cell
from ..workers import WorldPlan

Look = Callable[[], bool]  # called while a scene is set up; true: break off


class Cell(Protocol):
    """One arm's workplace. `open`, then `begin` once an episode, `close` on every way out."""

    backend: str  # "sim" | "emulated" | "real"
    places: bool  # it puts the objects where they belong; else a person does

    @property
    def rig(self) -> Rig: ...

    @property
    def robot(self) -> Robot: ...

    @property
    def guard(self) -> Guard | GuardProcess: ...

    @property
    def draw(self) -> Mapping[str, Any]:
        """What was drawn for this episode; {} where nothing is known of it."""
        ...

    @property
    def slowed(self) -> float:
        """Share of the wall's time that was lost since the last call, 0..1."""
        ...

    def open(self) -> None: ...

    def begin(self, seed: int, look: Look) -> bool:
        """Objects as `seed` has them, arm at home. False: `look` broke it off, or the guard latched."""
        ...

    def judge(self) -> tuple[bool, Mapping[str, F64]] | None:
        """Whether the task is done, and where its bodies are, (3,) m in W; None where nobody can tell."""
        ...

    def policy(self, checkpoint: Path) -> Agent:
        """The policy as an agent of this episode."""
        ...

    def close(self) -> None:
        """Park, release, and end everything that was started. May be called twice."""
        ...


class TwinCell:
    """Implements `Cell` on the in-process twin of `plan`; `paced` by the wall clock, else as fast as it goes."""

    backend = "sim"
    places = True

    def __init__(self, plan: WorldPlan, *, paced: bool = True) -> None:
        self._plan = plan
        self._paced = paced
        self._world: World | None = None
        self._twin_robot: TwinRobot | None = None
        self._robot: Robot | None = None
        self._view: TwinView | None = None
        self._agents: tuple[Path, Callable[[Twin], Agent]] | None = None
        self._wall = RealClock()
        self._looked_ns = 0
        self.draw: Mapping[str, Any] = {}

    @property
    def world(self) -> World:
        assert self._world is not None, "open() it first"
        return self._world

    @property
    def rig(self) -> Rig:
        return self.world.rig

    @property
    def task(self) -> Task:
        return self.world.task

    @property
    def twin(self) -> Twin:
        assert self._twin_robot is not None, "begin() an episode first"
        return self._twin_robot.twin

    @property
    def robot(self) -> Robot:
        assert self._robot is not None, "begin() an episode first"
        return self._robot

    @property
    def guard(self) -> Guard:
        assert self._twin_robot is not None and isinstance(self._twin_robot.guard, Guard)
        return self._twin_robot.guard

    @property
    def slowed(self) -> float:
        if not isinstance(self._robot, PacedRobot):
            return 0.0
        clock, now = self._robot.clock, self._wall.now()
        passed, self._looked_ns = now - self._looked_ns, now
        lost, clock.lost_ns = clock.lost_ns, 0
        return lost / passed if 0 < lost < passed else 0.0

    def open(self) -> None:
        self._world = self._plan.open()

    def begin(self, seed: int, look: Look) -> bool:
        if self._twin_robot is not None:
            self._twin_robot.release()
        robot, self.draw = self.world.start(seed)
        self._twin_robot = robot
        robot.open()
        self._robot = PacedRobot(robot, self._wall) if self._paced else robot
        self._view = TwinView(robot.twin)
        self._looked_ns = self._wall.now()
        return not look()

    def judge(self) -> tuple[bool, Mapping[str, F64]] | None:
        assert self._view is not None
        where = {body: np.array(self._view.pos(body)) for body in self.task.bodies}
        return bool(self.task.success(self._view)), where

    def policy(self, checkpoint: Path) -> Agent:
        if self._agents is None or self._agents[0] != checkpoint:
            from ..policy_agent import policy_agents

            self._agents = checkpoint, policy_agents(checkpoint, self.world)
        return self._agents[1](self.twin)

    def close(self) -> None:
        robot, self._twin_robot = self._twin_robot, None
        world, self._world = self._world, None
        try:
            if robot is not None:
                robot.close()
        finally:
            if world is not None:
                world.close()


class RigCell:
    """Implements `Cell` on `rig` in real time: emulated around `stage`, or, without one, as it stands."""

    def __init__(
        self,
        rig: Rig,
        stage: Stage | None,
        task: Task,
        cameras: tuple[str, ...],
        size: tuple[int, int] | None,
    ) -> None:
        self.backend = "real" if stage is None else "emulated"
        self.places = stage is not None
        self.draw: Mapping[str, Any] = {}
        self._given = rig, stage, cameras, size
        self._task = task
        self._cell: LiveCell | None = None

    @property
    def cell(self) -> LiveCell:
        assert self._cell is not None, "open() it first"
        return self._cell

    @property
    def rig(self) -> Rig:
        return self.cell.rig

    @property
    def robot(self) -> Robot:
        return self.cell.robot

    @property
    def guard(self) -> GuardProcess:
        return self.cell.guard

    @property
    def slowed(self) -> float:
        return 0.0

    def open(self) -> None:
        rig, stage, cameras, size = self._given
        self._cell = open_cell(rig, stage, cameras, size=size)
        acting(self._cell)

    def begin(self, seed: int, look: Look) -> bool:
        """Raises `GuardFault` when the arm does not get home."""
        cell, guard = self.cell, self.cell.guard
        if cell.emulator is not None:
            cell.emulator.place(seed)
        guard.disarm_heartbeat()  # this motion is nobody's hand
        guard.hold("homing")  # a parked guard takes no chunks
        poses = {name: load_model(arm.model).home_q_rad for name, arm in cell.rig.arms.items()}
        homing = Homing(poses, {name: cell.rig.joint_spec(name).dq_max for name in poses})
        broken = [False]

        def over(obs: Observation, applied: Applied) -> bool:
            broken[0] = broken[0] or look() or applied.mode in ("fault", "estop")
            return broken[0] or homing.arrived

        ControlLoop(cell.robot, homing, round(1e9 / cell.rig.control_hz)).run(homing.LONGEST_NS, stop=over)
        if not (broken[0] or homing.arrived):
            raise GuardFault(
                f"guard: {guard.mode} ({guard.reason}) on the way to the home pose, {homing.off_rad:.2f} rad from it "
                f"after {homing.LONGEST_NS * 1e-9:.0f} s; is the arm blocked, or the machine too busy?"
            )
        return not broken[0]

    def judge(self) -> tuple[bool, Mapping[str, F64]] | None:
        if self.cell.emulator is None:
            return None
        done, flat = self.cell.emulator.judge()
        places = np.array(flat).reshape(-1, 3)
        return done, dict(zip(self._task.bodies, places, strict=True))

    def policy(self, checkpoint: Path) -> Agent:
        return PolicyAgent.load(checkpoint, self.rig)

    def close(self) -> None:
        cell, self._cell = self._cell, None
        if cell is not None:
            cell.close()
