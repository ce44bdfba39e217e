"""`twinloop record`: demonstrations into a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Command:
    """Record demonstrations of a task by its scripted expert in the randomised twin, as a LeRobotDataset v3.0.

    A killed or interrupted recording keeps every saved episode; --resume goes on behind the last one, with the
    seeds that were running when it was killed.

    Example:
        twinloop record out/lift --task lift --episodes 50
        twinloop record out/lift --task lift --episodes 50 --resume
    """

    root: Annotated[Path, tyro.conf.Positional]
    """Folder of the dataset."""
    rig: str = "so101"
    """Rig name or path of a rig file."""
    task: str = "pick_place"
    """Task: reach, lift, pick_place, push, stack, or a plug-in's."""
    episodes: int = 50
    """Successful episodes to record; with --resume, so many more."""
    size: tuple[int, int] | None = None
    """Picture width and height, px; by default as the rig's cameras."""
    no_cameras: bool = False
    """Record without pictures."""
    noise: float = 0.03
    """Standard deviation of the noise on the expert's joint goals, rad; the recorded label stays clean."""
    seed: int = 0
    """First episode seed."""
    workers: int | None = None
    """Processes that run episodes; by default one a core."""
    resume: bool = False
    """Append to the dataset."""

    def run(self) -> int:
        from ...robot.errors import UsageError
        from ...robot.rig import load_rig
        from ..arguments import EPISODES, SEEDS, picture, within
        from ..collect import collect
        from ..progress import counter, say
        from ..workers import WorldPlan, worker_count

        within("--episodes", self.episodes, EPISODES)
        within("--seed", self.seed, SEEDS)
        within("--noise", self.noise, (0, 1), "rad")
        if self.size is not None:
            picture("--size", self.size)
        worker_count(self.workers)
        if not self.resume and (self.root / "meta" / "info.json").exists():
            raise UsageError(f"{self.root}: a dataset is there; add --resume to go on, or name a new folder")
        cameras = () if self.no_cameras else None
        plan = WorldPlan(load_rig(self.rig), self.task, cameras=cameras, size=self.size)
        with counter("record", self.episodes) as tick:
            done = collect(
                plan,
                self.root,
                self.episodes,
                first_seed=self.seed,
                noise_rad=self.noise,
                resume=self.resume,
                workers=self.workers,
                on_episode=lambda result, saved: tick(saved, "" if saved else "failed, not kept"),
            )
        say(f"{self.root}: {done.episodes} episodes recorded ({done.tried} run), {done.frames} frames in all")
        return 0 if done.episodes >= self.episodes else 1
