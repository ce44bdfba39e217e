"""`twinloop eval`: success of a policy on unseen seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Command:
    """Run a policy on unseen seeds of the randomised twin, through the same loop and guard as a deployment.

    Example:
        twinloop eval out/lift-policy --episodes 100
        twinloop eval --expert --task stack       how good is the scripted expert?
    """

    policy: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of the policy."""
    expert: bool = False
    """Run the task's scripted expert instead of a policy."""
    noise: float = 0.0
    """Standard deviation of the noise on the expert's joint goals, rad, as `record` injects it."""
    rig: str = "so101"
    """Rig name or path of a rig file."""
    task: str | None = None
    """Task: reach, lift, pick_place, push, stack, or a plug-in's; by default the one the policy was trained on,
    pick_place for --expert."""
    episodes: int = 100
    """Seeds to run."""
    first_seed: int = 1_000_000
    """First seed; demonstrations use seeds from 0."""
    randomize: tuple[str, ...] | None = None
    """Groups to randomise: dynamics servo sensing camera scene; by default all of them."""
    workers: int | None = None
    """Processes that run episodes; by default one a core."""
    json: Path | None = None
    """Write the figures there, too."""
    allow_changed_rig: bool = False
    """Run the policy although its rig (limits, cameras, control rate) changed since it was trained."""

    def run(self) -> int:
        from ...data.disk import write_json
        from ...robot.errors import UsageError
        from ...robot.rig import load_rig
        from ..arguments import EPISODES, SEEDS, output_file, within
        from ..evaluate import evaluate
        from ..progress import counter, say
        from ..workers import AgentPlan, PolicyNeeds, WorldPlan, policy_needs, worker_count

        if (self.policy is None) != self.expert:
            raise UsageError("give either the folder of a policy or --expert")
        within("--episodes", self.episodes, EPISODES)
        within("--first-seed", self.first_seed, SEEDS)
        within("--noise", self.noise, (0, 1), "rad")
        if self.noise and not self.expert:
            raise UsageError("--noise: disturbs the expert; add --expert, or leave it out")
        worker_count(self.workers)
        if self.json is not None:
            output_file("--json", self.json)
        rig = load_rig(self.rig)
        needs = PolicyNeeds(task="pick_place") if self.policy is None else policy_needs(self.policy)
        task = needs.choose_task(self.task)
        plan = WorldPlan(rig, task, cameras=needs.cameras, size=needs.size, randomize=self.randomize)
        seeds = range(self.first_seed, self.first_seed + self.episodes)
        with counter("eval", self.episodes) as tick:
            found = evaluate(
                plan,
                AgentPlan(self.policy, self.noise, self.allow_changed_rig),
                seeds,
                workers=self.workers,
                on_episode=lambda result: tick(True, "" if result.success else f"seed {result.seed} failed"),
            )
        low, high = found.interval()
        say(
            f"{task}: success {sum(found.successes)}/{len(found.successes)} "
            f"({100 * low:.0f} to {100 * high:.0f} % at 95 % confidence), all arms parked: "
            f"{'yes' if found.parked == len(seeds) else 'NO'}"
        )
        acted = ", ".join(f"{name} in {n}" for name, n in sorted(found.limited_episodes.items()))
        say(f"guard, episodes in which a limit acted: {acted or 'none'}")
        if self.json is not None:
            failed = [s for s, ok in zip(found.seeds, found.successes, strict=True) if not ok]
            figures = {
                "task": task,
                "success": found.rate,
                "interval_95": (low, high),
                "failed_seeds": failed,
                "limits": found.limits,
                "loop": found.loop,
            }
            write_json(self.json, figures)
        return 0
