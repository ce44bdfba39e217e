"""Frames that a camera delivered, or should have, and that the loop never saw."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...robot.types import Observation

PAUSE_NS = 1_000_000_000  # a loop that was not heard of for that long stood still on purpose


class Dropped:
    """Counts gaps in the numbers of frames; `per_step`: camera -> frames that come with each step of the loop."""

    def __init__(self, per_step: Mapping[str, float]) -> None:
        self._per_step = dict(per_step)
        self._last: dict[str, tuple[int, int]] = {}  # camera -> number of its last frame, steps since
        self._t_ns = 0
        self.count = 0

    def look(self, obs: Observation) -> None:
        """One step's observation."""
        if not 0 <= obs.t_ns - self._t_ns < PAUSE_NS:
            self._last.clear()
        self._t_ns = obs.t_ns
        for name, frame in obs.frames.items():
            if name not in self._last:
                self._last[name] = frame.seq, 0
                continue
            seq, steps = self._last[name]
            steps += 1
            if frame.seq == seq:
                self._last[name] = seq, steps
                continue
            due = max(steps, math.ceil(self._per_step.get(name, 1.0) * steps))
            self.count += max(0, frame.seq - seq - due)
            self._last[name] = frame.seq, 0
