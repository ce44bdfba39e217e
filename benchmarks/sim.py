"""Figures of the twin: environment steps over bare physics, real-time factor, expert success.

    python benchmarks/sim.py [--quick]

One JSON line a figure. Ratios are taken in one run, repeats interleaved, medians reported.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time

import mujoco
import numpy as np
from _figures import emit
from twinloop.launch.session import run_episode
from twinloop.robot.loop import ControlLoop
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.env import TwinEnv
from twinloop.sim.noise import NoisyAgent
from twinloop.sim.tasks import TASKS
from twinloop.sim.vector import TwinVectorEnv
from twinloop.sim.world import open_world

QUICK = "--quick" in sys.argv


def vector_ratio() -> None:
    """Physics steps a second of CPU time inside `env.step`, over bare `mj_step` of the same models and states.

    Bare physics hold their last command, so the arms soon rest, which is cheaper than moving; `same_motion` is
    the ratio to bare physics that start where the environment did and get its commands.
    """
    n = 64
    env = TwinVectorEnv(n, "pick_place")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = [rng.uniform(-0.3, 0.3, (n, 6)) for _ in range(10)]
    for action in actions:
        env.step(action)
    substeps = env._ticks * env._substeps
    ratios, moving = [], []
    for _ in range(3 if QUICK else 9):
        before = {sim: env._sims.get_data(sim) for sim in range(0, n, 4)}
        spent, commands = 0.0, []
        for action in actions:
            start = time.process_time()
            env.step(action)
            spent += time.process_time() - start
            commands.append(env._control[:, -1].copy())
        ours = n * substeps * len(actions) / spent
        bare_s = 0.0
        for sim, data in before.items():
            model = env._sims.get_model(sim)
            for command in commands:
                data.ctrl[:] = command[sim]
                start = time.process_time()
                mujoco.mj_step(model, data, substeps)
                bare_s += time.process_time() - start
        moving.append(ours / (len(before) * substeps * len(actions) / bare_s))
        bare_s, count = 0.0, 0
        for sim in range(0, n, 8):
            model, data = env._sims.get_model(sim), env._sims.get_data(sim)
            start = time.process_time()
            mujoco.mj_step(model, data, 400)
            bare_s, count = bare_s + time.process_time() - start, count + 400
        ratios.append(ours / (count / bare_s))
    ratio = statistics.median(ratios)
    emit(
        "vector env step over bare mj_step, one thread",
        round(ratio, 3),
        "ratio",
        at_least=0.8,
        envs=n,
        same_motion=round(statistics.median(moving), 3),
    )
    env.close()


class _Wave:
    """Asks for slow sine waves on every joint."""

    def reset(self, seed: int) -> None:
        pass

    def act(self, obs):
        t = obs.t_ns * 1e-9 + np.arange(3)[:, None] * 0.02
        q = np.array([0.0, -0.9, 0.6, 0.6, -1.5]) + 0.25 * np.sin(0.8 * t + np.arange(5))
        return ActionChunk(
            obs.t_ns, 20_000_000, {"arm": q}, {"gripper": np.full(3, 0.03)}, obs.t_ns + 100_000_000
        )


def long_episode() -> None:
    """A 60 s episode at 50 Hz with the full guard at 200 Hz, twice."""
    world = open_world(load_rig("so101"), "lift", cameras=(), randomize=())
    hashes, factors = [], []
    for _ in range(2):
        robot, _ = world.start(0)
        robot.open()
        sha = hashlib.sha256()

        class Log:
            def on_step(self, step, sha=sha):
                sent = step.applied.sent_q["arm"]
                sha.update(step.obs.arms["arm"].q.tobytes() + np.asarray(sent).tobytes())

        start = time.process_time()  # CPU time: other jobs on the machine do not count
        ControlLoop(robot, _Wave(), 20_000_000, [Log()]).run(60_000_000_000)
        factors.append(60.0 / (time.process_time() - start))
        hashes.append(sha.hexdigest())
        robot.release()
    emit("60 s episode, guard at 200 Hz", round(max(factors), 1), "x real time", at_least=25.0)
    emit("60 s episode, bit-identical twice", float(hashes[0] == hashes[1]), "", at_least=1.0)


def experts() -> None:
    seeds = 10 if QUICK else 100
    for task in sorted(TASKS):
        world = open_world(load_rig("so101"), task, cameras=())
        good = sum(
            run_episode(world, lambda twin, w=world: NoisyAgent(w.task.expert(twin), 0.03), seed).success
            for seed in range(seeds)
        )
        share = good / seeds
        emit(
            f"expert {task}, full randomisation, noise 0.03 rad",
            share,
            "success",
            at_least=0.95,
            seeds=seeds,
        )


def images() -> None:
    for size in ((84, 84), (640, 480)):
        env = TwinEnv("lift", cameras=("front",), size=size)
        env.reset(seed=0)
        count = 20 if QUICK else 100
        start = time.perf_counter()
        for _ in range(count):
            env.step(np.zeros(6))
        emit(
            f"image env at {size[0]}x{size[1]}, whole guard",
            round(count / (time.perf_counter() - start), 1),
            "steps/s",
        )
        env.close()


if __name__ == "__main__":
    vector_ratio()
    long_episode()
    images()
    experts()
