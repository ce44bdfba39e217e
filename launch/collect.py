"""Demonstrations: the task's expert, disturbed, in the randomised twin; into a dataset."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.recorder import Recorder, recorder_spec
from ..data.spec import DatasetSpec
from ..data.writer import DatasetWriter
from ..robot.clock import wall_time
from ..robot.errors import UsageError
from ..robot.rig import Rig
from ..sim.scene import build_scene
from ..sim.tasks import Task, load_task
from .session import EpisodeResult, TwinStep
from .stopping import deferred
from .workers import AgentPlan, WorldPlan, run_episodes

OBJECTS = "sim.objects"  # m, true positions of the task's bodies in W
HOPELESS = 20  # episodes without a success after which a collection gives up
QPOS = "sim.qpos"  # the twin's configuration: rad, m, quaternions


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection came to."""

    episodes: int
    frames: int
    tried: int  # episodes run, failures of the expert included


def dataset_spec(rig: Rig, task: Task, cameras: tuple[str, ...]) -> DatasetSpec:
    """The dataset of demonstrations of `task` on the twin of `rig`."""
    nq = build_scene(rig, task.add_objects).model.nq
    return recorder_spec(
        fps=round(rig.control_hz),
        robot_type=rig.name,
        arms={name: rig.joint_spec(name) for name in rig.arms},
        grippers=tuple(rig.grippers),
        cameras={name: (rig.cameras[name].height, rig.cameras[name].width) for name in cameras},
        vectors={
            OBJECTS: tuple(f"{body}.{axis}" for body in task.bodies for axis in "xyz"),
            QPOS: tuple(f"qpos.{k}" for k in range(nq)),
        },
        extra={"rig": rig.name, "rig_hash": rig.hash(), "backend": "sim", "task": task.name},
    )


def collect(
    plan: WorldPlan,
    root: Path,
    episodes: int,
    *,
    first_seed: int = 0,
    noise_rad: float = 0.03,
    resume: bool = False,
    workers: int | None = None,
    on_episode: Callable[[EpisodeResult, bool], None] = lambda result, saved: None,
) -> Collected:
    """Record `episodes` successful demonstrations under `root`; failed ones are run again elsewhere.

    Episode seeds count up from `first_seed`, so a collection is the same however many workers ran it. With
    `resume`, `episodes` more are added, from seeds after the last one that was run. Ctrl-C keeps every saved episode.
    """
    task = load_task(plan.task)
    rig = resized(plan)
    cameras = tuple(rig.cameras) if plan.cameras is None else plan.cameras
    writer = DatasetWriter(root, dataset_spec(rig, task, cameras), resume=resume, wait=True)
    shown: list[TwinStep] = []
    recorder = make_recorder(writer, rig, cameras, shown)
    tried = saved = 0
    with writer:
        start = max(first_seed, int(writer.spec.extra.get("next_seed", 0)))
        runs = run_episodes(
            plan,
            AgentPlan(noise_rad=noise_rad),
            itertools.count(start),
            workers=workers,
            keep_trace=True,
        )
        with closing(runs):
            for result in runs:
                tried += 1
                with deferred():
                    writer.update_extra(next_seed=result.seed + 1)
                    if result.success:
                        record(recorder, task.text, result, shown, wall=wall_time())
                        saved += 1
                on_episode(result, result.success)
                if saved == episodes:
                    break
                if tried >= HOPELESS and not saved:
                    raise UsageError(
                        f"task '{plan.task}': none of the first {tried} episodes of the expert succeeded; "
                        f"nothing to record"
                    )
        return Collected(saved, writer.num_frames, tried)


def make_recorder(
    writer: DatasetWriter, rig: Rig, cameras: tuple[str, ...], shown: list[TwinStep]
) -> Recorder:
    """A recorder that takes what only the twin knows from the last step of `shown`."""
    return Recorder(
        writer,
        vectors={OBJECTS: lambda step: shown[-1].objects, QPOS: lambda step: shown[-1].qpos},
        camera_fps={name: rig.cameras[name].fps for name in cameras},
    )


def resized(plan: WorldPlan) -> Rig:
    """The plan's rig with the plan's picture size."""
    if plan.size is None:
        return plan.rig
    width, height = plan.size
    cameras = {n: replace(c, width=width, height=height) for n, c in plan.rig.cameras.items()}
    return replace(plan.rig, cameras=cameras)


def record(recorder: Recorder, text: str, result: EpisodeResult, shown: list[TwinStep], wall: str) -> None:
    """Write the trace of an episode as a dataset's episode."""
    recorder.start(
        text,
        {
            "seed": result.seed,
            "draw": dict(result.draw),
            "protections": [str(p) for p in result.protections],
            "wall_time": wall,
        },
    )
    for traced in result.trace:
        shown[:] = [traced]
        recorder.on_step(traced.step)
    recorder.save(success=result.success)
