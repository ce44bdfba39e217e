"""Many episodes of the twin on several cores, in seed order.

Each worker is a spawned process with its own world (and renderer). A worker never decides anything: it
runs the seeds it is given through the same loop and guard as one process would, so the results do not
depend on how many workers there are.
"""

from __future__ import annotations

import multiprocessing as mp
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from ..robot.errors import TwinloopError, UsageError
from ..robot.interfaces import Agent
from ..robot.rig import Rig
from ..sim.noise import NoisyAgent
from ..sim.twin import Twin
from ..sim.world import World, open_world
from .pool import worker_pool
from .session import Cancelled, EpisodeResult, run_episode

AHEAD = 2  # episodes handed out per worker before the first is taken


@dataclass(frozen=True, slots=True)
class WorldPlan:
    """Arguments of `open_world`, to be sent to a worker."""

    rig: Rig
    task: str
    cameras: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    randomize: tuple[str, ...] | None = None
    profile: str = "fast"

    def open(self) -> World:
        return open_world(
            self.rig,
            self.task,
            cameras=self.cameras,
            size=self.size,
            randomize=self.randomize,
            profile=self.profile,
        )


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """Which agent runs the episodes: the task's expert with injected noise, or a checkpoint."""

    checkpoint: Path | None = None  # None = the task's expert
    noise_rad: float = 0.0  # standard deviation of the noise on the expert's joint goals
    allow_changed_rig: bool = False  # run a checkpoint although its rig changed since

    def build(self, world: World) -> Callable[[Twin], Agent]:
        """A factory of agents for the episodes of `world`; a checkpoint is loaded once."""
        if self.checkpoint is None:
            sigma, dt = self.noise_rad, 1.0 / world.rig.control_hz
            return lambda twin: NoisyAgent(world.task.expert(twin), sigma, dt_s=dt)
        from .policy_agent import policy_agents

        return policy_agents(self.checkpoint, world, allow_changed_rig=self.allow_changed_rig)


_world: World | None = None
_agents: Callable[[Twin], Agent] | None = None
_cancel: Event | None = None
_mistake: TwinloopError | None = None


def _begin(plan: WorldPlan, agent: AgentPlan, cancel: Event) -> None:
    global _world, _agents, _cancel, _mistake  # noqa: PLW0603 - one world a worker process
    _cancel = cancel
    try:
        _world = plan.open()
        _agents = agent.build(_world)
    except TwinloopError as error:  # the pool itself would only tell that it is broken
        _mistake = error


def _episode(job: tuple[int, bool, bool]) -> EpisodeResult | None:
    seed, keep_trace, park = job
    if _mistake is not None:
        raise _mistake
    assert _world is not None and _agents is not None and _cancel is not None
    try:
        return run_episode(_world, _agents, seed, keep_trace=keep_trace, park=park, cancelled=_cancel.is_set)
    except Cancelled:
        return None


def run_episodes(
    plan: WorldPlan,
    agent: AgentPlan,
    seeds: Iterable[int],
    *,
    workers: int | None = None,
    keep_trace: bool = False,
    park: bool = False,
) -> Generator[EpisodeResult, None, None]:
    """Yield the episodes of `seeds` in order, run by `workers` processes (None = one a core).

    On Ctrl-C the running episodes stop and their arms park before `KeyboardInterrupt` goes on.
    """
    count = worker_count(workers)
    if count == 1:
        world = plan.open()
        try:
            agents = agent.build(world)
            for seed in seeds:
                yield run_episode(world, agents, seed, keep_trace=keep_trace, park=park)
        finally:
            world.close()
        return
    cancel = mp.get_context("spawn").Event()
    running: deque[Future[EpisodeResult | None]] = deque()
    left = iter(seeds)
    with worker_pool(count, _begin, plan, agent, cancel) as pool:
        try:
            while True:
                while len(running) < AHEAD * count and (seed := next(left, None)) is not None:
                    running.append(pool.submit(_episode, (seed, keep_trace, park)))
                if not running:
                    break
                result = running.popleft().result()
                if result is None:
                    raise KeyboardInterrupt
                yield result
        finally:
            cancel.set()  # a no-op unless somebody stopped early: then running arms park


def worker_count(asked: int | None) -> int:
    """How many processes run: `asked`, or one a core; `UsageError` for what this machine cannot carry."""
    cores = len(os.sched_getaffinity(0))
    most = 4 * max(cores, 2)
    if asked is not None and not 1 <= asked <= most:
        raise UsageError(
            f"--workers {asked}: must be within 1..{most} on {cores} cores; leave it out for one a core"
        )
    return asked or cores


@dataclass(frozen=True, slots=True)
class PolicyNeeds:
    """What a checkpoint wants of the world that it runs in."""

    cameras: tuple[str, ...] = ()
    size: tuple[int, int] | None = None  # width, height px of the pictures that it was trained from
    task: str = ""  # the task of its demonstrations, "" = unknown

    def choose_task(self, asked: str | None) -> str:
        """The task to run: `asked`, or the one that the policy was trained on."""
        if asked is None and not self.task:
            raise UsageError("the checkpoint does not say which task it was trained on; give --task")
        return asked or self.task


def policy_needs(policy: Path) -> PolicyNeeds:
    """Read them from a checkpoint."""
    from ..policies.checkpoint import read_config

    config = read_config(policy)
    sizes = {(width, height) for height, width in config.recorded.values()}
    task = config.training.get("task")
    return PolicyNeeds(
        tuple(config.cameras), sizes.pop() if len(sizes) == 1 else None, task if isinstance(task, str) else ""
    )
