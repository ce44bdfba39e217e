"""Behaviour cloning of action chunks from the state: a multilayer perceptron.

Predicting a chunk instead of one action (Zhao et al., arXiv 2304.13705, section IV-A) keeps pauses and
switches of phase in the demonstrations from freezing the policy: with one-step chunks the same network on
the same data hardly ever succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from .network import mlp
from .policy import Batch, Policy, PolicyConfig


@dataclass(frozen=True, slots=True)
class BCConfig:
    """Sizes of the state policy."""

    hidden: tuple[int, ...] = (256, 256, 256)


class BC(Policy):
    """State (B, S) -> chunk (B, H, A)."""

    def __init__(self, config: PolicyConfig, settings: BCConfig) -> None:
        super().__init__(config)
        outputs = config.chunk * len(config.action_names)
        self.net = mlp((len(config.state_names), *settings.hidden, outputs))

    def forward(self, state: Tensor) -> Tensor:
        """(B, S) rad, m -> normalised chunk (B, H, A)."""
        z = self.net(self.normaliser.encode_state(state))
        return z.float().unflatten(-1, (self.config.chunk, -1))

    def compute_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        target = self.normaliser.encode_action(batch.action, batch.state)
        loss = F.smooth_l1_loss(self(batch.state), target, beta=0.1)
        return loss, {"action": loss.detach()}

    def predict(self, state: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        return self.normaliser.decode_action(self(state), state)
