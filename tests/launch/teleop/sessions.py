"""A session on the unpaced twin, whose person follows a script of presses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from twinloop.launch.collect import dataset_spec
from twinloop.launch.teleop.cell import TwinCell
from twinloop.launch.teleop.command import truth
from twinloop.launch.teleop.desk import Desk
from twinloop.launch.teleop.plan import Plan
from twinloop.launch.teleop.session import Session
from twinloop.launch.teleop.takes import PERSON, DryTakes, TwinTakes
from twinloop.launch.teleop.tally import Tally
from twinloop.launch.workers import WorldPlan
from twinloop.robot.clock import RealClock
from twinloop.robot.rig import load_rig
from twinloop.sim.tasks import load_task
from twinloop.teleop.hand import Hand
from twinloop.teleop.jog import Jog
from twinloop.teleop.scripted import Scripted

RIG = load_rig("so101")
TASK = "pick_place"
TEXT = "move it"


@dataclass(frozen=True)
class Press:
    """When the session has been in `state` for `after_s` of its own time: press `keys`."""

    state: str
    after_s: float
    keys: tuple[str, ...]


def press(state: str, after_s: float, *keys: str) -> Press:
    return Press(state, after_s, keys)


class Person:
    """Presses one after the other; the hand pushes while an episode is recorded."""

    def __init__(self, cell, presses, moves=("recording",)):
        self.cell = cell
        self.presses = list(presses)
        self.moves = moves  # in these states, as long as there is something to be pressed
        self.velocity = np.array([0.02, 0.0, 0.02]) if "recording" in moves else np.array([0.0, 0.1, 0.0])
        self.stood: list[np.ndarray] = []  # rad, where the arm was at each press
        self.session: Session | None = None
        self.since = ("", 0)
        self.states: list[str] = []

    def hand(self, now_ns: int) -> Jog:
        session = self.session
        assert session is not None
        if session.state != self.since[0] or now_ns < self.since[1]:
            self.since = session.state, now_ns
        if session.state not in self.states[-1:]:
            self.states.append(session.state)
        keys: tuple[str, ...] = ()
        if self.presses:
            due = self.presses[0]
            if due.state == session.state and now_ns - self.since[1] >= due.after_s * 1e9:
                keys = self.presses.pop(0).keys
                self.since = session.state, now_ns
                self.stood.append(self.cell.twin.arms["arm"].servos.true_q())
        if now_ns - self.since[1] > 30e9:
            raise AssertionError(f"nothing comes of the script: {session.state}, {self.presses}")
        moving = session.state in self.moves and bool(self.presses)
        return Jog(linear_m_s=self.velocity if moving else np.zeros(3), keys=keys)


class Clock:
    def __init__(self, cell):
        self.cell = cell

    def now(self):
        return self.cell.robot.clock.now()

    def sleep_until(self, deadline_ns):
        self.cell.robot.clock.sleep_until(deadline_ns)


def run_session(
    root: Path | None, presses, *, cell=None, moves=("recording",), cameras=(), **plan
) -> tuple[Session, Person]:
    """Record into `root` (None: nothing is written) what `presses` say; the twin is parked and closed afterwards."""
    size = (64, 48) if cameras else None
    cell = cell or TwinCell(WorldPlan(RIG, TASK, cameras=cameras, size=size), paced=False)
    person = Person(cell, presses, moves)
    plan = {"countdown_s": 0.2, "timed": False, "cameras": cameras, **plan}
    cell.open()
    intervening = (PERSON,) if plan.get("policy") else ()
    if root is None:
        takes = DryTakes()
    else:
        spec = dataset_spec(cell.rig, load_task(TASK), cameras)
        fps = {name: cell.rig.cameras[name].fps for name in cameras}
        takes = TwinTakes(root, spec, fps, lambda: truth(cell), intervening)
    try:
        takes.open()
        clock = Clock(cell)
        desk = Desk(Hand(Scripted(person.hand), clock), RealClock())
        person.session = Session(Plan(TEXT, **plan), cell, desk, takes, Tally.of(root) if root else Tally())
        person.session.run()
    finally:
        cell.close()
        takes.close()
    return person.session, person
