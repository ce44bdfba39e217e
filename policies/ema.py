"""Exponential moving average of the weights: what is validated, saved and run.

The average over the last few hundred steps takes out the noise of single updates, at the cost of one pass
over the weights a step (Polyak and Juditsky 1992; as in Chi et al., arXiv 2303.04137).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Averaged copies of `policy`'s parameters, in the order of `named_parameters`."""

    def __init__(self, policy: nn.Module, decay: float) -> None:
        self._policy = policy
        self._decay = decay
        self._weights: list[Tensor] = list(policy.parameters())
        self.values: list[Tensor] = [w.detach().clone() for w in self._weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update number `step`, from 1.

        The early averages forget faster, or they would hold the random start for long.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        for value, weight in zip(self.values, self._weights, strict=True):
            value.lerp_(weight, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the policy has the averaged weights and is in evaluation mode."""
        raw = [w.detach().clone() for w in self._weights]
        self._load(self.values)
        self._policy.eval()
        try:
            yield
        finally:
            self._load(raw)
            self._policy.train()

    @torch.no_grad()
    def _load(self, values: list[Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)
