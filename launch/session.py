"""One episode of a world, run through loop and guard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.recorder_process import Kept
from ..robot.interfaces import Agent, Observer
from ..robot.loop import ControlLoop, LoopReport
from ..robot.types import Applied, Observation, Step
from ..sim.tasks import TwinView
from ..sim.twin import Twin
from ..sim.world import World
from .stopping import asked, deferred

SETTLE_STEPS = 6  # steps that still run after success, so that a policy learns to stay


@dataclass(frozen=True, slots=True)
class TwinStep:
    """One step of an episode, with what only the twin knows."""

    step: Step
    objects: np.ndarray  # (3K,) m, true positions of the task's bodies in W, at the observation
    qpos: np.ndarray  # (nq,) the twin's whole configuration then, to render the step again


@dataclass(slots=True)
class _Trace:
    """An observer that keeps every step; `watch` has left in `now` how the world stood at its observation."""

    now: tuple[np.ndarray, np.ndarray] | None = None
    steps: list[TwinStep] = field(default_factory=list)

    def on_step(self, step: Step) -> None:
        assert self.now is not None
        self.steps.append(TwinStep(step, *self.now))


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """What one episode came to."""

    seed: int
    success: bool
    steps: int
    sim_s: float
    limits: Mapping[str, int]  # guard ticks in which each limit acted
    tracking_rad: np.ndarray  # (steps, n) sent minus measured, first arm
    loop: LoopReport
    draw: Mapping[str, Any]
    protections: tuple[Any, ...] = ()
    parked: bool = False
    trace: tuple[TwinStep, ...] = field(default=())  # all but the last, whose outcome nobody saw
    kept: Kept | None = None  # what became of its recording; None: nobody records, or it is recorded later


class Cancelled(Exception):  # noqa: N818 - a request, not an error
    """The person asked to stop; the arm has parked."""


def run_episode(
    world: World,
    make_agent: Callable[[Twin], Agent],
    seed: int,
    *,
    observers: Sequence[Observer] = (),
    settle_steps: int = SETTLE_STEPS,
    park: bool = False,
    keep_trace: bool = False,
    cancelled: Callable[[], bool] = asked,
) -> EpisodeResult:
    """Run episode `seed` of `world`'s task; every command passes the guard.

    `make_agent(twin)` gives the agent. The episode ends `settle_steps` after the first success, or at the
    task's horizon. With `park`, the arm then drives to its rest pose before torque goes off, as on hardware.
    When `cancelled()` turns true, the arm parks and `Cancelled` is raised; so it does on Ctrl-C, which goes on.
    """
    robot, draw = world.start(seed)
    twin = robot.twin
    view = TwinView(twin)
    agent = make_agent(twin)
    arm = next(iter(world.rig.arms))
    limits: Counter[str] = Counter()
    tracking: list[np.ndarray] = []
    trace = _Trace()
    first_success = [0]
    stopped = [False]

    def watch(obs: Observation, applied: Applied) -> bool:
        limits.update(applied.limits)
        tracking.append(np.asarray(applied.sent_q[arm]) - obs.arms[arm].q)
        if keep_trace:
            objects = np.concatenate([view.pos(body) for body in world.task.bodies])
            trace.now = (objects, twin.data.qpos.copy())
        if cancelled():
            stopped[0] = True
            return True
        if not first_success[0] and bool(world.task.success(view)):
            first_success[0] = len(tracking)
        return bool(first_success[0]) and len(tracking) >= first_success[0] + settle_steps

    loop = ControlLoop(
        robot,
        agent,
        round(1e9 / world.rig.control_hz),
        (*observers, trace) if keep_trace else observers,
    )
    try:
        robot.open()
        report = loop.run(round(world.task.horizon_s * 1e9), seed, stop=watch)
        success = bool(world.task.success(view))
        sim_s = twin.clock.now() * 1e-9
        with deferred():
            if park or stopped[0]:
                robot.close()
            else:
                robot.release()
    except BaseException as error:
        robot.close()  # it is closed already when the signal waited for that
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt("the arm parked" if robot.ended_parked else "") from None
        raise
    if stopped[0]:
        raise Cancelled
    return EpisodeResult(
        seed=seed,
        success=success,
        steps=report.steps,
        sim_s=sim_s,
        limits=dict(limits),
        tracking_rad=np.array(tracking),
        loop=report,
        draw=draw,
        protections=tuple(robot.guard.protections()),
        parked=robot.ended_parked,
        trace=tuple(trace.steps),
    )
