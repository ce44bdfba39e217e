"""Deploy a policy: episodes one after another, parked at the end of each, recorded if asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from ..data.writer import DatasetWriter
from ..robot.clock import wall_time
from ..sim.tasks import load_task
from .collect import dataset_spec, make_recorder, record, resized
from .session import EpisodeResult, TwinStep
from .stopping import deferred
from .workers import AgentPlan, WorldPlan, run_episodes


def deploy(
    plan: WorldPlan, agent: AgentPlan, seeds: Sequence[int], record_to: Path | None = None
) -> Iterator[EpisodeResult]:
    """Yield the episodes of `seeds`; with `record_to`, failures are recorded too, marked as such."""
    runs = run_episodes(plan, agent, seeds, workers=1, keep_trace=record_to is not None, park=True)
    if record_to is None:
        yield from runs
        return
    task, rig = load_task(plan.task), resized(plan)
    cameras = tuple(rig.cameras) if plan.cameras is None else plan.cameras
    shown: list[TwinStep] = []
    spec = dataset_spec(rig, task, cameras)
    writer = DatasetWriter(record_to, spec, resume=record_to.exists(), wait=True)
    recorder = make_recorder(writer, rig, cameras, shown)
    with writer, closing(runs):
        for result in runs:
            with deferred():
                record(recorder, task.text, result, shown, wall_time())
            yield result
