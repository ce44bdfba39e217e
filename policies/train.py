"""Training: one loop for every method.

A step is a function of the seed and its number alone (rows, augmentation, noise), so the same seed gives
the same weights bit for bit on one machine, and a resumed training ends where an uninterrupted one does.
Ctrl-C (or SIGTERM, or `stop()`) ends after the step at hand with everything saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..robot.clock import Stopwatch, wall_time
from ..robot.errors import CheckpointError, UsageError
from .batches import Batches, split
from .checkpoint import STATE, WEIGHTS, load_state, save_policy, save_state
from .device import autocast, cpu_threads, pick_device, uses_bf16
from .ema import Average
from .interrupts import interrupts
from .methods import build
from .metrics import MetricsLog
from .recipe import TrainConfig, comparable, default_config, describe
from .samples import Samples

VALIDATION_ROWS = 512  # rows of the held-out episodes that are looked at, spread evenly


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Where the training stands."""

    step: int
    steps: int
    loss: float  # mean since the last report
    figures: Mapping[str, float]  # parts of the loss, as the method names them
    validation: Mapping[str, float]  # latest: "loss", "action_error" (rad, m), ...; empty before the first
    lr: float
    steps_per_s: float
    elapsed_s: float  # earlier runs included

    @property
    def remaining_s(self) -> float:
        return (self.steps - self.step) / max(self.steps_per_s, 1e-9)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What came out. `finished` is False after Ctrl-C or `stop()`: go on with `resume=True`."""

    out: Path
    step: int
    finished: bool
    losses: tuple[tuple[int, float], ...]  # (step, training loss)
    validations: tuple[tuple[int, float], ...]  # (step, validation loss)
    validation: Mapping[str, float]  # last
    steps_per_s: float
    wall_s: float  # earlier runs included
    used: Mapping[str, Any] = field(default_factory=dict)  # what was used: report it


def train(
    samples: Samples,
    config: TrainConfig,
    out: Path,
    progress: Callable[[TrainProgress], None] | None = None,
    *,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a policy on `samples` and write it to the folder `out`.

    `resume` goes on where an earlier call with the same config and samples stopped; with nothing there it
    begins. A folder that holds a training is never overwritten.
    """
    config.check()
    samples.check()
    out = Path(out)
    if not resume and ((out / STATE).exists() or (out / WEIGHTS).exists()):
        raise UsageError(
            f"{out}: holds a training already; go on with it (--resume, resume=True), or choose another folder"
        )
    with cpu_threads(config.threads), torch.random.fork_rng():
        return _Training(samples, config, out).run(progress, resume, stop)


class _Training:
    """One call of `train`."""

    def __init__(self, samples: Samples, config: TrainConfig, out: Path) -> None:
        self.config, self.out = config, out
        self.device = pick_device(config.device)
        self.bf16 = uses_bf16(config.amp, self.device)
        torch.manual_seed(config.seed)
        self.fingerprint = samples.fingerprint()
        policy_config = describe(samples, config, self.fingerprint)
        self.policy = build(policy_config).to(self.device)
        self.uses_aux = bool(getattr(self.policy, "uses_aux", False))
        self.rows, self.held = split(samples.episode, config.validation, config.seed)
        self.batches = Batches(samples, tuple(policy_config.cameras), config.chunk, self.device, config.seed)
        self.shown = self.batches.with_retakes(self.rows)
        self.view_batch = config.view_batch if self.uses_aux and len(self.batches.views) else 0
        self.policy.normaliser.fit(*self.batches.statistics(self.rows))
        self.weights = list(self.policy.parameters())
        self.average = Average(self.policy, config.ema)
        self.optimiser = torch.optim.AdamW(
            self.weights, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.step, self.elapsed_s = 0, 0.0
        self.log = MetricsLog(out / "metrics.jsonl")
        compiled = config.compile == "on" or (config.compile == "auto" and self.device.type == "cuda")
        self.loss = torch.compile(self.policy.compute_loss) if compiled else self.policy.compute_loss
        episodes = len(np.unique(samples.episode))
        held = len(np.unique(samples.episode[self.held]))
        self.used = {
            "method": config.method,
            "parameters": self.policy.parameter_count,
            "aux_loss": self.uses_aux,
            "aux_names": list(policy_config.aux_names),
            "cameras": {name: list(size) for name, size in policy_config.cameras.items()},
            "views": len(self.batches.views) if self.view_batch else 0,
            "augment": bool(policy_config.cameras) and config.augment.active,
            "chunk": config.chunk,
            "relative": list(policy_config.relative),
            "rows": len(self.rows),
            "retakes": len(self.shown) - len(self.rows),
            "episodes": episodes - held,
            "validation_episodes": held,
            "device": str(self.device),
            "bf16": self.bf16,
            "compiled": compiled,
            "threads": torch.get_num_threads(),
        }

    def run(
        self,
        progress: Callable[[TrainProgress], None] | None,
        resume: bool,
        stop: Callable[[], bool] | None,
    ) -> TrainResult:
        config = self.config
        recent: list[Tensor] = []  # losses since the last report
        if resume and (self.out / STATE).exists():
            recent = [torch.tensor(loss, device=self.device) for loss in self._restore()]
        self.log.open(self.step)
        watch = Stopwatch()
        before_s, first = self.elapsed_s, self.step
        validation = self.log.last_validation()
        with interrupts() as interrupted:
            while self.step < config.steps and not interrupted() and not (stop is not None and stop()):
                loss, figures = self._one_step()
                recent.append(loss)
                self.elapsed_s = before_s + watch.seconds
                last = self.step == config.steps
                if self.step % config.validate_every == 0 or last:
                    validation = self._validate()
                    self.log.write({"step": self.step, "validation": validation})
                if self.step % config.report_every == 0 or last:
                    now = TrainProgress(
                        self.step,
                        config.steps,
                        self._mean(recent),
                        {name: float(value) for name, value in figures.items()},
                        validation,
                        self._lr(self.step - 1),
                        (self.step - first) / watch.seconds,
                        self.elapsed_s,
                    )
                    recent = []
                    self.log.write(
                        {"step": now.step, "loss": now.loss, **now.figures, "lr": now.lr, "s": now.elapsed_s}
                    )
                    if progress is not None:
                        progress(now)
                if self.step % config.save_every == 0 and not last:
                    self._save(recent)
            self._save(recent)
        return TrainResult(
            out=self.out,
            step=self.step,
            finished=self.step >= config.steps,
            losses=self.log.losses(),
            validations=self.log.validations(),
            validation=validation,
            steps_per_s=(self.step - first) / watch.seconds,
            wall_s=self.elapsed_s,
            used=self.used,
        )

    def _one_step(self) -> tuple[Tensor, dict[str, Tensor]]:
        """One update of the weights and of their average; returns the loss and its parts."""
        config = self.config
        seed = _step_seed(config.seed, self.step)
        torch.manual_seed(seed)  # dropout, latent noise
        generator = torch.Generator(self.device).manual_seed(seed)
        rows = self.batches.order(self.shown, self.step, config.batch)
        views = self.batches.order(self.batches.views, self.step, self.view_batch)
        augment = config.augment if config.augment.active else None
        batch = self.batches.at(rows, augment, generator, views)
        for group in self.optimiser.param_groups:
            group["lr"] = self._lr(self.step)
        self.policy.train()
        with autocast(self.device, self.bf16):
            loss, figures = self.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, config.grad_clip)
        self.optimiser.step()
        self.step += 1
        self.average.update(self.step)
        return loss.detach(), figures

    def _lr(self, step: int) -> float:
        """Linear warm-up, cosine to 0."""
        config = self.config
        rise = min(1.0, (step + 1) / max(1, config.warmup))
        return config.lr * rise * 0.5 * (1 + float(np.cos(np.pi * step / config.steps)))

    def _validate(self) -> dict[str, float]:
        """Figures on the held-out episodes, {} where there are none."""
        if not len(self.held):
            return {}
        rows = self.held[:: max(1, len(self.held) // VALIDATION_ROWS)]
        sums: dict[str, float] = {}
        with self.average.applied(), torch.inference_mode():
            for part in np.array_split(rows, -(-len(rows) // self.config.batch)):
                batch = self.batches.at(part)
                with autocast(self.device, self.bf16):
                    loss, figures = self.policy.compute_loss(batch)
                    chunk = self.policy.predict(batch.state, batch.images)
                figures = {"loss": loss, **figures, "action_error": (chunk - batch.action).abs().mean()}
                for name, value in figures.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(part)
        return {name: value / len(rows) for name, value in sums.items()}

    def _mean(self, losses: list[Tensor]) -> float:
        mean = float(torch.stack(losses).double().mean()) if losses else float("nan")
        if losses and not np.isfinite(mean):
            raise UsageError(
                f"training diverged before step {self.step} (loss {mean}); the last saved state is "
                f"sound: train again with a lower lr (now {self.config.lr})"
            )
        return mean

    def _save(self, recent: list[Tensor]) -> None:
        """Write the policy (averaged weights) and what a resumed training needs."""
        self._mean(recent)  # never write weights that diverged
        tensors: dict[str, Tensor] = {}
        for (name, weight), average in zip(self.policy.named_parameters(), self.average.values, strict=True):
            tensors[f"weight.{name}"], tensors[f"average.{name}"] = weight, average
            for key in ("exp_avg", "exp_avg_sq"):
                if key in self.optimiser.state[weight]:
                    tensors[f"{key}.{name}"] = self.optimiser.state[weight][key]
        for name, buffer in self.policy.normaliser.named_buffers():
            tensors[f"normaliser.{name}"] = buffer
        notes = {
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "recent": [float(loss) for loss in recent],
            "fingerprint": self.fingerprint,
            "config": comparable(self.config),
        }
        save_state(self.out, tensors, notes)
        training = {**self.policy.config.training, "step": self.step, "written": wall_time(), **self.used}
        self.policy.config = replace(self.policy.config, training=training)
        with self.average.applied():
            save_policy(self.policy, self.out)

    def _restore(self) -> list[float]:
        """Go back to the saved step; returns the losses since its last report."""
        tensors, notes = load_state(self.out)
        now = comparable(self.config)
        odd = [key for key in now if notes["config"].get(key) != now[key]]
        if odd:
            changes = ", ".join(f"{key} {notes['config'].get(key)} -> {now[key]}" for key in odd)
            raise CheckpointError(
                f"{self.out}: begun with another config ({changes}); resume with the same, or train afresh"
            )
        if notes["fingerprint"] != self.fingerprint:
            raise CheckpointError(
                f"{self.out}: begun on other data (fingerprint {notes['fingerprint']}, "
                f"now {self.fingerprint}); resume with the same dataset, or train afresh in another folder"
            )
        self.step, self.elapsed_s = int(notes["step"]), float(notes["elapsed_s"])
        try:
            with torch.no_grad():
                for (name, weight), average in zip(
                    self.policy.named_parameters(), self.average.values, strict=True
                ):
                    weight.copy_(tensors[f"weight.{name}"])
                    average.copy_(tensors[f"average.{name}"])
                    if f"exp_avg.{name}" in tensors:
                        # Copied into the weight's own memory order: the fused optimiser pairs the
                        # elements as they lie in memory, and convolutions are channels_last.
                        self.optimiser.state[weight] = {
                            "step": torch.tensor(float(self.step), device=self.device),
                            **{
                                key: torch.empty_like(weight).copy_(tensors[f"{key}.{name}"])
                                for key in ("exp_avg", "exp_avg_sq")
                            },
                        }
                for name, buffer in self.policy.normaliser.named_buffers():
                    buffer.copy_(tensors[f"normaliser.{name}"])
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"{self.out / STATE}: not the state of this policy ({error})") from None
        return notes["recent"]


def _step_seed(seed: int, step: int) -> int:
    """A seed for one step, far from those of its neighbours and of other trainings."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)


__all__ = ["TrainConfig", "TrainProgress", "TrainResult", "default_config", "train"]
