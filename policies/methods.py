"""The methods by name. A new one is one file and an entry point in the group `twinloop.policies`.

The entry point's value is a `Method`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from typing import Any

from ..robot.errors import CheckpointError, nearest
from .act import ACT, ACTConfig
from .bc import BC, BCConfig
from .keypoint import Keypoint, KeypointConfig
from .policy import Policy, PolicyConfig


@dataclass(frozen=True, slots=True)
class Method:
    """A policy class, the frozen dataclass of its settings, and whether it needs cameras."""

    policy: Callable[[PolicyConfig, Any], Policy]
    settings: type[Any]
    pictures: bool = False


METHODS: Mapping[str, Method] = {
    "bc": Method(BC, BCConfig),
    "keypoint": Method(Keypoint, KeypointConfig, pictures=True),
    "act": Method(ACT, ACTConfig, pictures=True),
}


def method_names() -> list[str]:
    """Names of all methods, plug-ins included."""
    return sorted({*METHODS, *(point.name for point in entry_points(group="twinloop.policies"))})


def find_method(name: str) -> Method | None:
    """The method called `name`, or None."""
    if name in METHODS:
        return METHODS[name]
    return next((p.load() for p in entry_points(group="twinloop.policies") if p.name == name), None)


def build(config: PolicyConfig) -> Policy:
    """The untrained policy that `config` describes."""
    method = find_method(config.method)
    if method is None:
        raise CheckpointError(f"unknown method '{config.method}'{nearest(config.method, method_names())}")
    settings = method.settings
    known = [f.name for f in fields(settings)]
    for key in config.settings:
        if key not in known:
            raise CheckpointError(f"settings of '{config.method}': unknown '{key}'{nearest(key, known)}")
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in config.settings.items()}
    return method.policy(config, settings(**plain))
