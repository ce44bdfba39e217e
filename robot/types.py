"""The values that flow through the stack: frozen, slotted, SI units, read-only arrays.

Times are `int` nanoseconds of the injected monotonic clock (`*_ns`), never wall time. Joint vectors are
`(n,)` float64 in the order of `JointSpec.names`, rad; gripper width is metres between the pads; images are
RGB uint8 `(h, w, 3)`. float64 on the robot side; float32 starts at a policy's border.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def frozen(values: ArrayLike) -> F64:
    """Copy `values` to a read-only float64 array."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True)
class JointSpec:
    """Joints of one arm and their limits. The order of `names` is THE joint order."""

    names: tuple[str, ...]
    q_min: F64  # (n,) rad
    q_max: F64  # (n,) rad
    dq_max: F64  # (n,) rad/s
    ddq_max: F64  # (n,) rad/s2
    dddq_max: F64  # (n,) rad/s3
    tau_max: F64  # (n,) N·m

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class GripperSpec:
    """A parallel (or jaw) gripper measured in metres between its pads."""

    width_min: float  # m
    width_max: float  # m
    speed_max: float  # m/s
    accel_max: float  # m/s2
    jerk_max: float  # m/s3
    force_max: float  # N


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """What a camera delivers."""

    width: int  # px
    height: int  # px
    fps: float  # Hz
    depth: bool = False


@dataclass(frozen=True, slots=True)
class ArmState:
    """State of one arm; `t_ns` is when it was measured, not when it arrived."""

    t_ns: int
    q: F64  # (n,) rad
    dq: F64  # (n,) rad/s
    tau: F64  # (n,) N·m
    temperature_c: F64  # (n,) °C
    voltage_v: F64  # (n,) V
    faults: tuple[str, ...] = ()  # "joint: fault", as the device names it


@dataclass(frozen=True, slots=True)
class GripperState:
    """State of one gripper."""

    t_ns: int
    width_m: float
    force_n: float  # NaN = the gripper does not tell
    faults: tuple[str, ...] = ()  # names of latched device faults


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture; `t_ns` is mid-exposure; a gap in `seq` is a dropped frame."""

    t_ns: int
    seq: int
    rgb: U8  # (h, w, 3)
    depth_m: F32 | None = None  # (h, w) m, 0 = unknown


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent sees at `t_ns`. The mappings are keyed by the names in the rig."""

    t_ns: int
    arms: Mapping[str, ArmState]
    grippers: Mapping[str, GripperState]
    frames: Mapping[str, Frame]


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """A time-stamped joint trajectory with an expiry: row k is due at `t0_ns + k * dt_ns`.

    A single step is a chunk of H = 1. After the last row its target is held until `expires_ns`; after
    that the guard stops the arm and holds. The guard interpolates linearly between the rows.
    """

    t0_ns: int
    dt_ns: int
    q: Mapping[str, F64]  # arm -> (H, n) rad
    width_m: Mapping[str, F64]  # gripper -> (H,) m
    expires_ns: int
    source: str = "script"  # who asked: "person", "policy:<version>", "script", ...

    def at(self, t_ns: int) -> tuple[dict[str, F64], dict[str, float]]:
        """Targets at `t_ns`, arm -> (n,) rad and gripper -> m: interpolated between the rows, the first row
        before them and the last one after. Arms and grippers without a row are left out."""
        arms = {
            arm: _row_at(rows, t_ns - self.t0_ns, self.dt_ns) for arm, rows in self.q.items() if len(rows)
        }
        grippers = {
            gripper: float(_row_at(rows, t_ns - self.t0_ns, self.dt_ns))
            for gripper, rows in self.width_m.items()
            if len(rows)
        }
        return arms, grippers


def _row_at(rows: F64, since_ns: int, dt_ns: int) -> F64:
    """Row of `rows` (H, ...) `since_ns` after the first, linear in between."""
    last = len(rows) - 1
    place = min(max(since_ns / dt_ns, 0.0), float(last)) if dt_ns > 0 else 0.0
    low = int(place)
    return rows[low] if place == low else rows[low] + (place - low) * (rows[min(low + 1, last)] - rows[low])


@dataclass(frozen=True, slots=True)
class Applied:
    """What the guard did since the previous `apply`: what was asked, what was sent, which limits acted."""

    t_ns: int
    asked_q: Mapping[str, F64]  # arm -> (n,) rad, the chunk sampled at t_ns, unfiltered
    sent_q: Mapping[str, F64]  # arm -> (n,) rad, last command to the motors
    asked_width_m: Mapping[str, float]
    sent_width_m: Mapping[str, float]
    limits: Mapping[str, int] = field(default_factory=dict)  # limit -> guard ticks in which it acted
    mode: str = "run"  # "run" | "hold" | "park" | "fault" | "estop"
    source: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the loop: what was seen, what the agent meant by its answer, and what came of it."""

    obs: Observation
    chunk: ActionChunk  # the agent's answer, before any noise that was injected into it
    applied: Applied  # what the guard did from this observation to the next one
