"""Per-feature statistics that live inside the policy, and are saved with its weights.

Actions of the joints named in `relative` are predicted as an offset from the measured joint angle: the
network then cannot drift away from where the arm is, and one set of weights serves the whole workspace.
Every row of the chunk has its own statistics, since offsets grow with the time ahead and the near rows,
which the arm executes first, would else hardly count.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# No feature is scaled up by more than 1 / FLOOR: a joint that stood still in the demonstrations would
# else have its encoder noise (0.0015 rad a count on a 12-bit servo) blown up to unit size.
FLOOR = 2e-3  # rad, m
STATE_CLAMP = 5.0  # standard deviations; what lies further out than any demonstration is cut here


class Normaliser(nn.Module):
    """Zero mean, unit variance for states, action chunks and auxiliary targets."""

    state_mean: Tensor  # (S,)
    state_std: Tensor  # (S,)
    action_mean: Tensor  # (H, A), of the relative form
    action_std: Tensor  # (H, A)
    aux_mean: Tensor  # (K,)
    aux_std: Tensor  # (K,)
    base: Tensor  # (S, A), 1 where an action is relative to a state; not saved: it follows from the names

    def __init__(
        self,
        state_names: Sequence[str],
        action_names: Sequence[str],
        aux_names: Sequence[str],
        relative: Sequence[str],
        chunk: int,
    ) -> None:
        super().__init__()
        base = torch.zeros(len(state_names), len(action_names))
        for name in relative:
            base[list(state_names).index(name), list(action_names).index(name)] = 1.0
        shapes = {
            "state": (len(state_names),),
            "action": (chunk, len(action_names)),
            "aux": (len(aux_names),),
        }
        for kind, shape in shapes.items():
            self.register_buffer(f"{kind}_mean", torch.zeros(shape))
            self.register_buffer(f"{kind}_std", torch.ones(shape))
        self.register_buffer("base", base, persistent=False)

    def fit(self, state: Tensor, action: Tensor, aux: Tensor | None) -> None:
        """Take the statistics of (N, S) states, (N, H, A) absolute actions and (N, K) targets."""
        offset = action - (state @ self.base)[:, None]
        pairs = [("state", state), ("action", offset)] + ([("aux", aux)] if aux is not None else [])
        for kind, values in pairs:
            getattr(self, f"{kind}_mean").copy_(values.mean(0))
            getattr(self, f"{kind}_std").copy_(values.std(0, correction=0).clamp_min(FLOOR))

    def encode_state(self, state: Tensor) -> Tensor:
        """(B, S) rad, m -> (B, S)."""
        return ((state - self.state_mean) / self.state_std).clamp(-STATE_CLAMP, STATE_CLAMP)

    def encode_action(self, action: Tensor, state: Tensor) -> Tensor:
        """(B, H, A) absolute rad, m -> (B, H, A)."""
        return (action - (state @ self.base)[:, None] - self.action_mean) / self.action_std

    def decode_action(self, z: Tensor, state: Tensor) -> Tensor:
        """The inverse of `encode_action`."""
        return z * self.action_std + self.action_mean + (state @ self.base)[:, None]

    def encode_aux(self, aux: Tensor) -> Tensor:
        """(B, K) m -> (B, K)."""
        return (aux - self.aux_mean) / self.aux_std
