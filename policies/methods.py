"""The methods by name. A new one is a file with a `Policy`, its config, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ..robot.errors import CheckpointError, nearest
from .act import ACT, ACTConfig
from .bc import BC, BCConfig
from .keypoint import Keypoint, KeypointConfig
from .policy import Policy, PolicyConfig

METHODS: Mapping[str, tuple[Callable[[PolicyConfig, Any], Policy], type[Any]]] = {
    "bc": (BC, BCConfig),
    "keypoint": (Keypoint, KeypointConfig),
    "act": (ACT, ACTConfig),
}
PICTURES = ("keypoint", "act")  # methods that need a camera


def build(config: PolicyConfig) -> Policy:
    """The untrained policy that `config` describes."""
    if config.method not in METHODS:
        raise CheckpointError(f"unknown method '{config.method}'{nearest(config.method, METHODS)}")
    policy, settings = METHODS[config.method]
    known = [f.name for f in fields(settings)]
    for key in config.settings:
        if key not in known:
            raise CheckpointError(f"settings of '{config.method}': unknown '{key}'{nearest(key, known)}")
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in config.settings.items()}
    return policy(config, settings(**plain))
