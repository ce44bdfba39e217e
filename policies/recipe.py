"""How to train: the config, its defaults for each method, and the policy that follows from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from typing import Any, Literal

import torch

from .. import __version__
from ..robot.errors import UsageError, nearest
from .act import ACTConfig
from .augment import Augment
from .bc import BCConfig
from .device import Amp
from .keypoint import KeypointConfig
from .methods import METHODS, find_method, method_names
from .policy import PolicyConfig
from .samples import Samples

COUNTS = {
    "steps": (1, 10_000_000),
    "batch": (1, 65_536),
    "chunk": (1, 1000),
    "validate_every": (1, 10_000_000),
    "save_every": (1, 10_000_000),
    "report_every": (1, 10_000_000),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train. `default_config(method)` has figures that suit each method."""

    method: str = "keypoint"  # "bc" (state), "keypoint" (cameras, CPU), "act" (cameras, GPU)
    steps: int = 2500
    batch: int = 64  # rows a step
    view_batch: int = 32  # views a step for the auxiliary loss, where the samples have them
    chunk: int = 20  # H, rows predicted at once
    lr: float = 1e-3  # peak; linear warm-up, then cosine to 0
    warmup: int = 100  # steps
    weight_decay: float = 1e-4  # AdamW
    grad_clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.995  # decay of the averaged weights, which are what is saved and run
    validation: float = 0.1  # share of the episodes held out
    validate_every: int = 250  # steps
    save_every: int = 500  # steps
    report_every: int = 50  # steps
    seed: int = 0
    cameras: tuple[str, ...] | None = None  # None = all that the samples have
    absolute: tuple[str, ...] = ("*gripper*",)  # patterns of actions that are not relative to the state
    relative: bool = True  # predict joint goals as offsets from the measured joints
    augment: Augment = Augment()
    device: str = "auto"
    amp: Amp = "auto"  # bfloat16 where the hardware has it
    compile: Literal["auto", "on", "off"] = "auto"  # torch.compile; auto = on CUDA
    threads: int | None = None  # torch threads; None = as they are
    bc: BCConfig = BCConfig()
    keypoint: KeypointConfig = KeypointConfig()
    act: ACTConfig = ACTConfig()
    plugin: Any = None  # settings of a plug-in's method; None = its defaults

    def check(self) -> None:
        """Raise `UsageError` for values that make no sense."""
        if find_method(self.method) is None:
            raise UsageError(f"unknown method '{self.method}'{nearest(self.method, method_names())}")
        for name, (low, high) in COUNTS.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name}: {getattr(self, name)} must be within {low}..{high}")
        if not 0 < self.lr < float("inf"):
            raise UsageError(f"lr: {self.lr} must be above 0 and finite")
        for name in ("ema", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name}: {getattr(self, name)} must be from 0 to below 1")


def default_config(method: str) -> TrainConfig:
    """Figures that suit `method`; change them with `dataclasses.replace`."""
    config = {
        "bc": TrainConfig("bc", steps=3000, batch=256, ema=0.99),
        "keypoint": TrainConfig("keypoint"),
        "act": TrainConfig("act", steps=20_000, batch=64, lr=1e-4, warmup=500, ema=0.999),
    }.get(method)
    if config is None and find_method(method) is not None:
        return TrainConfig(method)
    if config is None:
        raise UsageError(f"unknown method '{method}'{nearest(method, method_names())}")
    return config


def describe(samples: Samples, config: TrainConfig, fingerprint: str) -> PolicyConfig:
    """The config of the policy trained on `samples`; `UsageError` where the two do not go together."""
    cameras: dict[str, tuple[int, int]] = {}
    method = find_method(config.method)
    assert method is not None, "TrainConfig.check() comes first"
    if method.pictures:
        for camera in samples.images if config.cameras is None else config.cameras:
            if camera not in samples.images:
                raise UsageError(f"the samples have no camera '{camera}'{nearest(camera, samples.images)}")
            cameras[camera] = (int(samples.images[camera].shape[1]), int(samples.images[camera].shape[2]))
        if not cameras:
            raise UsageError(f"method '{config.method}' needs pictures; valid without: bc")
    relative = tuple(
        name
        for name in samples.action_names
        if config.relative
        and name in samples.state_names
        and not any(fnmatch(name, pattern) for pattern in config.absolute)
    )
    return PolicyConfig(
        method=config.method,
        settings=asdict(getattr(config, config.method, None) or config.plugin or method.settings()),
        state_names=samples.state_names,
        action_names=samples.action_names,
        relative=relative,
        aux_names=samples.aux_names if samples.aux is not None and cameras else (),
        cameras=cameras,
        recorded={name: samples.recorded.get(name, size) for name, size in cameras.items()},
        fps=samples.fps,
        chunk=config.chunk,
        rig=samples.rig,
        rig_hash=samples.rig_hash,
        training={
            "twinloop": __version__,
            "torch": torch.__version__,
            "seed": config.seed,
            "dataset": fingerprint,
            "task": samples.task,
            "steps": config.steps,
            "batch": config.batch,
            "lr": config.lr,
            "ema": config.ema,
        },
    )


def comparable(config: TrainConfig) -> dict[str, Any]:
    """What must be the same to resume, as JSON gives it back; where it computes may change."""
    free = ("device", "threads", "compile", "report_every", "save_every", "validate_every")
    plain = {key: value for key, value in asdict(config).items() if key not in free}
    for method in METHODS:
        if method != config.method:
            del plain[method]
    return json.loads(json.dumps(plain))
