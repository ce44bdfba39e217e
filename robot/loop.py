"""The control loop: observe, act, apply, on absolute deadlines.

One loop serves teleoperation, deployment, data collection and practice: what differs is the Agent. In the
twin, sleeping is stepping physics, so the same loop runs faster than real time and twice the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .clock import perf_ns
from .interfaces import Agent, Disturbed, Observer, Robot
from .types import ActionChunk, Applied, Observation, Step

STALL_PERIODS = 3  # later than this: no catch-up, the schedule starts anew


@dataclass(frozen=True, slots=True)
class LoopReport:
    """How the loop kept its time. Lateness is against the robot's clock, compute on the wall clock."""

    steps: int
    period_ns: int
    stalls: int  # times the schedule had to start anew
    lateness_ns: np.ndarray  # (steps,) int64, wake-up minus deadline on the robot's clock
    compute_ns: np.ndarray  # (steps,) int64, wall time of observe + act + apply + observers

    @property
    def overruns(self) -> int:
        """Steps whose work took longer than the period."""
        return int((self.compute_ns > self.period_ns).sum())

    def summary(self) -> dict[str, float]:
        """Milliseconds: lateness and compute, median, 99th percentile and maximum."""
        out: dict[str, float] = {"steps": self.steps, "stalls": self.stalls, "overruns": self.overruns}
        for name, values in (("lateness", self.lateness_ns), ("compute", self.compute_ns)):
            if values.size:
                out[f"{name}_p50_ms"] = float(np.percentile(values, 50)) / 1e6
                out[f"{name}_p99_ms"] = float(np.percentile(values, 99)) / 1e6
                out[f"{name}_max_ms"] = float(values.max()) / 1e6
        return out


@dataclass(slots=True)
class ControlLoop:
    """Runs `agent` on `robot` every `period_ns`; observers see the steps and never steer."""

    robot: Robot
    agent: Agent
    period_ns: int
    observers: Sequence[Observer] = field(default_factory=tuple)

    def run(
        self,
        duration_ns: int,
        seed: int = 0,
        stop: Callable[[Observation, Applied], bool] | None = None,
    ) -> LoopReport:
        """Run until `duration_ns` has passed or `stop(observation, applied)` is true, where `applied` is what
        the guard did up to this observation.

        On every way out that is not a normal end (an error, Ctrl-C) the robot holds first; parking and
        releasing is `robot.close()`, which the caller owes on every path.
        """
        clock, period = self.robot.clock, self.period_ns
        lateness: list[int] = []
        compute: list[int] = []
        stalls = 0
        before: tuple[Observation, ActionChunk] | None = None  # the step whose outcome is still to come
        try:
            self.agent.reset(seed)
            deadline = clock.now()
            end = deadline + duration_ns
            while deadline < end:
                began = perf_ns()
                obs = self.robot.observe()
                chunk = self.agent.act(obs)
                applied = self.robot.apply(chunk)
                if before is not None:
                    step = Step(*before, applied)
                    for observer in self.observers:
                        observer.on_step(step)
                intended = self.agent.intended if isinstance(self.agent, Disturbed) else None
                before = (obs, chunk if intended is None else intended)
                compute.append(perf_ns() - began)
                if stop is not None and stop(obs, applied):
                    break
                deadline += period
                clock.sleep_until(deadline)
                late = clock.now() - deadline
                lateness.append(late)
                if late > STALL_PERIODS * period:
                    stalls += 1
                    deadline = clock.now()
        except BaseException:
            self.robot.hold()
            raise
        return LoopReport(
            steps=len(compute),
            period_ns=period,
            stalls=stalls,
            lateness_ns=np.array(lateness, dtype=np.int64),
            compute_ns=np.array(compute, dtype=np.int64),
        )
