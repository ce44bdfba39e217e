"""One episode of a world, run through loop and guard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..robot.interfaces import Agent, Observer
from ..robot.loop import ControlLoop, LoopReport
from ..robot.types import Applied, Observation
from ..sim.tasks import TwinView
from ..sim.twin import Twin, TwinRobot
from ..sim.world import World

SETTLE_STEPS = 6  # steps that are still recorded after success, so that a policy learns to stay


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


def run_episode(
    world: World,
    make_agent: Callable[[Twin], Agent],
    seed: int,
    *,
    on_start: Callable[[TwinRobot, Mapping[str, Any]], Sequence[Observer]] | None = None,
    settle_steps: int = SETTLE_STEPS,
    park: bool = False,
) -> EpisodeResult:
    """Run one episode of `world`'s task; every command passes the guard.

    `make_agent(twin)` gives the agent; `on_start(robot, draw)` may return observers (a recorder). The episode
    ends `settle_steps` after the first success, or at the task's horizon. With `park`, the arm then drives
    to its rest pose and torque goes off, as on hardware.
    """
    robot, draw = world.start(seed)
    twin = robot.twin
    view = TwinView(twin)
    agent = make_agent(twin)
    observers = list(on_start(robot, draw)) if on_start else []
    arm = next(iter(world.rig.arms))
    limits: Counter[str] = Counter()
    tracking: list[np.ndarray] = []
    done_at: list[int] = []

    def watch(obs: Observation, applied: Applied) -> bool:
        limits.update(applied.limits)
        tracking.append(np.asarray(applied.sent_q[arm]) - obs.arms[arm].q)
        if bool(world.task.success(view)):
            done_at.append(len(tracking))
        return bool(done_at) and len(tracking) >= done_at[0] + settle_steps

    period = round(1e9 / world.rig.control_hz)
    loop = ControlLoop(robot, agent, period, observers)
    try:
        robot.open()
        report = loop.run(round(world.task.horizon_s * 1e9), seed, stop=watch)
        success = bool(world.task.success(view))
    finally:
        if park:
            robot.close()
        else:
            robot.release()
    return EpisodeResult(
        seed=seed,
        success=success,
        steps=report.steps,
        sim_s=twin.clock.now() * 1e-9,
        limits=dict(limits),
        tracking_rad=np.array(tracking),
        loop=report,
        draw=draw,
    )
