"""What a session is to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COUNTDOWN = 3  # s


@dataclass(frozen=True, slots=True)
class Plan:
    """What a session is to do."""

    text: str  # what is done, stored with every episode
    seed: int = 0
    episodes: int | None = None  # saved ones after which it ends; None: when the person quits
    records: bool = True  # episodes are wanted; else the arm is moved, no more
    policy: Path | None = None  # that the person takes over from
    arm: str | None = None
    ik: str = "dls"  # solver of a Cartesian device, one of `ik.SOLVERS`
    cameras: tuple[str, ...] = ()  # that are recorded
    info: Mapping[str, Any] = field(default_factory=dict)  # of every episode
    timed: bool = True  # steps have a rate to keep
    countdown_s: float = COUNTDOWN
