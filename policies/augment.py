"""Cheap picture augmentation on tensors: shift, brightness, contrast, colour, noise.

Meant to widen what a simulation's own randomisation gives, and to stand in for it with real recordings.
Every figure is drawn per picture from the generator it is handed, so a training step is a function of the
seed and the step alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Augment:
    """Largest changes; 0 switches one off."""

    shift_px: int = 2  # whole pictures, edges repeated
    brightness: float = 0.15  # added, of full scale
    contrast: float = 0.2  # factor 1 +- this about the picture's mean
    colour: float = 0.15  # factor 1 +- this on each channel
    noise: float = 0.02  # standard deviation of pixel noise, of full scale
    share: float = 0.8  # of the pictures that are changed at all

    @property
    def active(self) -> bool:
        return self.share > 0 and any(
            (self.shift_px, self.brightness, self.contrast, self.colour, self.noise)
        )

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, h, w, 3) uint8 -> (B, h, w, 3) float32 in 0..1."""
        count, height, width, _ = images.shape
        device = images.device

        def uniform(*shape: int) -> Tensor:
            return torch.rand((count, *shape), generator=generator, device=device) * 2 - 1

        chosen = (uniform(1, 1, 1) < 2 * self.share - 1).float()
        if self.shift_px:
            moves = chosen.view(-1, 1) * uniform(2) * (self.shift_px + 0.5)
            moves = moves.round().long().clamp(-self.shift_px, self.shift_px)
            rows = (torch.arange(height, device=device) + moves[:, :1]).clamp(0, height - 1)
            columns = (torch.arange(width, device=device) + moves[:, 1:]).clamp(0, width - 1)
            index = torch.arange(count, device=device)[:, None, None]
            images = images[index, rows[:, :, None], columns[:, None, :]]
        x = images.float().mul_(1 / 255)
        gain = 1 + chosen * self.contrast * uniform(1, 1, 1)
        mean = x.mean((1, 2, 3), keepdim=True)
        offset = mean * (1 - gain) + chosen * self.brightness * uniform(1, 1, 1)
        tint = 1 + chosen * self.colour * uniform(1, 1, 3)
        x = x.mul_(gain * tint).add_(offset * tint)
        if self.noise:
            x.add_(torch.randn(x.shape, generator=generator, device=device).mul_(self.noise * chosen))
        return x.clamp_(0, 1)
