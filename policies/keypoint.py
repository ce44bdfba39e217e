"""The small camera policy: convolutions, spatial-softmax keypoints, a chunk head.

Each camera's picture becomes a few dozen points (arXiv 1504.00702), which with the joint state feed a
perceptron that predicts the chunk. From a hundred demonstrations alone the points learn to follow the arm,
whose picture predicts the action well, and ignore the object. An auxiliary head therefore regresses the
objects' positions from the same points in training, and its estimate is an input of the action head. The
targets come from the simulation, as in the pose pretraining of 1504.00702, section 5.2; with recordings that
have none the policy trains without, and the training report says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .network import encoders, mlp
from .policy import Batch, Policy, PolicyConfig


@dataclass(frozen=True, slots=True)
class KeypointConfig:
    """Sizes of the camera policy and the weight of its auxiliary loss."""

    channels: tuple[int, ...] = (16, 32, 48, 48)  # the first two halve the picture
    keypoints: int = 32  # a camera
    logit_scale: float = 10.0  # initial factor on the logits of the spatial softmax
    hidden: tuple[int, ...] = (256, 256)
    aux_hidden: tuple[int, ...] = (128,)
    aux_weight: float = 1.0  # 0 = no auxiliary loss
    aux_as_input: bool = True  # the action head sees the auxiliary estimate
    points_to_head: bool = True  # the action head sees the keypoints themselves as well
    aux_noise: float = 0.0  # noise on the estimate while training, in its standard deviations


class Keypoint(Policy):
    """State (B, S) and pictures -> chunk (B, H, A)."""

    def __init__(self, config: PolicyConfig, settings: KeypointConfig) -> None:
        super().__init__(config)
        self.settings = settings
        self.encoders = encoders(config.cameras, settings.channels, settings.keypoints, settings.logit_scale)
        features = len(config.state_names) + 2 * settings.keypoints * len(config.cameras)
        self.uses_aux = bool(config.aux_names) and settings.aux_weight > 0
        inputs = features if settings.points_to_head else len(config.state_names)
        if self.uses_aux:
            self.aux_head = mlp((features, *settings.aux_hidden, len(config.aux_names)))
            inputs += len(config.aux_names) if settings.aux_as_input else 0
        self.head = mlp((inputs, *settings.hidden, config.chunk * len(config.action_names)))

    def forward(self, state: Tensor, images: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Normalised chunk (B, H, A) and normalised auxiliary estimate (B, K)."""
        points = [encoder(images[name]) for name, encoder in self.encoders.items()]
        encoded = self.normaliser.encode_state(state)
        features = torch.cat([encoded, *points], -1)
        inputs = features if self.settings.points_to_head else encoded
        aux = None
        if self.uses_aux:
            aux = self.aux_head(features).float()
            if self.settings.aux_as_input:
                # Detached: the estimate stays an estimate, it is no channel for the action loss.
                seen = aux.detach()
                if self.training and self.settings.aux_noise > 0:
                    seen = seen + self.settings.aux_noise * torch.randn_like(seen)
                inputs = torch.cat([inputs, seen], -1)
        z = self.head(inputs).float()
        return z.unflatten(-1, (self.config.chunk, -1)), aux

    def compute_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        shown = len(batch.action)  # what comes after is views: no action, only auxiliary targets
        z, aux = self(batch.state, batch.images)
        target = self.normaliser.encode_action(batch.action, batch.state[:shown])
        loss = F.smooth_l1_loss(z[:shown], target, beta=0.1)
        figures = {"action": loss.detach()}
        if aux is not None and batch.aux is not None:
            wanted = self.normaliser.encode_aux(batch.aux)
            loss = loss + self.settings.aux_weight * F.smooth_l1_loss(aux, wanted, beta=0.1)
            off = (aux.detach() - wanted)[:shown] * self.normaliser.aux_std
            figures["aux_m"] = off.abs().mean()
        return loss, figures

    def predict(self, state: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        return self.normaliser.decode_action(self(state, images)[0], state)
