"""The twin's clock: sleeping *is* stepping physics."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np

from ..robot.errors import DeviceError


class SimClock:
    """Implements `Clock` on one MuJoCo simulation, and calls registered callbacks on time.

    Time is a whole number of physics steps: `sleep_until` ends at the first step at or after the deadline.
    Callbacks due at the same step run in the order in which they were registered.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model = model
        self._data = data
        self._step_ns = round(model.opt.timestep * 1e9)
        self._steps = 0
        self._events: list[_Event] = []

    @property
    def step_ns(self) -> int:
        """Physics time step, ns."""
        return self._step_ns

    def now(self) -> int:
        """Simulated time since this clock was made, ns."""
        return self._steps * self._step_ns

    def every(self, period_ns: int, callback: Callable[[], None], phase_ns: int = 0) -> None:
        """Call `callback` every `period_ns` while time passes, first at now + `phase_ns`.

        Periods that are no multiple of the physics step keep their average rate.
        """
        self._events.append(_Event(period_ns, self.now() + phase_ns, callback))

    def sleep_until(self, deadline_ns: int) -> None:
        """Step physics to the first step at or after `deadline_ns`, running callbacks on the way."""
        step_ns, events = self._step_ns, self._events
        while True:
            now = self._steps * step_ns
            if now >= deadline_ns:
                return
            due = deadline_ns
            for event in events:
                if event.due_ns <= now:
                    event.callback()
                    event.due_ns += event.period_ns
                due = min(due, event.due_ns)
            count = max(1, -((now - due) // step_ns))
            mujoco.mj_step(self._model, self._data, count)
            self._steps += count
            if self._data.warning[_BAD_QACC].number or not np.isfinite(self._data.qpos[0]):
                raise DeviceError(
                    f"the twin's physics became unstable at t = {self.now() * 1e-9:.3f} s; "
                    "lower sim timestep or check the masses and gains of your description"
                )


class _Event:
    __slots__ = ("callback", "due_ns", "period_ns")

    def __init__(self, period_ns: int, due_ns: int, callback: Callable[[], None]) -> None:
        self.period_ns = period_ns
        self.due_ns = due_ns
        self.callback = callback


_BAD_QACC = int(mujoco.mjtWarning.mjWARN_BADQACC)
