"""Whether loop and cameras kept their rates; an episode in which they did not is marked."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ...robot.types import Observation

LATE_SHARE = 0.05  # of the steps that may come more than a period late
CAMERA_SHARE = 0.8  # of its rate that a camera must deliver
SHORT_S = 1.0  # an episode that is shorter tells nothing of cameras
WINDOW = 30  # steps over which the rate is shown


class Rates:
    """Fed with every step's observation and the wall's time; `begin` with every episode.

    `camera_fps`: camera -> Hz. `timed` is false where steps come as fast as they can, and no rate is kept.
    """

    def __init__(self, period_ns: int, camera_fps: Mapping[str, float], timed: bool = True) -> None:
        self._period_ns = period_ns
        self._fps = {name: min(fps, 1e9 / period_ns) for name, fps in camera_fps.items()}  # one a row at most
        self._timed = timed
        self._walls: deque[int] = deque(maxlen=WINDOW + 1)
        self.begin()

    def begin(self) -> None:
        """Count from here on."""
        self.steps = self.late = 0
        self._first_ns = self._last_ns = 0
        self._seen: dict[str, set[int]] = {name: set() for name in self._fps}

    def restart(self) -> None:
        """The loop stood still on purpose: the next step is not late."""
        self._walls.clear()

    def look(self, wall_ns: int, obs: Observation) -> None:
        if self._walls and wall_ns - self._walls[-1] > 2 * self._period_ns:
            self.late += 1
        self._walls.append(wall_ns)
        self._first_ns = obs.t_ns if not self.steps else self._first_ns
        self._last_ns = obs.t_ns
        self.steps += 1
        for name, frame in obs.frames.items():
            if name in self._seen:
                self._seen[name].add(frame.seq)

    @property
    def hz(self) -> float | None:
        """Steps a second, of late; None before there are some."""
        if len(self._walls) < 2:
            return None
        return (len(self._walls) - 1) * 1e9 / max(1, self._walls[-1] - self._walls[0])

    def found(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """For the episode's info, and what fell behind, in words; empty when nothing did."""
        share = self.late / max(1, self.steps)
        seconds = (self._last_ns - self._first_ns) * 1e-9
        rates = {name: len(seen) / seconds if seconds > 0 else 0.0 for name, seen in self._seen.items()}
        behind: list[str] = []
        if self._timed and share > LATE_SHARE:
            behind.append(f"{100 * share:.0f} % of the steps came more than a period late")
        if seconds >= SHORT_S:
            behind += [
                f"camera {name} delivered {rate:.1f} of {self._fps[name]:g} pictures a second"
                for name, rate in rates.items()
                if rate < CAMERA_SHARE * self._fps[name]
            ]
        info: dict[str, Any] = {"camera_hz": {name: round(rate, 2) for name, rate in rates.items()}}
        if self._timed:
            info["late_share"] = round(share, 4)
        if behind:
            info["behind"] = behind
        return info, tuple(behind)
