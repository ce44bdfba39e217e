"""Whether sliding along what is in the way still brings the arm nearer to its goal."""

from __future__ import annotations

import numpy as np

from ..types import F64

PATIENCE_S = 1.0  # without getting nearer: then it rests
GAIN = 2e-3  # rad, less is not nearer
ANOTHER = 0.02  # rad, a goal that moved by more is another goal


class Progress:
    """Wedged between several limits, the nearest pose may not exist as a place to rest: the way to it jumps
    from one limit to the next, for ever. Then the arm stays where it is until it is asked for another goal."""

    def __init__(self, n_joints: int, dt_s: float) -> None:
        self._joints = slice(0, n_joints)
        self._patience = round(PATIENCE_S / dt_s)
        self._goal: F64 | None = None
        self._nearest = np.inf  # rad, smallest distance from the goal so far
        self._waited = 0  # steps since then
        self._rest: F64 | None = None

    def reset(self) -> None:
        """The arm goes on from elsewhere, or for another reason."""
        self._goal = self._rest = None

    @property
    def resting(self) -> bool:
        return self._rest is not None

    def rest(self, goal: F64, pose: F64) -> F64 | None:
        """Joints to rest at instead of those of `goal` (M,), or None; called for every step of sliding and of
        resting, with the commanded `pose` (M,)."""
        goal, pose = goal[self._joints], pose[self._joints]
        if self._goal is None or np.abs(goal - self._goal).max() > ANOTHER:
            self._goal, self._nearest, self._waited, self._rest = goal, np.inf, 0, None
        if self._rest is None:
            distance = float(np.linalg.norm(goal - pose))
            self._waited += 1
            if distance < self._nearest - GAIN:
                self._nearest, self._waited = distance, 0
            elif self._waited >= self._patience:
                self._rest = pose
        return self._rest
