"""What a policy is: a network that turns a state and pictures into a chunk of actions.

A chunk is H rows of absolute joint goals (rad) and gripper widths (m), one row a control period of the data
it was trained on. Normalisation happens inside: SI units go in and come out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .normalise import Normaliser


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Everything needed to build a policy and to know where it fits; `config.json` of a checkpoint."""

    method: str  # "bc", "keypoint", "act"
    settings: Mapping[str, Any]  # fields of the method's own config dataclass
    state_names: tuple[str, ...]  # S components: joints rad, grippers m, then what only a simulation knows
    action_names: tuple[str, ...]  # A components, absolute goals: joints rad, grippers m
    relative: tuple[str, ...]  # actions the network predicts as an offset from the state of that name
    aux_names: tuple[str, ...]  # K components of the auxiliary target, m; () = none
    cameras: Mapping[str, tuple[int, int]]  # camera -> (height, width) px that the network sees
    recorded: Mapping[str, tuple[int, int]]  # camera -> (height, width) px of the frames it was trained from
    fps: float  # rows of a chunk per second
    chunk: int  # H, rows
    rig: str
    rig_hash: str
    training: Mapping[str, Any] = field(default_factory=dict)  # seed, data, task, steps, versions


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch, on the device: B rows of demonstrations, then V views (see `samples.Views`)."""

    state: Tensor  # (B + V, S) float32, rad, m
    action: Tensor  # (B, H, A) float32, absolute, rad, m
    images: Mapping[str, Tensor]  # camera -> (B + V, h, w, 3) uint8, or float32 in -1..1
    aux: Tensor | None  # (B + V, K) float32, m


class Policy(nn.Module, ABC):
    """Base of all methods. Subclasses build their network from `config` and fill the two methods."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.digest = ""  # first eight hex digits of the weights' SHA-256, once saved or loaded
        self.normaliser = Normaliser(
            config.state_names, config.action_names, config.aux_names, config.relative, config.chunk
        )

    @abstractmethod
    def compute_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss (scalar) and figures to report (scalars, detached)."""

    @abstractmethod
    def predict(self, state: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """(B, S) rad, m and camera -> (B, h, w, 3) uint8 to a chunk (B, H, A), absolute, rad, m."""

    @property
    def device(self) -> torch.device:
        return self.normaliser.state_mean.device

    @property
    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())
