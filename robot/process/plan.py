"""What a guard's process is started with, as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cattrs

from ..rig import Box, Rig, parse_rig

PLAN, HELLO, LOG, STATUS_RING, ORDERS_RING = "plan.json", "hello.json", "guard.log", "status", "orders"


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """A session of the guard's process: its files lie in `folder`."""

    folder: Path
    rig: Rig
    ports: Mapping[str, str]  # arm -> serial port or address
    blackbox: Path | None = None
    obstacles: tuple[Box, ...] = ()
    cpu: int | None = None  # core to stay on
    agent: int = field(default_factory=os.getpid)  # process that the guard works for

    def save(self) -> None:
        """Write it into its folder."""
        content: dict[str, Any] = {
            "rig": rig_to_json(self.rig),
            "ports": dict(self.ports),
            "blackbox": None if self.blackbox is None else str(self.blackbox),
            "obstacles": [[box.min_m, box.max_m] for box in self.obstacles],
            "cpu": self.cpu,
            "agent": self.agent,
        }
        (self.folder / PLAN).write_text(json.dumps(content))


def load_plan(folder: Path) -> ProcessPlan:
    """The plan that lies in `folder`."""
    content = json.loads((folder / PLAN).read_text())
    return ProcessPlan(
        folder,
        parse_rig(content["rig"], str(folder / PLAN)),
        content["ports"],
        None if content["blackbox"] is None else Path(content["blackbox"]),
        tuple(Box(tuple(low), tuple(high)) for low, high in content["obstacles"]),
        content["cpu"],
        content["agent"],
    )


def rig_to_json(rig: Rig) -> dict[str, Any]:
    """The rig as plain JSON, which `parse_rig` reads back."""
    plain = cattrs.Converter().unstructure(rig)
    return json.loads(json.dumps(_without_none(plain), default=str))


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
