"""The main job: demonstrations in the twin, a policy trained on them, deployed through loop and guard, judged.

Every phase writes under `out` and can be taken up again: Ctrl-C keeps what is there, and running the demo
again with `resume` goes on from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data.disk import write_text
from ..data.reader import Dataset
from ..policies.samples import Samples
from ..policies.train import TrainConfig, TrainProgress, TrainResult, default_config, train
from ..robot.clock import Stopwatch
from ..robot.errors import UsageError
from ..robot.rig import Rig, load_rig
from .collect import OBJECTS, Collected, collect, resized
from .evaluate import EVAL_SEED, Evaluation, evaluate
from .retakes import retake
from .session import EpisodeResult
from .workers import AgentPlan, WorldPlan

STATE_STEPS = 3000
CAMERA_STEPS = 3000
KEYPOINT: dict[str, Any] = {"channels": (16, 32, 32, 32), "aux_noise": 0.05}
SEEDS = (0, 99)  # episodes of seed s count from 10,000 s; from 1,000,000 on they would be the unseen ones
PICTURE = (96, 72)  # px, width and height: 4:3 as the cameras are


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What the demo does; the defaults finish in under 10 minutes on two cores."""

    out: Path = Path("out/demo")
    rig: str = "so101"
    task: str = "pick_place"
    demos: int = 150
    evals: int = 100
    steps: int | None = None  # training steps; None = what suits the policy
    state: bool = False  # train on the true state instead of the cameras
    aux: bool = True  # auxiliary loss: regress the objects' positions from the keypoints
    retakes: int = 14_000  # steps shown again under other looks while training
    chunk: int = 20
    noise_rad: float = 0.03  # injected into the expert while demonstrating
    seed: int = 0
    workers: int | None = None
    emulated: bool = False  # deploy in real time, on emulated devices
    resume: bool = False


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Figures of all phases."""

    config: DemoConfig
    rig: Rig
    collected: Collected
    trained: TrainResult
    evaluation: Evaluation
    seconds: dict[str, float] = field(default_factory=dict)  # wall time of each phase


@dataclass(frozen=True, slots=True)
class DemoEvents:
    """Called as the demo goes on; for progress bars."""

    phase: Callable[[str, int], None] = lambda name, total: None
    demonstration: Callable[[EpisodeResult, bool], None] = lambda result, saved: None
    retaken: Callable[[int], None] = lambda count: None
    training: Callable[[TrainProgress], None] = lambda progress: None
    episode: Callable[[EpisodeResult], None] = lambda result: None


def world_plan(config: DemoConfig) -> WorldPlan:
    """The fully randomised twin of the demo; without cameras for the state policy."""
    rig = load_rig(config.rig)
    return WorldPlan(rig, config.task, cameras=() if config.state else None, size=PICTURE)


def train_config(config: DemoConfig) -> TrainConfig:
    """How the demo's policy is trained."""
    method = "bc" if config.state else "keypoint"
    made = replace(default_config(method), seed=config.seed, chunk=config.chunk)
    if config.state:
        made = replace(made, threads=1)  # a small MLP: a second thread costs more than it brings
    made = replace(made, steps=config.steps or (STATE_STEPS if config.state else CAMERA_STEPS))
    keypoint = replace(made.keypoint, **KEYPOINT, **({} if config.aux else {"aux_weight": 0.0}))
    made = replace(made, keypoint=keypoint)
    return made


def run_demo(config: DemoConfig, events: DemoEvents | None = None) -> DemoResult:
    """Collect, train and deploy. Raises `KeyboardInterrupt` after Ctrl-C, with everything so far on disk."""
    events = events or DemoEvents()
    plan = world_plan(config)
    out, seconds = config.out, {}
    if (out / "dataset").exists() and not config.resume:
        raise UsageError(
            f"{out}: holds a demo already; add --resume to go on with it, or choose another --out"
        )
    watch = Stopwatch()
    collected = _collect(config, plan, events)
    seconds["collect"] = watch.seconds
    watch.restart()
    trained = _train(config, events)
    seconds["train"] = watch.seconds
    watch.restart()
    events.phase("deploy", config.evals)
    evaluation = _deploy(config, plan, events)
    seconds["deploy"] = watch.seconds
    result = DemoResult(config, resized(plan), collected, trained, evaluation, seconds)
    write_text(out / "result.json", json.dumps(figures(result), indent=1, default=str))
    return result


def _collect(config: DemoConfig, plan: WorldPlan, events: DemoEvents) -> Collected:
    root = config.out / "dataset"
    have = Dataset(root).open().num_episodes if root.exists() else 0
    first_seed = config.seed * 10_000
    events.phase("collect", config.demos)
    if have < config.demos:
        collect(
            plan,
            root,
            config.demos - have,
            first_seed=first_seed,
            noise_rad=config.noise_rad,
            resume=root.exists(),
            workers=config.workers,
            on_episode=events.demonstration,
        )
    dataset = Dataset(root).open()  # all of it, what an earlier run collected included
    next_seed = int(dataset.spec.extra.get("next_seed", first_seed + dataset.num_episodes))
    return Collected(dataset.num_episodes, dataset.num_frames, next_seed - first_seed)


def _train(config: DemoConfig, events: DemoEvents) -> TrainResult:
    dataset = Dataset(config.out / "dataset").open()
    if config.state:
        samples = Samples.from_dataset(dataset, cameras=(), state=("observation.state", OBJECTS))
    else:
        samples = Samples.from_dataset(dataset, image_size=(PICTURE[1], PICTURE[0]))
        if config.retakes:
            events.phase("retake", config.retakes)
            again = retake(
                world_plan(config),
                dataset,
                config.retakes,
                seed=config.seed,
                workers=config.workers,
                on_block=events.retaken,
            )
            samples = replace(samples, retakes=again)
    made = train_config(config)
    events.phase("train", made.steps)
    result = train(samples, made, config.out / "policy", events.training, resume=config.resume)
    if not result.finished:
        raise KeyboardInterrupt
    return result


def _deploy(config: DemoConfig, plan: WorldPlan, events: DemoEvents) -> Evaluation:
    policy, seeds = config.out / "policy", range(EVAL_SEED, EVAL_SEED + config.evals)
    if config.emulated:
        from .live import evaluate_live  # a demo in the twin needs none of it

        return evaluate_live(
            plan.rig,
            policy,
            plan.task,
            seeds,
            cameras=tuple(plan.rig.cameras),
            size=plan.size,
            on_episode=events.episode,
        )
    return evaluate(plan, AgentPlan(policy), seeds, workers=config.workers, on_episode=events.episode)


def figures(result: DemoResult) -> dict[str, Any]:
    """The demo's figures as plain JSON."""
    evaluation = result.evaluation
    return {
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(result.config).items()},
        "rig": result.rig.name,
        "success": evaluation.rate,
        "interval_95": evaluation.interval(),
        "successes": sum(evaluation.successes),
        "episodes": len(evaluation.successes),
        "failed_seeds": [s for s, ok in zip(evaluation.seeds, evaluation.successes, strict=True) if not ok],
        "demonstrations": result.collected.episodes,
        "demonstrations_tried": result.collected.tried,
        "frames": result.collected.frames,
        "training": {
            "steps": result.trained.step,
            "wall_s": result.trained.wall_s,
            "steps_per_s": result.trained.steps_per_s,
            "validation": dict(result.trained.validation),
            "used": dict(result.trained.used),
        },
        "guard_ticks": evaluation.limits,
        "guard_episodes": evaluation.limited_episodes,
        "tracking_rms_deg": evaluation.tracking_rms_deg,
        "loop": evaluation.loop,
        "parked": evaluation.parked,
        "seconds": result.seconds,
    }
