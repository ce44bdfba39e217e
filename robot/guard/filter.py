"""Position, velocity, acceleration and jerk limits for any number of joints, as one online filter.

Every tick the commanded state (p, v, a) moves one period along the time-optimal, jerk-limited way to a moving
target (ruckig, joints independent of one another). Invariant: a state is only committed when the time-optimal
stop from it stays inside every limit, so the stop trajectory of the last committed state is a valid next
command at any time, whatever is asked. Hence finite differences of the commands obey the limits as well:
the n-th difference over dt^n is a weighted mean of the n-th derivative.

One code serves the guard (`n_envs` = 1) and batched training (`n_envs` = N): arrays are (N, n).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ruckig import (
    ControlInterface,
    InputParameter,
    OutputParameter,
    Result,
    Ruckig,
    RuckigError,
    Synchronization,
    Trajectory,
)

from ..errors import UsageError
from ..types import F64
from .step import Step, StopPath
from .stop import stop_extent, stop_profile, stop_state

SLACK = 1e-9  # rounding allowed in the checks, in the joint's unit
REST = 1e-14  # rad or m: a state that stops within this way is at rest
LAG = 1e-4  # rad or m: a command this close to what was asked counts as not limited
PURSUIT = 0.99  # of the velocity limit: the most a goal may move at, so that it can be caught up with
_STRAIGHT = {True: Synchronization.Phase, False: Synchronization.No}
_OK = (Result.Working, Result.Finished)

Bools = NDArray[np.bool_]


class LimitFilter:
    """Filters targets so that the commands keep the limits; see the module's text for the invariant.

    Limits are (n,) arrays: `q_min`, `q_max` (rad), `dq_max` (rad/s), `ddq_max` (rad/s2), `dddq_max` (rad/s3).
    A gripper is one more joint in metres. `dt_s` is the period between two commands.
    """

    def __init__(
        self,
        *,
        q_min: ArrayLike,
        q_max: ArrayLike,
        dq_max: ArrayLike,
        ddq_max: ArrayLike,
        dddq_max: ArrayLike,
        dt_s: float,
        n_envs: int = 1,
    ) -> None:
        def tile(values: ArrayLike) -> F64:
            return np.tile(np.asarray(values, dtype=np.float64), n_envs)

        self.dt_s = dt_s
        self.shape = (n_envs, np.asarray(q_min).size)
        self._lo, self._hi = tile(q_min), tile(q_max)
        self._v_max, self._a_max, self._j_max = tile(dq_max), tile(ddq_max), tile(dddq_max)
        for name, limit in (("dq", self._v_max), ("ddq", self._a_max), ("dddq", self._j_max)):
            if limit.shape != self._lo.shape or not (np.isfinite(limit) & (limit > 0)).all():
                raise UsageError(f"LimitFilter: {name}_max {limit} must be finite, above 0, one per joint")
        if not (self._lo < self._hi).all():
            raise UsageError(f"LimitFilter: q_min {self._lo} must be below q_max {self._hi}")
        # Peak of the velocity ripple a jerk-limited move starts and ends with; used in the bounds below.
        self._knee = self._a_max**2 / (2.0 * self._j_max)
        self._stop_way = self._v_max * (0.5 * self._v_max / self._a_max + 0.5 * self._a_max / self._j_max)
        self._inv_j, self._inv_2a = 1.0 / self._j_max, 0.5 / self._a_max
        self._a_2j, self._inv_2j = 0.5 * self._a_max / self._j_max, 0.5 / self._j_max
        size = self._lo.size
        self.p, self.v, self.a = np.zeros(size), np.zeros(size), np.zeros(size)
        # Ends of the range, widened to a start outside of it; they close behind the joint as it comes in.
        self.lo, self.hi = self._lo.copy(), self._hi.copy()
        self._outside = False
        self._speed = 1.0
        self._straight = False
        self._still_cap: float | None = None  # `speed` in the generator's limits, if of a resting goal
        self._ruckig = Ruckig(size, dt_s)
        self._input, self._output = _generator(size, self._v_max, self._a_max, self._j_max)
        self._stop_input, _ = _generator(size, self._v_max, self._a_max, self._j_max)
        self._stop_input.control_interface = ControlInterface.Velocity
        self._trajectory = Trajectory(size)
        self._single: tuple[Ruckig, InputParameter, OutputParameter] | None = None

    @property
    def at_rest(self) -> bool:
        return not (self.v.any() or self.a.any())

    def reset(self, p: ArrayLike, envs: Bools | None = None) -> None:
        """Anchor at positions `p` (N, n), at rest; only the environments where `envs` (N,) is true."""
        values = np.broadcast_to(np.asarray(p, dtype=np.float64), self.shape).ravel()
        where = np.ones(self.p.size, bool) if envs is None else np.repeat(envs, self.shape[1])
        if not np.isfinite(values[where]).all():
            raise UsageError(f"LimitFilter: cannot anchor on {values[where]}, not finite")
        self.p = np.where(where, values, self.p)
        self.v = np.where(where, 0.0, self.v)
        self.a = np.where(where, 0.0, self.a)
        self.lo = np.where(where, np.minimum(self._lo, self.p), self.lo)
        self.hi = np.where(where, np.maximum(self._hi, self.p), self.hi)
        self._outside = bool((self.lo < self._lo).any() or (self.hi > self._hi).any())

    def step(self, target: F64, velocity: F64 | None = None) -> F64:
        """Propose and commit in one go: (N, n) targets in, (N, n) commands out."""
        self.commit(self.propose(target.ravel(), None if velocity is None else velocity.ravel()))
        return self.p.reshape(self.shape)

    def propose(
        self, target: F64, velocity: F64 | None = None, speed: float = 1.0, straight: Bools | None = None
    ) -> Step:
        """Next state on the way to `target` moving at `velocity` (both flat, finite).

        `speed` (0, 1] scales the velocity limit; a joint above the lower limit brakes within the others.
        The joints where `straight` (flat) is true arrive together, on a straight line where they can, instead
        of each as soon as it can.
        """
        given = self._input
        if straight is not None or self._straight:
            self._straight = straight is not None
            chosen = np.zeros(self.p.size, dtype=bool) if straight is None else straight
            given.per_dof_synchronization = [_STRAIGHT[joint] for joint in chosen.tolist()]
        goal = np.minimum(np.maximum(target, self.lo), self.hi)
        self._speed = speed
        resting = velocity is None
        if velocity is None:
            pace = np.zeros(goal.size)
        else:
            cap = self._v_max * (speed * PURSUIT)
            pace = np.minimum(np.maximum(velocity, -cap), cap)
            above, below = self.hi - goal, goal - self.lo
            if np.count_nonzero(np.minimum(above, below) < self._stop_way):
                # Only as fast as can be stopped between the goal and the end of the range.
                knee, twice_a = self._knee, 2.0 * self._a_max
                top = np.sqrt(knee * knee + twice_a * above) - knee
                low = np.sqrt(knee * knee + twice_a * below) - knee
                pace = np.minimum(np.maximum(pace, -low), top)
            resting = not np.count_nonzero(pace)
        given.current_acceleration = self.a.tolist()
        step, failed = self._advance(goal, pace)
        wrong = self._not_viable(step)
        if wrong:
            # A moving target can lead past the end of the range; to rest inside it, the way cannot.
            pace[wrong] = 0.0
            step, failed = self._advance(goal, pace)
            wrong = self._not_viable(step)
        stopping = sorted({*wrong, *failed})
        if stopping:
            self.stop(step, stopping)
            step.fallback = True
        if resting:
            self._settle(step, goal)
        return step

    def stop(self, step: Step | None = None, joints: list[int] | None = None) -> Step:
        """Put `joints` (flat indices; None = all) of `step` on the stop trajectory of the committed state."""
        if step is None:
            step = Step(self.p.copy(), self.v.copy(), self.a.copy(), np.zeros(self.p.size))
        for k in range(self.p.size) if joints is None else joints:
            p, v, a = float(self.p[k]), float(self.v[k]), float(self.a[k])
            j = float(self._j_max[k])
            if v == 0.0 and a == 0.0:
                step.p[k], step.v[k], step.a[k] = p, v, a
                continue
            profile = stop_profile(v, a, float(self._a_max[k]), j)
            step.p[k], step.v[k], step.a[k] = stop_state(p, v, a, j_max=j, profile=profile, t=self.dt_s)
        self._bound_travel(step)
        return step

    def commit(self, step: Step) -> None:
        """Make `step` the commanded state."""
        self.p, self.v, self.a = step.p, step.v, step.a
        if self._outside:
            self.lo = np.minimum(self._lo, np.maximum(self.lo, np.minimum(self.p, self._lo)))
            self.hi = np.maximum(self._hi, np.minimum(self.hi, np.maximum(self.p, self._hi)))
            self._outside = bool((self.lo < self._lo).any() or (self.hi > self._hi).any())

    def acting(self, step: Step, target: F64) -> list[str]:
        """Names of the joint limits that make `step` differ from the raw `target` (flat)."""
        late = np.flatnonzero(np.abs(step.p - target) > LAG).tolist()
        if not late:
            return []
        names: set[str] = set()
        near = 0.999 * self.dt_s
        for k in late:
            if not self.lo[k] - SLACK <= target[k] <= self.hi[k] + SLACK:
                names.add("position")
            if abs(step.v[k]) >= 0.999 * self._speed * self._v_max[k]:
                names.add("velocity")
            if abs(step.a[k]) >= 0.999 * self._a_max[k]:
                names.add("acceleration")
            if abs(step.a[k] - self.a[k]) >= near * self._j_max[k]:
                names.add("jerk")
        if step.fallback:
            names.add("filter")
        return sorted(names) or ["jerk"]  # a phase of the profile that began or ended inside the period

    def stop_path(self, step: Step) -> StopPath:
        """The stop trajectory from `step`, to be sampled."""
        given, trajectory = self._stop_input, self._trajectory
        given.current_position = step.p.tolist()
        given.current_velocity = step.v.tolist()
        given.current_acceleration = step.a.tolist()
        recoil = np.zeros(self.p.size)
        rest = step.v + step.a * np.abs(step.a) * self._inv_2j  # velocity if a went to zero at once
        for k in np.flatnonzero(step.v * rest < 0.0).tolist():
            p, v, a = float(step.p[k]), float(step.v[k]), float(step.a[k])
            a_max, j_max = float(self._a_max[k]), float(self._j_max[k])
            low, high = stop_extent(p, v, a, j_max, stop_profile(v, a, a_max, j_max))
            recoil[k] = 2.0 * (high - low)
        if _calculate(self._ruckig, given, trajectory):
            return StopPath(recoil, trajectory.duration, lambda t: np.array(trajectory.at_time(t)[0]))
        profiles = [
            stop_profile(float(step.v[k]), float(step.a[k]), float(self._a_max[k]), float(self._j_max[k]))
            for k in range(self.p.size)
        ]

        def sample(t: float) -> F64:
            return np.array(
                [
                    stop_state(
                        float(step.p[k]),
                        float(step.v[k]),
                        float(step.a[k]),
                        j_max=float(self._j_max[k]),
                        profile=profile,
                        t=t,
                    )[0]
                    for k, profile in enumerate(profiles)
                ]
            )

        return StopPath(recoil, max(sum(profile[:3]) for profile in profiles), sample)

    def _advance(self, goal: F64, pace: F64) -> tuple[Step, list[int]]:
        """One generator call; returns the step and the joints on which it failed.

        Seen from the goal, which moves at `pace`, the joint has to come to rest at zero: solved like this,
        the way meets the goal where it will be, without a lag; the velocity limits shift by `pace`.
        """
        out, given = self._output, self._input
        still = not np.count_nonzero(pace)
        if not (still and self._still_cap == self._speed):
            cap = self._v_max * self._speed
            given.max_velocity = (cap - pace).tolist()
            given.min_velocity = (-cap - pace).tolist()
            self._still_cap = self._speed if still else None
        given.current_position = (self.p - goal + pace * self.dt_s).tolist()
        given.current_velocity = (self.v - pace).tolist()
        if _update(self._ruckig, given, out):
            size = pace.size
            step = Step(
                np.fromiter(out.new_position, np.float64, size) + goal,
                np.fromiter(out.new_velocity, np.float64, size) + pace,
                np.fromiter(out.new_acceleration, np.float64, size),
                pace,
            )
            return step, []
        return self._advance_singly(goal, pace)

    def _settle(self, step: Step, goal: F64) -> None:
        """Rounding must not keep an environment's joints from ever being at rest."""
        if step.travel.min() >= REST:
            return
        still = step.travel.reshape(self.shape).max(axis=1) < REST
        if still.any():
            still = np.repeat(still, self.shape[1])
            step.v, step.a = np.where(still, 0.0, step.v), np.where(still, 0.0, step.a)
            step.p = np.where(still & (np.abs(step.p - goal) < SLACK), goal, step.p)

    def _advance_singly(self, goal: F64, pace: F64) -> tuple[Step, list[int]]:
        """One joint at a time, so that one joint's failure costs no other joint its way."""
        if self._single is None:
            one = np.ones(1)
            self._single = (Ruckig(1, self.dt_s), *_generator(1, one, one, one))
        ruckig, given, out = self._single
        step = Step(self.p.copy(), self.v.copy(), self.a.copy(), pace)
        failed = []
        for k in range(self.p.size):
            to, at = float(goal[k]), float(pace[k])
            cap = float(self._v_max[k]) * self._speed
            given.max_velocity, given.min_velocity = [cap - at], [-cap - at]
            given.max_acceleration, given.max_jerk = [float(self._a_max[k])], [float(self._j_max[k])]
            given.current_position = [float(self.p[k]) - to + at * self.dt_s]
            given.current_velocity = [float(self.v[k]) - at]
            given.current_acceleration = [float(self.a[k])]
            if _update(ruckig, given, out):
                step.p[k], step.v[k] = out.new_position[0] + to, out.new_velocity[0] + at
                step.a[k] = out.new_acceleration[0]
            else:
                failed.append(k)
        return step, failed

    def _bound_travel(self, step: Step) -> F64:
        """Set `step.travel`; returns the highest velocity on the way to rest, bounded from above.

        Ramping a to zero takes |a| / J at no more than peak = |v| + a^2 / (2J); stopping from the peak takes
        at most peak^2 / (2A) + peak A / (2J).
        """
        peak = np.abs(step.v) + step.a * step.a * self._inv_2j
        step.travel = peak * (np.abs(step.a) * self._inv_j + peak * self._inv_2a + self._a_2j)
        return peak

    def _not_viable(self, step: Step) -> list[int]:
        """Joints from whose next state a stop would break a limit; the cheap bound first, then exactly."""
        peak = self._bound_travel(step)
        p, way = step.p, step.travel
        good = (p + way <= self.hi) & (p - way >= self.lo) & (peak <= self._v_max)
        if np.count_nonzero(good) == good.size:
            return []
        wrong = []
        for k in np.flatnonzero(~good).tolist():
            p, v, a = float(step.p[k]), float(step.v[k]), float(step.a[k])
            a_max, j_max, v_max = float(self._a_max[k]), float(self._j_max[k]), float(self._v_max[k])
            if not (abs(a) <= a_max + SLACK and abs(v) <= v_max + SLACK and np.isfinite(p)):
                wrong.append(k)
                continue
            low, high = stop_extent(p, v, a, j_max, stop_profile(v, a, a_max, j_max))
            fits = low >= self.lo[k] - SLACK and high <= self.hi[k] + SLACK
            if not (fits and abs(v + a * abs(a) / (2.0 * j_max)) <= v_max + SLACK):
                wrong.append(k)
        return wrong


def _generator(size: int, v: F64, a: F64, j: F64) -> tuple[InputParameter, OutputParameter]:
    given = InputParameter(size)
    given.synchronization = Synchronization.No
    given.max_velocity, given.max_acceleration, given.max_jerk = v.tolist(), a.tolist(), j.tolist()
    given.target_position = given.target_velocity = given.target_acceleration = [0.0] * size
    return given, OutputParameter(size)


def _update(ruckig: Ruckig, given: InputParameter, out: OutputParameter) -> bool:
    ruckig.reset()  # never go on along an old trajectory: the result depends on the input alone
    try:
        return ruckig.update(given, out) in _OK
    except RuckigError:
        return False


def _calculate(ruckig: Ruckig, given: InputParameter, trajectory: Trajectory) -> bool:
    try:
        return ruckig.calculate(given, trajectory) in _OK
    except RuckigError:
        return False
