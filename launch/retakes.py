"""Recorded steps rendered again in worlds that look different: other cameras, light, colours, clutter.

A demonstration holds one draw of the randomisation, so a hundred of them hold a hundred looks. What the arm
did does not depend on the looks: from the recorded configuration (`sim.qpos`) and the episode's own draw, the
twin shows any step again under a new draw of the camera and scene groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.reader import Dataset
from ..policies.samples import Retakes
from ..robot.types import U8
from ..sim.optics import CameraEffects, Optics
from ..sim.twin import Twin
from ..sim.world import World
from .collect import QPOS
from .pool import worker_pool
from .workers import WorldPlan, worker_count

BLOCK = 100  # retakes a job
FREE = ("task.cube_colour",)  # of the task's own parameters, what may look different too


@dataclass(frozen=True, slots=True)
class _Job:
    """Steps to take again, with the task's part of their episodes' draws."""

    rows: np.ndarray
    qpos: np.ndarray  # (k, nq) at the exposure
    draws: tuple[Mapping[str, Any], ...]
    seed: int


def retake(
    plan: WorldPlan,
    dataset: Dataset,
    count: int,
    *,
    seed: int = 0,
    workers: int | None = None,
    on_block: Callable[[int], None] = lambda done: None,
) -> Retakes:
    """`count` retakes of rows of `dataset`, drawn without favour by `seed`; the same for any `workers`."""
    rng = np.random.default_rng([seed, 0x2E7A])
    rows = np.sort(rng.integers(dataset.num_frames, size=count))
    episode = np.asarray(dataset.column("episode_index"))
    qpos = np.asarray(dataset.column(QPOS), dtype=np.float64)
    # A picture is older than the state it comes with, by about a frame.
    seen = np.where(
        np.append(True, episode[1:] != episode[:-1]), np.arange(len(episode)), np.arange(len(episode)) - 1
    )
    draws = [dataset.episode(k).info["draw"] for k in range(dataset.num_episodes)]
    kept = [{k: v for k, v in d.items() if k.startswith("task.") and k not in FREE} for d in draws]
    jobs = [
        _Job(part, qpos[seen[part]], tuple(kept[episode[r]] for r in part), seed * 1_000_003 + k)
        for k, part in enumerate(np.array_split(rows, max(1, count // BLOCK)))
    ]
    processes = worker_count(workers)
    done: list[dict[str, U8]] = []
    if processes == 1:
        world = plan.open()
        try:
            for job in jobs:
                done.append(_take(world, job))
                on_block(len(job.rows))
        finally:
            world.close()
    else:
        with worker_pool(processes, _begin, plan) as pool:
            for job, pictures in zip(jobs, pool.map(_run, jobs), strict=True):
                done.append(pictures)
                on_block(len(job.rows))
    return Retakes(rows, {name: np.concatenate([d[name] for d in done]) for name in done[0]})


_world: World | None = None


def _begin(plan: WorldPlan) -> None:
    global _world  # noqa: PLW0603 - one world a worker process
    _world = plan.open()


def _run(job: _Job) -> dict[str, U8]:
    assert _world is not None
    return _take(_world, job)


def _take(world: World, job: _Job) -> dict[str, U8]:
    """Pictures of the job's steps, camera -> (k, h, w, 3)."""
    assert world.renderer is not None
    shots: dict[str, list[U8]] = {name: [] for name in world.cameras}
    for k, (qpos, fixed) in enumerate(zip(job.qpos, job.draws, strict=True)):
        seed = job.seed * 1_009 + k
        draw = world.randomizer.draw(seed, fixed=fixed)
        world.randomizer.apply(world.scene, draw)
        twin = Twin(world.scene, draw)
        world.task.place(twin, draw)
        mocap = (twin.data.mocap_pos.copy(), twin.data.mocap_quat.copy())
        for name in world.cameras:
            config = world.rig.cameras[name]
            camera = world.scene.cameras[name]
            optics = Optics(
                CameraEffects.from_draw(draw, name, config, seed),
                config.width,
                config.height,
                float(world.scene.model.cam_fovy[camera]),
            )
            rgb = np.empty((config.height, config.width, 3), dtype=np.uint8)
            world.renderer.render_state(qpos, camera, rgb, zoom=optics.zoom, mocap=mocap)
            optics.meter(rgb)
            shots[name].append(optics.develop(rgb, seed))
    return {name: np.stack(pictures) for name, pictures in shots.items()}
