"""The demo at the terminal: progress bars, the film, the report, and the last lines that matter."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from ..robot.errors import TwinloopError
from .demo import DemoConfig, DemoEvents, run_demo, world_plan
from .demo_report import write_report
from .evaluate import EVAL_SEED
from .progress import counter, say, training_bar
from .video import film as make_film
from .workers import AgentPlan

FILMED = 3  # episodes in the film


class _Bars:
    """Opens the bar of each phase and closes the one before."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._tick: Any = None

    def phase(self, name: str, total: int) -> None:
        self._stack.close()
        bar = training_bar(total) if name == "train" else counter(name, total)
        self._tick = self._stack.enter_context(bar)

    def tick(self, *args: Any) -> None:
        self._tick(*args)

    def advance(self, count: int) -> None:
        for _ in range(count):
            self._tick(True, "")

    def close(self) -> None:
        self._stack.close()


def run_with_progress(config: DemoConfig, film: bool = True) -> int:
    """Run the demo; returns 0 when every phase finished, whatever the success rate."""
    bars = _Bars()
    events = DemoEvents(
        phase=bars.phase,
        demonstration=lambda r, saved: bars.tick(saved, "" if saved else f"seed {r.seed} failed, not kept"),
        retaken=bars.advance,
        training=bars.tick,
        episode=lambda r: bars.tick(True, "" if r.success else f"seed {r.seed} failed"),
    )
    try:
        result = run_demo(config, events)
    finally:
        bars.close()
    video = None
    if film:
        world = world_plan(config).open()
        try:
            camera = next(iter(world.rig.cameras), None)
            if camera is not None:
                say("film: rendering")
                video = make_film(
                    world,
                    AgentPlan(config.out / "policy"),
                    range(EVAL_SEED, EVAL_SEED + min(FILMED, config.evals)),
                    camera,
                    config.out / "film.mp4",
                )
        except TwinloopError as error:
            say(f"film: {error}")
        finally:
            world.close()
    page = write_report(result, video)
    evaluation = result.evaluation
    low, high = evaluation.interval()
    total = sum(result.seconds.values())
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    say(
        f"success {sum(evaluation.successes)}/{len(evaluation.successes)} on unseen seeds "
        f"({100 * low:.0f} to {100 * high:.0f} % at 95 % confidence) in {total / 60:.1f} min ({phases})"
    )
    say(f"report: {page}")
    if video is not None:
        say(f"film:   {video.path}")
    return 0
