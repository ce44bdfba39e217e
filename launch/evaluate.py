"""A policy on unseen seeds, through the same loop and guard as a deployment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .session import EpisodeResult
from .workers import AgentPlan, WorldPlan, run_episodes

EVAL_SEED = 1_000_000  # unseen: demonstrations use seeds from 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Success over a set of seeds, and how the stack behaved."""

    seeds: tuple[int, ...]
    successes: tuple[bool, ...]
    durations_s: tuple[float, ...]  # simulated time of each episode
    limits: dict[str, int]  # guard ticks in which each limit acted
    limited_episodes: dict[str, int]  # episodes in which each limit acted
    tracking_rms_deg: tuple[float, ...]  # per joint, sent minus measured
    loop: dict[str, float]  # merged timing summary, ms
    compute_ms: np.ndarray  # every step's work, wall clock
    protections: tuple[Any, ...]
    parked: int  # episodes that ended with the arm parked

    @property
    def rate(self) -> float:
        return sum(self.successes) / max(1, len(self.successes))

    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval of the success rate (E. B. Wilson, JASA 1927)."""
        n, p, z = max(1, len(self.successes)), self.rate, 1.96
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def evaluate(
    plan: WorldPlan,
    agent: AgentPlan,
    seeds: Sequence[int],
    *,
    workers: int | None = None,
    park: bool = True,
    on_episode: Callable[[EpisodeResult], None] = lambda result: None,
) -> Evaluation:
    """Run `agent` on `seeds`."""
    results: list[EpisodeResult] = []
    for result in run_episodes(plan, agent, seeds, workers=workers, park=park):
        results.append(result)
        on_episode(result)
    return summarise(results)


def summarise(results: Sequence[EpisodeResult]) -> Evaluation:
    """Merge the results of episodes."""
    limits: Counter[str] = Counter()
    limited: Counter[str] = Counter()
    for result in results:
        limits.update(result.limits)
        limited.update(name for name, ticks in result.limits.items() if ticks)
    errors = np.concatenate([r.tracking_rad for r in results]) if results else np.zeros((1, 1))
    lateness = np.concatenate([r.loop.lateness_ns for r in results]) / 1e6 if results else np.zeros(1)
    compute = np.concatenate([r.loop.compute_ns for r in results]) / 1e6 if results else np.zeros(1)
    loop = {
        "steps": float(sum(r.steps for r in results)),
        "stalls": float(sum(r.loop.stalls for r in results)),
        "overruns": float(sum(r.loop.overruns for r in results)),
        "lateness_p99_ms": float(np.percentile(lateness, 99)) if lateness.size else 0.0,
        "lateness_max_ms": float(lateness.max()) if lateness.size else 0.0,
        "compute_p50_ms": float(np.percentile(compute, 50)),
        "compute_p99_ms": float(np.percentile(compute, 99)),
        "compute_max_ms": float(compute.max()),
    }
    return Evaluation(
        seeds=tuple(r.seed for r in results),
        successes=tuple(r.success for r in results),
        durations_s=tuple(r.sim_s for r in results),
        limits=dict(limits),
        limited_episodes=dict(limited),
        tracking_rms_deg=tuple(float(v) for v in np.rad2deg(np.sqrt((errors**2).mean(axis=0)))),
        loop=loop,
        compute_ms=compute,
        protections=results[0].protections if results else (),
        parked=sum(r.parked for r in results),
    )
