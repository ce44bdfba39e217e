"""Many episodes of the twin on several cores, in seed order.

Each worker is a spawned process with its own world (and renderer). A worker never decides anything: it
runs the seeds it is given through the same loop and guard as one process would, so the results do not
depend on how many workers there are.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult
from multiprocessing.synchronize import Event
from pathlib import Path

from ..robot.errors import TwinloopError
from ..robot.interfaces import Agent
from ..robot.rig import Rig
from ..sim.noise import NoisyAgent
from ..sim.twin import Twin
from ..sim.world import World, open_world
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

    def build(self, world: World) -> Callable[[Twin], Agent]:
        """A factory of agents for the episodes of `world`; a checkpoint is loaded once."""
        if self.checkpoint is None:
            sigma, dt = self.noise_rad, 1.0 / world.rig.control_hz
            return lambda twin: NoisyAgent(world.task.expert(twin), sigma, dt_s=dt)
        from .policy_agent import policy_agents

        return policy_agents(self.checkpoint, world)


_world: World | None = None
_agents: Callable[[Twin], Agent] | None = None
_cancel: Event | None = None
_mistake: TwinloopError | None = None


def _begin(plan: WorldPlan, agent: AgentPlan, cancel: Event) -> None:
    global _world, _agents, _cancel, _mistake  # noqa: PLW0603 - one world a worker process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and asks through `cancel`
    _cancel = cancel
    try:
        _world = plan.open()
        _agents = agent.build(_world)
    except TwinloopError as error:  # a pool would start a failing worker again and again
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
    count = workers or len(os.sched_getaffinity(0))
    if count == 1:
        world = plan.open()
        try:
            agents = agent.build(world)
            for seed in seeds:
                yield run_episode(world, agents, seed, keep_trace=keep_trace, park=park)
        finally:
            world.close()
        return
    context = mp.get_context("spawn")
    cancel = context.Event()
    # llvmpipe and torch would each start a thread a core in every worker, and fight over the cores.
    threads = {name: os.environ.get(name) for name in ("LP_NUM_THREADS", "OMP_NUM_THREADS")}
    os.environ.update(dict.fromkeys(threads, "1"))
    pool = context.Pool(count, _begin, (plan, agent, cancel))
    for name, value in threads.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    running: deque[AsyncResult[EpisodeResult | None]] = deque()
    left = iter(seeds)
    try:
        while True:
            while len(running) < AHEAD * count and (seed := next(left, None)) is not None:
                running.append(pool.apply_async(_episode, ((seed, keep_trace, park),)))
            if not running:
                break
            result = running.popleft().get()
            if result is None:
                raise KeyboardInterrupt
            yield result
    finally:
        cancel.set()  # a no-op unless somebody stopped early: then running arms park
        pool.close()
        pool.join()


def policy_needs(policy: Path | None) -> tuple[tuple[str, ...], tuple[int, int] | None]:
    """Cameras that a checkpoint wants, and the picture size (width, height) px it was trained from."""
    if policy is None:
        return (), None
    from ..policies.checkpoint import read_config

    config = read_config(policy)
    sizes = {(width, height) for height, width in config.recorded.values()}
    return tuple(config.cameras), sizes.pop() if len(sizes) == 1 else None
