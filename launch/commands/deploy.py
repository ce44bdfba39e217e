"""`twinloop deploy`: run a policy through loop and guard, and park."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Command:
    """Deploy a policy on the twin: one episode after another through loop and guard; the arm parks at the end
    of each, and on Ctrl-C.

    Example:
        twinloop deploy out/demo/policy --sim --episodes 3 --film out/film.mp4
    """

    policy: Annotated[Path, tyro.conf.Positional]
    """Folder of the policy."""
    sim: bool = False
    """Run on the twin. Hardware and emulated devices are not in this version."""
    rig: str = "so101"
    """Rig name or path of a rig file."""
    task: str | None = None
    """Task whose scene and success test are used; by default the one the policy was trained on."""
    episodes: int = 1
    """Episodes to run."""
    seed: int = 2_000_000
    """First seed."""
    record: Path | None = None
    """Record the episodes as a dataset in this folder."""
    film: Path | None = None
    """Write a film of the episodes (mp4)."""
    allow_changed_rig: bool = False
    """Run the policy although its rig (limits, cameras, control rate) changed since it was trained."""

    def run(self) -> int:
        from ...robot.errors import UsageError
        from ...robot.rig import load_rig
        from ..arguments import EPISODES, SEEDS, output_file, within
        from ..deploy import deploy
        from ..progress import say
        from ..video import film
        from ..workers import AgentPlan, WorldPlan, policy_needs

        if not self.sim:
            raise UsageError("this version deploys on the twin: add --sim")
        within("--episodes", self.episodes, EPISODES)
        within("--seed", self.seed, SEEDS)
        if self.film is not None:
            output_file("--film", self.film, ".mp4")
        needs = policy_needs(self.policy)
        task = needs.choose_task(self.task)
        plan = WorldPlan(load_rig(self.rig), task, cameras=needs.cameras, size=needs.size)
        if self.film is not None and not plan.rig.cameras:
            raise UsageError(f"--film: rig '{plan.rig.name}' has no camera to film with; give it one")
        agent = AgentPlan(self.policy, allow_changed_rig=self.allow_changed_rig)
        seeds = range(self.seed, self.seed + self.episodes)
        successes = 0
        for result in deploy(plan, agent, seeds, self.record):
            successes += result.success
            acted = ", ".join(f"{name} {ticks}" for name, ticks in sorted(result.limits.items()))
            say(
                f"seed {result.seed}: {'success' if result.success else 'FAILED'} after {result.steps} steps, "
                f"{'parked' if result.parked else 'NOT parked'}; guard ticks: {acted or 'none'}"
            )
        say(f"{task}: {successes} of {self.episodes} episodes succeeded")
        if self.film is not None:
            world = plan.open()
            try:
                camera = next(iter(plan.rig.cameras))
                say(f"film: {film(world, agent, seeds, camera, self.film).path}")
            finally:
                world.close()
        return 0
