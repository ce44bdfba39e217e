"""`twinloop demo`: the whole job in one command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """Run the whole job: demonstrations in the randomised twin, a policy trained on them, the policy deployed
    through the same loop and guard on unseen seeds, and a report with pictures and a film.

    Example:
        twinloop demo
        twinloop demo --state            the smoke test, in about a minute, from the true state
        twinloop demo --quick            reduced in size, every stage real
        twinloop demo --resume           go on after Ctrl-C
        twinloop demo --emulated         deployed in real time, through the arm's own wire protocol
    """

    out: Path = Path("out/demo")
    """Folder for the dataset, the policy, the report and the film."""
    rig: str = "so101"
    """Rig name or path of a rig file."""
    task: str = "pick_place"
    """Task: reach, lift, pick_place, push, stack, or a plug-in's."""
    demos: int = 150
    """Demonstrations to collect."""
    evals: int | None = None
    """Unseen seeds to deploy on; 100 by default, 10 with --emulated."""
    emulated: bool = False
    """Deploy on emulated devices: the arm's own driver and protocol, cameras of their own, in real time."""
    steps: int | None = None
    """Training steps; by default what suits the policy."""
    state: bool = False
    """Train on the true state of the twin instead of the cameras."""
    no_aux: bool = False
    """Leave out the auxiliary loss (ablation)."""
    no_retakes: bool = False
    """Train without showing the steps again under other looks (ablation)."""
    no_noise: bool = False
    """Demonstrate without injected noise (ablation)."""
    chunk: int = 20
    """Rows of an action chunk; 1 = no chunking (ablation)."""
    seed: int = 0
    """Seed of collection and training."""
    workers: int | None = None
    """Processes that run episodes; by default one a core."""
    quick: bool = False
    """Twenty demonstrations, few training steps, ten seeds: checks that everything works, not how well."""
    resume: bool = False
    """Go on with what stands in --out."""
    no_film: bool = False
    """Leave out the film."""

    def run(self) -> int:
        from ...robot.errors import UsageError
        from ...sim.tasks import load_task
        from ..arguments import EPISODES, output_folder, within
        from ..demo import SEEDS, DemoConfig, train_config
        from ..demo_session import run_with_progress
        from ..workers import worker_count

        within("--demos", self.demos, EPISODES)
        chosen = self.evals if self.evals is not None else 10 if self.emulated else 100
        within("--evals", chosen, EPISODES)
        if self.emulated and self.state:
            raise UsageError("--emulated --state: no device measures the true state; leave one of them out")
        within("--seed", self.seed, SEEDS)
        worker_count(self.workers)
        load_task(self.task)
        demos, evals, steps = self.demos, chosen, self.steps
        if self.quick:
            demos, evals = min(demos, 20), min(evals, 10)
            steps = steps or (600 if self.state else 150)
        config = DemoConfig(
            out=self.out,
            rig=self.rig,
            task=self.task,
            demos=demos,
            evals=evals,
            steps=steps,
            state=self.state,
            aux=not self.no_aux,
            chunk=self.chunk,
            retakes=0 if self.no_retakes else 500 if self.quick else DemoConfig().retakes,
            noise_rad=0.0 if self.no_noise else DemoConfig().noise_rad,
            seed=self.seed,
            workers=self.workers,
            resume=self.resume,
            emulated=self.emulated,
        )
        train_config(config).check()
        output_folder("--out", self.out)
        return run_with_progress(config, film=not self.no_film)
