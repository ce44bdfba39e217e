"""Sessions: a rig, a task and its twin wired together, and one episode run through loop and guard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..robot.interfaces import Agent, Observer
from ..robot.loop import ControlLoop, LoopReport
from ..robot.rig import Rig
from ..robot.types import Applied, Observation
from ..sim.camera import TwinCamera
from ..sim.randomize import Randomizer, standard
from ..sim.render import Renderer
from ..sim.scene import Scene, build_scene
from ..sim.tasks import Task, TwinView, load_task
from ..sim.twin import Twin, TwinRobot

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


@dataclass(slots=True)
class SimSession:
    """One compiled scene of `rig` with `task`, for many episodes."""

    rig: Rig
    task: Task
    scene: Scene
    randomizer: Randomizer | None
    renderer: Renderer | None
    cameras: tuple[str, ...] = ()
    twin: Twin | None = field(default=None)

    def start(self, seed: int) -> tuple[TwinRobot, Mapping[str, Any]]:
        """Draw episode `seed`, place its objects and return the robot, cameras open, at time 0."""
        draw: Mapping[str, Any] = {}
        if self.randomizer is not None:
            draw = self.randomizer.draw(seed)
            self.randomizer.apply(self.scene, draw)
        twin = self.twin = Twin(self.scene, draw)
        self.task.place(twin, draw)
        cameras = {}
        for name in self.cameras:
            assert self.renderer is not None
            cameras[name] = TwinCamera(name, twin, self.renderer, seed=seed)
        return TwinRobot(twin, cameras), draw

    def close(self) -> None:
        if self.renderer is not None:
            self.renderer.close()


def open_sim(
    rig: Rig,
    task: str | Task,
    *,
    cameras: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    randomize: Sequence[str] | None = None,
    profile: str = "fast",
) -> SimSession:
    """Build the twin of `rig` with `task`.

    `cameras`: which of the rig's cameras to emulate (None = all, () = none); `size` (width, height) px
    overrides their resolution; `randomize`: groups to randomise (None = all of them, () = only the task's
    placement); `profile`: "fast" or "faithful" rendering.
    """
    if size is not None:
        resized = {n: replace(c, width=size[0], height=size[1]) for n, c in rig.cameras.items()}
        rig = replace(rig, cameras=resized)
    made = load_task(task) if isinstance(task, str) else task
    scene = build_scene(rig, made.add_objects)
    groups = None if randomize is None else ("task", *randomize)
    randomizer = standard(rig, scene, made.params(scene), groups)
    names = tuple(rig.cameras) if cameras is None else tuple(cameras)
    renderer = Renderer(scene.model, profile=profile) if names else None
    return SimSession(rig, made, scene, randomizer, renderer, names)


def run_episode(
    session: SimSession,
    make_agent: Callable[[Twin], Agent],
    seed: int,
    *,
    on_start: Callable[[TwinRobot, Mapping[str, Any]], Sequence[Observer]] | None = None,
    settle_steps: int = SETTLE_STEPS,
    park: bool = False,
) -> EpisodeResult:
    """Run one episode of `session`'s task; every command passes the guard.

    `make_agent(twin)` gives the agent; `on_start(robot, draw)` may return observers (a recorder). The episode
    ends `settle_steps` after the first success, or at the task's horizon. With `park`, the arm then drives
    to its rest pose and torque goes off, as on hardware.
    """
    robot, draw = session.start(seed)
    twin = robot.twin
    view = TwinView(twin)
    agent = make_agent(twin)
    observers = list(on_start(robot, draw)) if on_start else []
    arm = next(iter(session.rig.arms))
    limits: Counter[str] = Counter()
    tracking: list[np.ndarray] = []
    done_at: list[int] = []

    def watch(obs: Observation, applied: Applied) -> bool:
        limits.update(applied.limits)
        tracking.append(np.asarray(applied.sent_q[arm]) - obs.arms[arm].q)
        if bool(session.task.success(view)):
            done_at.append(len(tracking))
        return bool(done_at) and len(tracking) >= done_at[0] + settle_steps

    period = round(1e9 / session.rig.control_hz)
    loop = ControlLoop(robot, agent, period, observers)
    try:
        robot.open()
        report = loop.run(round(session.task.horizon_s * 1e9), seed, stop=watch)
        success = bool(session.task.success(view))
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
