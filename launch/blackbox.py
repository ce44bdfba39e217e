"""What a black box tells: the last seconds before something happened, and how the twin takes the same commands."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..robot.errors import UsageError
from ..robot.guard import mask_names, read_blackbox
from ..robot.guard.blackbox import read_events
from ..robot.guard.modes import MODES
from ..robot.rig import Rig
from ..robot.types import F64
from ..sim.scene import build_scene
from ..sim.twin import Twin

LATE = 1.5  # periods between two ticks that count as late


def blackbox_path(rig: Rig) -> Path:
    """Where a guard's process keeps the black box of `rig`."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "twinloop" / f"{rig.name}.blackbox"


@dataclass(frozen=True, slots=True)
class FlightLog:
    """The rows of a black box and the changes of mode beside them."""

    path: Path
    columns: tuple[str, ...]
    rows: F64  # (k, len(columns)), oldest first
    events: tuple[dict[str, Any], ...]

    def column(self, name: str) -> F64:
        """(k,) values."""
        if name not in self.columns:
            raise UsageError(f"{self.path}: no '{name}' in it; is it of this rig?")
        return self.rows[:, self.columns.index(name)]

    @property
    def names(self) -> tuple[str, ...]:
        """Joints ("arm.joint"), then grippers."""
        return tuple(c.removeprefix("sent ") for c in self.columns if c.startswith("sent "))


def load_log(path: Path) -> FlightLog:
    """Read a black box. Raises `UsageError` when there is none, or nothing in it."""
    if not path.exists():
        raise UsageError(
            f"{path}: no such file; deploy, record and teleop write one, on a real or an emulated arm"
        )
    columns, rows = read_blackbox(path)
    if not len(rows):
        raise UsageError(f"{path}: empty; the guard was opened and not ticked")
    return FlightLog(path, columns, rows, tuple(read_events(path)))


def told(log: FlightLog) -> Iterator[str]:
    """The story, a line each."""
    t, since, modes = log.column("t_ns"), log.column("since_last_ns"), log.column("mode")
    end = t[-1]
    period = float(np.median(since))
    late = since[1:] > LATE * period
    yield (
        f"{log.path}: {len(t)} ticks, {(end - t[0]) * 1e-9:.2f} s, {1e9 / period:.0f} Hz; "
        f"{int(late.sum())} late by more than half a period, the longest gap {since[1:].max(initial=0.0) * 1e-6:.1f} ms"
    )
    yield f"at the end: {MODES[int(modes[-1])]}"
    for event in log.events:
        if event["t_ns"] >= t[0]:
            yield f"  {(event['t_ns'] - end) * 1e-9:+8.3f} s  {event['mode']}: {event['reason']}"
    acted = Counter(name for mask in log.column("limits").tolist() for name in mask_names(int(mask)))
    yield "limits, ticks: " + (", ".join(f"{name} {n}" for name, n in sorted(acted.items())) or "none")
    yield f"{'':<24}{'asked':>10}{'sent':>10}{'measured':>10}{'torque':>10}   (last tick; deg, mm, N m)"
    for name in log.names:
        joint = f"tau {name}" in log.columns
        scale = np.degrees(1.0) if joint else 1000.0
        values = [log.column(f"{what} {name}")[-1] * scale for what in ("asked", "sent", "measured")]
        torque = f"{log.column(f'tau {name}')[-1]:10.2f}" if joint else ""
        yield f"{name:<24}" + "".join(f"{value:10.2f}" for value in values) + torque


@dataclass(frozen=True, slots=True)
class Replayed:
    """How the twin took the commands that were sent, joint by joint; deg, of a gripper mm."""

    name: str
    rms: float  # twin minus measured
    worst: float
    unit: str


def replay_log(log: FlightLog, rig: Rig) -> list[Replayed]:
    """Send the twin of `rig`, from the first measured pose on, what was sent then. Raises `UsageError` for a log of
    an arm with other joints."""
    twin = Twin(build_scene(rig))
    arms = {name: [f"{name}.{joint}" for joint in rig.joint_spec(name).names] for name in rig.arms}
    for name, joints in arms.items():
        gripper = rig.gripper_of(name)
        width = float(log.column(f"measured {gripper}")[0]) if gripper is not None else None
        twin.set_arm(name, np.array([log.column(f"measured {joint}")[0] for joint in joints]), width)
    for device in (*twin.arms.values(), *twin.grippers.values()):
        device.open()
    sent = {
        name: np.stack([log.column(f"sent {joint}") for joint in joints], 1) for name, joints in arms.items()
    }
    widths = {name: log.column(f"sent {name}") for name in rig.grippers}
    t = log.column("t_ns") - log.column("t_ns")[0]
    found: dict[str, list[float]] = {name: [] for name in (*(j for js in arms.values() for j in js), *widths)}
    for k, now in enumerate(t.astype(int).tolist()):
        twin.clock.sleep_until(now)
        for name, arm in twin.arms.items():
            for joint, q in zip(arms[name], arm.read().q, strict=True):
                found[joint].append(float(q))
            arm.command(sent[name][k])
        for name, gripper in twin.grippers.items():
            found[name].append(gripper.read().width_m)
            gripper.command(float(widths[name][k]))
    out = []
    for name, values in found.items():
        joint = f"tau {name}" in log.columns
        error = (np.array(values) - log.column(f"measured {name}")) * (np.degrees(1.0) if joint else 1000.0)
        rms = float(np.sqrt((error**2).mean()))
        out.append(Replayed(name, rms, float(np.abs(error).max()), "deg" if joint else "mm"))
    return out
