"""A trained policy as an `Agent`: observation in, the rest of the ensembled plan out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..robot.errors import CheckpointError, nearest
from ..robot.rig import Rig, load_rig
from ..robot.types import F64, U8, ActionChunk, Observation
from .checkpoint import check_rig, load_policy
from .chunks import Blend, Ensemble
from .device import cpu_threads
from .policy import Policy

WARM_UP = 3  # predictions thrown away at the first reset: allocation, kernel choice, compilation


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """How chunks become a plan."""

    blend: Blend = "average"  # "average": temporal ensembling; "newest": execute the last chunk alone
    decay: float = 0.01  # weights exp(-decay * i), i = 0 for the oldest chunk; < 0 prefers the newest
    replan: int = 1  # steps from one prediction to the next
    rows: int = 10  # rows handed to the guard at most: so long the arm goes on when this process dies
    hold_s: float = 0.1  # how long the last row stays valid
    threads: int | None = 1  # on the CPU; more suit a big network on free cores: where they are busy,
    # torch's threads wait for one another, ten times as long as one alone computes. None = as torch has it


@dataclass(slots=True)
class PolicyAgent:
    """Implements `Agent`.

    `extra` supplies state components beyond the rig's own, in the order `extra_names`: positions of
    objects that only a simulation knows.
    """

    policy: Policy
    rig: Rig
    config: RuntimeConfig = RuntimeConfig()
    extra: Callable[[Observation], ArrayLike] | None = None
    extra_names: Sequence[str] = ()
    allow_changed_rig: bool = False
    source: str = ""
    _ensemble: Ensemble = field(default_factory=Ensemble)
    _steps: int = 0
    _warm: bool = False
    _columns: dict[str, slice] = field(default_factory=dict)  # arm -> its columns of a row

    @classmethod
    def load(
        cls,
        path: str | Path,
        rig: str | Path | Rig,
        config: RuntimeConfig = RuntimeConfig(),
        device: str = "auto",
        allow_changed_rig: bool = False,
    ) -> PolicyAgent:
        """The checkpoint `path` on `rig`; `CheckpointError` says what does not fit."""
        policy = load_policy(path, device)
        agent = cls(
            policy,
            rig if isinstance(rig, Rig) else load_rig(rig),
            config,
            allow_changed_rig=allow_changed_rig,
        )
        agent.check()
        return agent

    def check(self) -> None:
        """Raise `CheckpointError` when the policy does not fit the rig."""
        extra = self.extra_names if self.extra is not None else ()
        check_rig(self.policy.config, self.rig, extra, self.allow_changed_rig)

    def reset(self, seed: int) -> None:
        """Forget the last episode's chunks; the first time also check the fit and warm the network up."""
        self._ensemble = Ensemble(self.config.blend, self.config.decay, self.policy.config.chunk)
        self._steps = 0
        if self._warm:
            return
        self.check()
        first = 0
        for arm in self.rig.arms:
            self._columns[arm] = slice(first, first + self.rig.joint_spec(arm).n)
            first = self._columns[arm].stop
        self.source = f"policy:{self.policy.digest or 'unsaved'}"
        self.policy.eval()
        state = self.policy.normaliser.state_mean.cpu()[None]
        pictures = {
            n: torch.zeros((1, *s, 3), dtype=torch.uint8) for n, s in self.policy.config.cameras.items()
        }
        for _ in range(WARM_UP):
            self._predict(state, pictures)
        self._warm = True

    def act(self, obs: Observation) -> ActionChunk:
        """The plan from now on."""
        if not self._warm:
            self.reset(0)
        dt_ns = round(1e9 / self.policy.config.fps)
        if self._steps % self.config.replan == 0:
            self._ensemble.add(obs.t_ns, dt_ns, self._look(obs))
        t0_ns, rows = self._ensemble.plan(obs.t_ns)
        if not len(rows):  # the loop stood still for longer than a chunk: look again
            self._ensemble.add(obs.t_ns, dt_ns, self._look(obs))
            t0_ns, rows = self._ensemble.plan(obs.t_ns)
        self._steps += 1
        return self._chunk(t0_ns, dt_ns, rows[: self.config.rows])

    def _look(self, obs: Observation) -> F64:
        """Predict a chunk (H, A) from the observation."""
        state = self.state(obs)
        pictures = {
            name: torch.from_numpy(self._picture(obs, name, size))[None]
            for name, size in self.policy.config.cameras.items()
        }
        rows = self._predict(torch.from_numpy(state)[None], pictures)
        if not np.isfinite(rows).all():
            row, column = (int(k) for k in np.argwhere(~np.isfinite(rows))[0])
            blame = "its weights are bad" if np.isfinite(state).all() else "the observed state is not finite"
            name = self.policy.config.action_names[column]
            raise CheckpointError(
                f"{self.source} predicted {rows[row, column]} for '{name}', row {row}: {blame}; "
                "nothing was sent"
            )
        return rows

    def _predict(self, state: Tensor, pictures: Mapping[str, Tensor]) -> F64:
        device = self.policy.device
        with torch.inference_mode(), cpu_threads(self.config.threads):
            images = {name: picture.to(device) for name, picture in pictures.items()}
            return self.policy.predict(state.to(device), images)[0].cpu().numpy().astype(np.float64)

    def state(self, obs: Observation) -> np.ndarray:
        """(S,) float32 in the checkpoint's order: arms' joints, grippers' widths, extras."""
        parts: list[ArrayLike] = [obs.arms[arm].q for arm in self.rig.arms]
        parts.append([obs.grippers[gripper].width_m for gripper in self.rig.grippers])
        if self.extra is not None and len(self.policy.config.state_names) > len(self.rig.state_names()):
            parts.append(self.extra(obs))
        return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts])

    def _picture(self, obs: Observation, camera: str, size: tuple[int, int]) -> U8:
        """(h, w, 3) as the network wants it; INTER_AREA averages, as the training data's cache did."""
        if camera not in obs.frames:
            raise CheckpointError(
                f"{self.source}: no frame from camera '{camera}' yet{nearest(camera, obs.frames)}"
            )
        rgb = obs.frames[camera].rgb
        if rgb.shape[:2] == size:
            return np.array(rgb)  # a copy: frames are read-only, torch wants to own its memory
        small = cv2.resize(rgb, (size[1], size[0]), interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.uint8)

    def _chunk(self, t0_ns: int, dt_ns: int, rows: F64) -> ActionChunk:
        joints = max(columns.stop for columns in self._columns.values())
        end_ns = t0_ns + (len(rows) - 1) * dt_ns
        return ActionChunk(
            t0_ns=t0_ns,
            dt_ns=dt_ns,
            q={arm: rows[:, columns] for arm, columns in self._columns.items()},
            width_m={gripper: rows[:, joints + k] for k, gripper in enumerate(self.rig.grippers)},
            expires_ns=end_ns + round(self.config.hold_s * 1e9),
            source=self.source,
        )
