"""What one tick of the guard leaves in the black box."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..types import F64
from .blackbox import BlackBox
from .modes import MODES
from .protections import BLACKBOX_S


class FlightRecorder:
    """One row a tick, and a line for every change of mode, of joints and grippers `names` (M,), the first `n_joints`
    of which report a torque."""

    def __init__(self, names: Sequence[str], n_joints: int, rate_hz: float, path: Path | None) -> None:
        labels = [f"{what} {name}" for what in ("asked", "sent", "measured") for name in names]
        labels += [f"tau {name}" for name in names[:n_joints]]
        self._size = len(names)
        self._told = ("", "")
        self.box = BlackBox(
            ("t_ns", "since_last_ns", "mode", "limits", *labels), round(BLACKBOX_S * rate_hz), path
        )

    def open(self) -> None:
        self._told = ("", "")
        self.box.open()

    def close(self) -> None:
        self.box.close()

    def record(
        self,
        now: int,
        since: int,
        mode: tuple[str, str],
        limits: int,
        *,
        asked: F64,
        sent: F64,
        measured: F64,
        tau: F64,
    ) -> None:
        """The tick at `now`, `since` ns after the last; `mode` and the reason for it; `limits` as a mask; positions
        (M,) rad and m, torques (n_joints,) N m."""
        if mode != self._told:
            self._told = mode
            self.box.tell(now, *mode)
        row, size = self.box.begin(), self._size
        row[0], row[1], row[2], row[3] = now, since, MODES.index(mode[0]), limits
        row[4 : 4 + size] = asked
        row[4 + size : 4 + 2 * size] = sent
        row[4 + 2 * size : 4 + 3 * size] = measured
        row[4 + 3 * size :] = tau
        self.box.end()
