"""Noise injected into an expert's actions, so that demonstrations show how to recover.

The robot does the noisy action; the label that a policy learns from stays the clean one (DART, Laskey et al.,
CoRL 2017, arXiv 1703.09327). The noise is an Ornstein-Uhlenbeck process: correlated in time, it pushes the
arm off its path instead of averaging out within a servo's time constant.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..robot.interfaces import Agent
from ..robot.types import F64, ActionChunk, Observation


class NoisyAgent:
    """Wraps an agent; `intended` is the clean chunk of the last step.

    An agent may carry a number `disturb` (0..1): the share of the noise that it can bear in this phase, as
    when it sets one cube on another. DART scales its noise with the demonstrator's own error likewise.
    """

    def __init__(self, agent: Agent, sigma_rad: float, tau_s: float = 0.25, dt_s: float = 1 / 30) -> None:
        self._agent = agent
        self._sigma = sigma_rad
        self._decay = float(np.exp(-dt_s / tau_s))
        self._state: dict[str, F64] = {}
        self._rng = np.random.default_rng(0)
        self.intended: ActionChunk | None = None

    def reset(self, seed: int) -> None:
        self._agent.reset(seed)
        self._rng = np.random.default_rng([seed, 0xDA27])
        self._state = {}

    def act(self, obs: Observation) -> ActionChunk:
        chunk = self._agent.act(obs)
        self.intended = chunk
        kick = self._sigma * float(np.sqrt(1 - self._decay**2))
        noisy, share = {}, float(getattr(self._agent, "disturb", 1.0))
        for arm, q in chunk.q.items():
            n = q.shape[1]
            state = self._state.get(arm)
            state = np.zeros(n) if state is None else state
            state = self._decay * state + kick * self._rng.normal(size=n)
            self._state[arm] = state
            noisy[arm] = q + share * state
        return dataclasses.replace(chunk, q=noisy)
