"""A policy: a linear map from the state to a chunk, the simplest thing that trains, saves and runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from twinloop.policies.methods import Method
from twinloop.policies.policy import Batch, Policy, PolicyConfig


@dataclass(frozen=True, slots=True)
class LinearConfig:
    """Settings of the linear policy."""

    bias: bool = True


class Linear(Policy):
    """State (B, S) -> chunk (B, H, A), linearly."""

    def __init__(self, config: PolicyConfig, settings: LinearConfig) -> None:
        super().__init__(config)
        self.map = nn.Linear(len(config.state_names), config.chunk * len(config.action_names), settings.bias)

    def compute_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        target = self.normaliser.encode_action(batch.action, batch.state)
        loss = F.mse_loss(self._chunk(batch.state), target)
        return loss, {"action": loss.detach()}

    def predict(self, state: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        return self.normaliser.decode_action(self._chunk(state), state)

    def _chunk(self, state: Tensor) -> Tensor:
        return self.map(self.normaliser.encode_state(state)).float().unflatten(-1, (self.config.chunk, -1))


METHOD = Method(Linear, LinearConfig)
