"""Small building blocks: multilayer perceptron, picture encoder, spatial softmax.

The sizes are for two CPU cores; everything is built from a few strided convolutions because in training on
a CPU the first, large feature maps cost most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with SiLU between them: `sizes` = (in, hidden..., out)."""
    layers: list[nn.Module] = []
    for k, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers.append(nn.Linear(a, b))
        if k < len(sizes) - 2:
            layers.append(nn.SiLU())
    return nn.Sequential(*layers)


def to_float(image: Tensor) -> Tensor:
    """(B, h, w, 3) uint8, or float32 in -1..1 as augmentation leaves it, to (B, 3, h, w) in -1..1.

    Pictures lie in memory as (h, w, 3), so the permuted view is already in torch's channels_last order,
    which its CPU convolutions like best: no copy is made.
    """
    if image.dtype == torch.uint8:
        image = image.to(torch.float32).mul_(2 / 255).sub_(1.0)
    return image.permute(0, 3, 1, 2)


class SpatialSoftmax(nn.Module):
    """Each channel's map becomes a distribution over pixels, and that its expected position.

    Eq. 1 of Levine, Finn, Darrell, Abbeel, "End-to-end training of deep visuomotor policies",
    arXiv 1504.00702. The maps are a 1x1 convolution of the features, multiplied by a learned factor that
    starts at `scale`: at 1 the distributions begin almost flat and every keypoint sits in the middle of the
    picture for long. The factor goes into the convolution's weights, which are few, not onto the maps.
    """

    grid: Tensor  # (h * w, 2), x right and y down, -1..1

    def __init__(self, channels: int, keypoints: int, size: tuple[int, int], scale: float) -> None:
        super().__init__()
        height, width = size
        self.maps = nn.Conv2d(channels, keypoints, 1)
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("grid", torch.stack((x.flatten(), y.flatten()), 1), persistent=False)
        self.log_scale = nn.Parameter(torch.tensor(float(scale)).log())

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 2 K): x0, y0, x1, y1, ... in -1..1."""
        scale = self.log_scale.exp()
        assert self.maps.bias is not None
        logits = F.conv2d(features, self.maps.weight * scale, self.maps.bias * scale)
        return (logits.flatten(2).softmax(-1, dtype=torch.float32) @ self.grid).flatten(1)


class KeypointEncoder(nn.Module):
    """A picture to `keypoints` positions: strided convolutions, then a spatial softmax."""

    def __init__(self, size: tuple[int, int], channels: Sequence[int], keypoints: int, scale: float) -> None:
        super().__init__()
        c1, c2, *rest = channels
        layers: list[nn.Module] = [
            nn.Conv2d(3, c1, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(c1, c2, 3, 2, 1),
            nn.ReLU(),
        ]
        last = c2
        for c in rest:
            layers += [nn.Conv2d(last, c, 3, 1, 1), nn.ReLU()]
            last = c
        self.body = nn.Sequential(*layers)
        quarter = (-(-size[0] // 4), -(-size[1] // 4))
        self.softmax = SpatialSoftmax(last, keypoints, quarter, scale)
        self.outputs = 2 * keypoints
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> Tensor:
        """(B, h, w, 3) uint8 -> (B, 2 K) in -1..1."""
        return self.softmax(self.body(to_float(image)))


def encoders(
    cameras: Mapping[str, tuple[int, int]], channels: Sequence[int], keypoints: int, scale: float
) -> nn.ModuleDict:
    """One encoder a camera: a wrist and a front view share little worth sharing."""
    return nn.ModuleDict(
        {name: KeypointEncoder(size, channels, keypoints, scale) for name, size in cameras.items()}
    )
