"""ACT: action chunking with a transformer and a conditional variational autoencoder.

Zhao, Kumar, Levine, Finn, "Learning fine-grained bimanual manipulation with low-cost hardware",
arXiv 2304.13705, section IV and appendix C. In training an encoder squeezes the demonstrated chunk into a
latent "style" z, so that the decoder need not average over the ways in which people do the same thing; at
run time z = 0. Loss: L1 on the chunk + `kl_weight` times the KL divergence from the unit Gaussian.

Where this file differs from the paper: an own small ResNet with group normalisation, trained from scratch
(no downloaded weights), layers that normalise first, position embeddings added once at the input, and, where
the data has the objects' positions, the auxiliary loss of `keypoint.py` on the picture tokens. The default
sizes are for a GPU at 96 px; dim 512, feed_forward 3200, 4 + 7 layers and 224 px make the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import to_float
from .policy import Batch, Policy, PolicyConfig


@dataclass(frozen=True, slots=True)
class ACTConfig:
    """Sizes and loss weights."""

    dim: int = 128
    heads: int = 4
    feed_forward: int = 512
    encoder_layers: int = 3
    decoder_layers: int = 2
    latent_layers: int = 2
    latent: int = 32
    stages: tuple[int, ...] = (32, 64, 128)  # channels of the ResNet's stages; each halves the picture
    blocks: int = 1  # residual blocks a stage
    dropout: float = 0.1
    kl_weight: float = 10.0
    aux_weight: float = 1.0  # 0 = no auxiliary loss


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip connection (He et al., arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        groups = math.gcd(8, outputs)
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.GroupNorm(groups, outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.GroupNorm(groups, outputs),
        )
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


def resnet(stages: Sequence[int], blocks: int, dim: int) -> nn.Sequential:
    """Picture (B, 3, h, w) -> features (B, dim, h / 2^(1 + stages), w / 2^(1 + stages))."""
    layers: list[nn.Module] = [nn.Conv2d(3, stages[0], 5, 2, 2), nn.ReLU()]
    last = stages[0]
    for channels in stages:
        layers.append(Residual(last, channels, 2))
        layers += [Residual(channels, channels, 1) for _ in range(blocks - 1)]
        last = channels
    layers.append(nn.Conv2d(last, dim, 1))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """(n,) positions -> (n, dim) sines and cosines (Vaswani et al., arXiv 1706.03762, section 3.5)."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    angles = positions[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def plane(height: int, width: int, dim: int) -> Tensor:
    """(h * w, dim): half the channels say the row, half the column."""
    rows = sinusoids(torch.arange(height).float(), dim // 2).repeat_interleave(width, 0)
    columns = sinusoids(torch.arange(width).float(), dim // 2).repeat(height, 1)
    return torch.cat([rows, columns], 1)


class ACT(Policy):
    """State (B, S) and pictures -> chunk (B, H, A)."""

    positions: Tensor  # (tokens, dim) of the pictures

    def __init__(self, config: PolicyConfig, settings: ACTConfig) -> None:
        super().__init__(config)
        self.settings = settings
        dim, states, actions = settings.dim, len(config.state_names), len(config.action_names)
        self.uses_aux = bool(config.aux_names) and settings.aux_weight > 0

        def encoder(layers: int) -> nn.TransformerEncoder:
            layer = nn.TransformerEncoderLayer(
                dim,
                settings.heads,
                settings.feed_forward,
                settings.dropout,
                batch_first=True,
                norm_first=True,
            )
            return nn.TransformerEncoder(layer, layers, nn.LayerNorm(dim), enable_nested_tensor=False)

        self.latent_class = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.latent_state = nn.Linear(states, dim)
        self.latent_action = nn.Linear(actions, dim)
        self.latent_encoder = encoder(settings.latent_layers)
        self.latent_out = nn.Linear(dim, 2 * settings.latent)
        self.latent_in = nn.Linear(settings.latent, dim)

        self.backbones = nn.ModuleDict(
            {name: resnet(settings.stages, settings.blocks, dim) for name in config.cameras}
        )
        self.state_in = nn.Linear(states, dim)
        self.kinds = nn.Parameter(torch.randn(2 + len(config.cameras), dim) * 0.02)  # latent, state, cameras
        self.encoder = encoder(settings.encoder_layers)
        layer = nn.TransformerDecoderLayer(
            dim, settings.heads, settings.feed_forward, settings.dropout, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, settings.decoder_layers, nn.LayerNorm(dim))
        self.queries = nn.Parameter(torch.randn(1, config.chunk, dim) * 0.02)
        self.head = nn.Linear(dim, actions)
        if self.uses_aux:
            self.aux_head = nn.Linear(dim, len(config.aux_names))
        self.register_buffer("rows", sinusoids(torch.arange(config.chunk + 2).float(), dim), persistent=False)

    rows: Tensor  # (H + 2, dim) positions of class, state and the chunk's rows

    def latent(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, latent) from normalised state (B, S) and chunk (B, H, A)."""
        tokens = [
            self.latent_class.expand(len(state), -1, -1),
            self.latent_state(state)[:, None],
            self.latent_action(action),
        ]
        out = self.latent_encoder(torch.cat(tokens, 1) + self.rows)
        mean, log_variance = self.latent_out(out[:, 0]).float().chunk(2, -1)
        return mean, log_variance

    def decode(self, state: Tensor, images: Mapping[str, Tensor], z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised chunk (B, H, A) and auxiliary estimate (B, K) from a normalised state and latent."""
        tokens = [self.latent_in(z)[:, None] + self.kinds[0], self.state_in(state)[:, None] + self.kinds[1]]
        for k, (name, backbone) in enumerate(self.backbones.items()):
            features = backbone(to_float(images[name]))
            place = plane(features.shape[-2], features.shape[-1], self.settings.dim).to(features.device)
            tokens.append(features.flatten(2).transpose(1, 2) + place + self.kinds[2 + k])
        memory = self.encoder(torch.cat(tokens, 1))
        out = self.decoder(self.queries.expand(len(state), -1, -1), memory)
        aux = self.aux_head(memory[:, 2:].mean(1)).float() if self.uses_aux else None
        return self.head(out).float(), aux

    def compute_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        shown = len(batch.action)  # what comes after is views: no action, only auxiliary targets
        state = self.normaliser.encode_state(batch.state)
        target = self.normaliser.encode_action(batch.action, batch.state[:shown])
        mean, log_variance = self.latent(state[:shown], target)
        z = mean
        if self.training:
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        else:
            z = torch.zeros_like(mean)  # validation measures what will run
        z = F.pad(z, (0, 0, 0, len(state) - shown))
        chunk, aux = self.decode(state, batch.images, z)
        action = F.l1_loss(chunk[:shown], target)
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(-1).mean()
        loss = action + self.settings.kl_weight * kl
        figures = {"action": action.detach(), "kl": kl.detach()}
        if aux is not None and batch.aux is not None:
            wanted = self.normaliser.encode_aux(batch.aux)
            loss = loss + self.settings.aux_weight * F.smooth_l1_loss(aux, wanted, beta=0.1)
            off = (aux.detach() - wanted)[:shown] * self.normaliser.aux_std
            figures["aux_m"] = off.abs().mean()
        return loss if self.training else action, figures

    def predict(self, state: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        z = state.new_zeros(len(state), self.settings.latent)
        chunk, _ = self.decode(self.normaliser.encode_state(state), images, z)
        return self.normaliser.decode_action(chunk, state)
