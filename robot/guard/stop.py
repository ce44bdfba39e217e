"""The time-optimal jerk-limited stop of one joint, in closed form: it cannot fail.

From position p, velocity v and acceleration a, under |acceleration| <= A and |jerk| <= J, the fastest way to
rest ramps the acceleration to a peak, keeps it if the peak is A, and ramps it to zero. With s = sign of
w = v + a|a| / (2J), the velocity left if the acceleration were ramped to zero at once:

    peak^2 = J s v + a^2 / 2, or A if that is less;  durations (s a + A) / J,  (peak^2 - A^2) / (J A),  A / J

Plain Python: for the 6 to 14 joints of a rig this is faster than numpy.
"""

from __future__ import annotations

import math

# (t1, t2, t3, s): jerk -s J for t1, 0 for t2, +s J for t3
Profile = tuple[float, float, float, float]


def stop_profile(v: float, a: float, a_max: float, j_max: float) -> Profile:
    """Phases of the stop from velocity `v` and acceleration `a`; units of the joint per s, s2, s3."""
    w = v + a * abs(a) / (2.0 * j_max)
    s = 1.0 if w > 0.0 else -1.0 if w < 0.0 else (1.0 if a > 0.0 else -1.0)
    sv, sa = s * v, s * a
    square = max(j_max * sv + 0.5 * sa * sa, 0.0)
    if square <= a_max * a_max:
        peak = math.sqrt(square)
        return max((sa + peak) / j_max, 0.0), 0.0, peak / j_max, s
    return (sa + a_max) / j_max, square / (j_max * a_max) - a_max / j_max, a_max / j_max, s


def stop_state(
    p: float, v: float, a: float, *, j_max: float, profile: Profile, t: float
) -> tuple[float, float, float]:
    """Position, velocity and acceleration `t` seconds into the stop."""
    t1, t2, t3, s = profile
    j = -s * j_max
    dt = min(t, t1)
    p += dt * (v + dt * (a / 2.0 + dt * j / 6.0))
    v += dt * (a + dt * j / 2.0)
    a += dt * j
    if t <= t1:
        return p, v, a
    dt = min(t - t1, t2)
    p += dt * (v + dt * a / 2.0)
    v += dt * a
    if t <= t1 + t2:
        return p, v, a
    dt = min(t - t1 - t2, t3)
    p += dt * (v + dt * (a / 2.0 - dt * j / 6.0))
    if t >= t1 + t2 + t3:
        return p, 0.0, 0.0
    return p, v + dt * (a - dt * j / 2.0), a - dt * j


def stop_extent(p: float, v: float, a: float, j_max: float, profile: Profile) -> tuple[float, float]:
    """Lowest and highest position on the way to rest."""
    t1, t2, t3, s = profile
    end = stop_state(p, v, a, j_max=j_max, profile=profile, t=t1 + t2 + t3)[0]
    turn = p
    if v * s < 0.0:  # still moving the other way: velocity crosses zero inside the first phase
        # v + a t - s J t^2 / 2 = 0
        root = math.sqrt(max(a * a + 2.0 * s * j_max * v, 0.0))
        t = (s * a - root) / j_max
        turn = stop_state(p, v, a, j_max=j_max, profile=profile, t=min(max(t, 0.0), t1))[0]
    return min(p, end, turn), max(p, end, turn)
