"""Cheap picture augmentation on tensors: shift, brightness, contrast, colour, noise.

Meant to widen what a simulation's own randomisation gives, and to stand in for it with real recordings.
Everything is drawn from the generator it is handed, so a training step is a function of the seed and the
step alone. Shifts and pixel noise are shared by parts of a batch: drawing them per picture took as long as
the convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUPS = 8  # parts of a batch that are shifted together
NOISE_SHARED = 8  # pictures of a batch that get the same noise


@dataclass(frozen=True, slots=True)
class Augment:
    """Largest changes; 0 switches one off."""

    # Whole pictures, edges repeated. Off: where the camera stands still a pixel is a place, and pictures
    # moved by 2 px of 32 without their labels cost a third of the successes on a toy task.
    shift_px: int = 0
    brightness: float = 0.15  # added, of full scale
    contrast: float = 0.2  # factor 1 +- this about the picture's mean
    colour: float = 0.15  # factor 1 +- this on each channel
    noise: float = 0.02  # standard deviation of pixel noise, of full scale
    share: float = 0.8  # of the pictures whose light and noise are changed

    @property
    def active(self) -> bool:
        return any((self.shift_px, self.brightness, self.contrast, self.colour, self.noise))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, h, w, 3) uint8 -> (B, h, w, 3) float32 in -1..1, as `network.to_float` leaves them."""
        count, height, width, _ = images.shape
        device = images.device

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=device) * 2 - 1

        if self.shift_px:
            images = self._shifted(images, generator)
        x = images.to(torch.float32)
        chosen = (uniform(count, 1, 1, 1) < 2 * self.share - 1).float()
        gain = 1 + chosen * self.contrast * uniform(count, 1, 1, 1)
        tint = 1 + chosen * self.colour * uniform(count, 1, 1, 3)
        offset = x.mean((1, 2, 3), keepdim=True) / 255 * (1 - gain)
        offset = (offset + chosen * self.brightness * uniform(count, 1, 1, 1)) * tint
        x = torch.addcmul(2 * offset - 1, x, gain * tint * (2 / 255))
        if self.noise:
            # A fresh normal number for every pixel would cost more than the rest together.
            size = (-(-count // NOISE_SHARED), height, width, 3)
            noise = torch.randn(size, generator=generator, device=device) * (2 * self.noise)
            for k in range(0, count, len(noise)):
                part = x[k : k + len(noise)]
                part.addcmul_(noise[: len(part)], chosen[k : k + len(noise)])
        return x.clamp_(-1, 1)

    def _shifted(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Each of `GROUPS` parts of the batch moved by whole pixels, edges repeated."""
        height, width = images.shape[1:3]
        span, device = self.shift_px, images.device
        parts = images.chunk(GROUPS)
        moves = torch.randint(-span, span + 1, (len(parts), 2, 1), generator=generator, device=device)
        rows = (torch.arange(height, device=device) + moves[:, 0]).clamp_(0, height - 1)
        columns = (torch.arange(width, device=device) + moves[:, 1]).clamp_(0, width - 1)
        return torch.cat(
            [part.index_select(1, rows[k]).index_select(2, columns[k]) for k, part in enumerate(parts)]
        )
