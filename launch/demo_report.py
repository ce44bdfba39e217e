"""The demo's report: success, tracking error, what the guard did, how the loop kept time, what was seen."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from ..data.reader import Dataset
from ..sim.randomize import standard
from .charts import Chart, Series, histogram
from .demo import DemoResult, figures, world_plan
from .report import Figure, Picture, Report
from .video import Film

TARGET = 0.95  # success of the camera policy
STATE_TARGET = 0.97
TARGET_S = 600.0
STAGES = 6  # pictures of one episode
SHOWN = 4  # episodes shown
FILM_STILLS = 6
ZOOM = 1.6  # of what the cameras saw


def write_report(result: DemoResult, film: Film | None) -> Path:
    """Write `report.html` into the demo's folder."""
    config, evaluation = result.config, result.evaluation
    total = sum(result.seconds.values())
    kind = "state" if config.state else "camera"
    report = Report(
        f"Twinloop demo: {config.task} with a {kind} policy",
        f"rig {result.rig.name}, {config.demos} demonstrations, {len(evaluation.seeds)} unseen seeds, "
        f"full randomisation, seed {config.seed}"
        + (", deployed in real time on emulated devices" if config.emulated else ""),
    )
    low, high = evaluation.interval()
    target = STATE_TARGET if config.state else TARGET
    count = len(evaluation.successes)
    report.figures(
        [
            Figure(
                "success on unseen seeds",
                f"{sum(evaluation.successes)}/{count}",
                f"95 % interval {100 * low:.0f}..{100 * high:.0f} %; target {100 * target:.0f} %",
                evaluation.rate >= target if count >= 50 else None,
            ),
            Figure("what was left of the job", f"{total / 60:.1f} min", "resumed")
            if config.resume
            else Figure(
                "whole job", f"{total / 60:.1f} min", "target 10 min on two cores", total <= TARGET_S
            ),
            Figure(
                "per episode" if config.emulated else "simulated per episode",
                f"{np.mean(evaluation.durations_s):.1f} s",
                "to the end of the task",
            ),
            Figure(
                "arms parked", f"{evaluation.parked}/{count}", "before torque off", evaluation.parked == count
            ),
        ]
    )
    if film is not None:
        report.heading("The policy at work")
        report.images([Picture(rgb, caption) for caption, rgb in film.stills(FILM_STILLS)])
        report.link("Film of these episodes, unseen in training", film.path.name)
    _pictures(report, result)
    _guard(report, result)
    _tracking(report, result)
    _timing(report, result)
    _training(report, result)
    _failures(report, result)
    _randomisation(report, result)
    report.details("All figures as JSON", json.dumps(figures(result), indent=1, default=str))
    return report.write(config.out / "report.html")


def _pictures(report: Report, result: DemoResult) -> None:
    cameras = tuple(result.rig.cameras) if not result.config.state else ()
    if not cameras:
        return
    report.heading("What the cameras saw")
    report.text("Demonstrations as they were recorded, each in its own drawn world; time runs to the right.")
    dataset = Dataset(result.config.out / "dataset").open()
    for episode in np.linspace(0, dataset.num_episodes - 1, min(SHOWN, dataset.num_episodes)).astype(int):
        length = dataset.lengths[int(episode)]
        for camera in cameras:
            report.images(
                [
                    Picture(
                        dataset.frame(int(episode), camera, int(k)),
                        f"{camera}, {k / dataset.spec.fps:.1f} s",
                        ZOOM,
                    )
                    for k in np.linspace(0, length - 1, STAGES).astype(int)
                ]
            )


def _guard(report: Report, result: DemoResult) -> None:
    evaluation = result.evaluation
    report.heading("What the guard did")
    report.text(
        "Every command passed the guard at its own rate. A limit that acted changed what was sent; nothing "
        "else did. jerk and acceleration act whenever a goal is asked for faster than the arm may follow; table and "
        "self_collision where the motion slid along what was in its way. docs/safety.md has all of them."
    )
    ticks = max(1.0, evaluation.loop["steps"] * result.rig.guard.rate_hz / result.rig.control_hz)
    rows = [
        (name, n, round(100 * n / ticks, 2), evaluation.limited_episodes.get(name, 0))
        for name, n in sorted(evaluation.limits.items(), key=lambda item: -item[1])
    ]
    report.table("limits that acted", ("limit", "guard ticks", "% of all ticks", "episodes"), rows)
    report.table(
        "protections on this robot",
        ("protection", "active", "detail"),
        [(p.name, "yes" if p.active else "no", p.detail) for p in evaluation.protections],
    )


def _tracking(report: Report, result: DemoResult) -> None:
    report.heading("Tracking error")
    joints = result.rig.joint_spec(next(iter(result.rig.arms))).names
    report.text(
        "Goal sent minus angle measured, root mean square over all steps: servo lag and sag, as on the real arm."
    )
    rms = result.evaluation.tracking_rms_deg
    report.chart(
        Chart(
            "tracking error of the arm's joints",
            "joint",
            "degrees RMS",
            [Series("", list(range(len(rms))), rms)],
            kind="bar",
            categories=joints,
        )
    )


def _timing(report: Report, result: DemoResult) -> None:
    loop, evaluation = result.evaluation.loop, result.evaluation
    report.heading("Loop timing")
    hz = f"{result.rig.control_hz:g} Hz"
    if result.config.emulated:
        report.text(
            f"The loop ran in real time at {hz} beside the guard's process (200 times a second on the arm's own wire "
            "protocol), the emulated servos and a process for each camera."
        )
    else:
        report.text(
            f"The loop runs on the twin's clock at {hz}; lateness there is the physics step. What a step costs on "
            "this machine (observe with rendering, policy, guard, recorder) tells whether the same loop would keep "
            "real time."
        )
    report.table(
        "milliseconds",
        ("", "median", "99 %", "worst"),
        [
            (
                "work per step, wall clock",
                loop["compute_p50_ms"],
                loop["compute_p99_ms"],
                loop["compute_max_ms"],
            ),
            (
                f"lateness, {'real' if result.config.emulated else 'twin'} clock",
                "-",
                loop["lateness_p99_ms"],
                loop["lateness_max_ms"],
            ),
        ],
    )
    report.text(
        f"{int(loop['steps'])} steps, {int(loop['overruns'])} longer than a period, {int(loop['stalls'])} stalls."
    )
    values = np.asarray(evaluation.compute_ms)
    most = float(np.percentile(values, 99.5))
    rest = f"work per step; {int((values > most).sum())} steps of more than {most:.1f} ms are not drawn"
    report.chart(Chart(rest, "ms", "steps", [histogram(values[values <= most].tolist(), 40, 0.0)]))


def _training(report: Report, result: DemoResult) -> None:
    trained = result.trained
    report.heading("Training")
    used: dict[str, Any] = dict(trained.used)
    aux = "with" if used.get("aux_loss") else "without"
    report.text(
        f"{used.get('method')} policy, {used.get('parameters'):,} parameters, chunks of {used.get('chunk')} rows, "
        f"{aux} the auxiliary loss that regresses the objects' positions, demonstrations "
        f"{'with' if result.config.noise_rad else 'without'} injected noise, {used.get('retakes', 0)} steps shown "
        f"again under other looks (those of the {used.get('validation_episodes')} validation episodes are left out); "
        f"{trained.step} training steps in "
        f"{trained.wall_s:.0f} s ({trained.step / max(trained.wall_s, 1e-9):.1f} a second) on {used.get('device')}."
    )
    curves = [
        Series("training", [s for s, _ in trained.losses], [v for _, v in trained.losses]),
        Series("validation", [s for s, _ in trained.validations], [v for _, v in trained.validations]),
    ]
    report.chart(Chart("loss", "step", "loss", curves))
    report.table(
        "wall time", ("phase", "seconds"), [(name, round(v, 1)) for name, v in result.seconds.items()]
    )
    report.details("What was used", json.dumps(used, indent=1, default=str))


def _failures(report: Report, result: DemoResult) -> None:
    evaluation = result.evaluation
    failed = [s for s, ok in zip(evaluation.seeds, evaluation.successes, strict=True) if not ok]
    report.heading("Failures")
    if not failed:
        report.text("None.")
        return
    report.text(
        f"{'Seeds' if len(failed) > 1 else 'Seed'} {', '.join(map(str, failed))}. "
        "The same episode again, with a film:"
    )
    out = result.config.out
    report.command(
        f"twinloop deploy {shlex.quote(f'{out}/policy')} --sim --rig {shlex.quote(result.config.rig)} "
        f"--seed {failed[0]} --film {shlex.quote(f'{out}/failure.mp4')}"
    )


def _randomisation(report: Report, result: DemoResult) -> None:
    report.heading("What was randomised")
    world = world_plan(result.config).open()
    try:
        made = standard(world.rig, world.scene, world.task.params(world.scene))
        lines = made.explain(world.randomizer.draw(result.evaluation.seeds[0]))
    finally:
        world.close()
    report.text(f"{len(lines)} parameters, drawn anew for every episode and stored with it.")
    report.details("One episode's draw", "\n".join(lines))
