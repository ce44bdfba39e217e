"""What is noted of the episode that runs, beside its rows."""

from __future__ import annotations

from typing import Any

from ...robot.clock import wall_time
from ...teleop.takeover import Takeover
from .cell import Cell
from .plan import Plan
from .rates import Rates


class Episode:
    """Notes of one episode after the other, in `cell`, for its info in the dataset."""

    def __init__(self, plan: Plan, cell: Cell, device: str) -> None:
        self._plan = plan
        self._cell = cell
        self._device = device
        self._marks: list[float] = []  # s from its beginning
        self.begun_ns = 0  # robot's clock
        self.objects_m: dict[str, list[float]] = {}  # where they stood when it began
        self.note = ""  # goes with the next one

    def begin(self, t_ns: int, seed: int) -> dict[str, Any]:
        """It begins at `t_ns`: its info so far."""
        cell = self._cell
        info: dict[str, Any] = {
            "seed": seed,
            "device": self._device,
            "protections": [str(p) for p in cell.guard.protections()],
            "wall_time": wall_time(),
            **self._plan.info,
        }
        if cell.draw:
            info["draw"] = dict(cell.draw)
        if (judged := cell.judge()) is not None:
            self.objects_m = {body: [round(float(x), 4) for x in at] for body, at in judged[1].items()}
            info["objects_m"] = self.objects_m
        if self.note:
            info["note"], self.note = self.note, ""
        self._marks, self.begun_ns = [], t_ns
        return info

    def mark(self, t_ns: int) -> float:
        """Something is worth finding again at `t_ns`; s from the episode's beginning."""
        self._marks.append((t_ns - self.begun_ns) * 1e-9)
        return self._marks[-1]

    def found(self, rates: Rates, takeover: Takeover | None) -> dict[str, Any]:
        """What the info says at its end."""
        info: dict[str, Any] = {"rates": rates.found()[0]}
        if self._marks:
            info["marks_s"] = [round(mark, 3) for mark in self._marks]
        if (judged := self._cell.judge()) is not None:
            info["task_test"] = judged[0]
        if takeover is not None:
            info["hands"] = [
                [round((t - self.begun_ns) * 1e-9, 3), state]
                for t, state in takeover.changes
                if t >= self.begun_ns
            ]
        return info
