"""The Protocols that devices, robots, agents and observers implement.

Constructors only store; `open()` acts; `close()` may be called twice. `read()` returns the latest sample
and never blocks longer than its deadline; stale data is an error with an age in it (`StaleData`).
The contract suites in `twinloop.robot.testing` run on every implementation.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from .types import (
    F64,
    ActionChunk,
    Applied,
    ArmState,
    CameraSpec,
    Frame,
    GripperSpec,
    GripperState,
    JointSpec,
    Observation,
    Step,
)


@runtime_checkable
class Clock(Protocol):
    """Monotonic time, ns. In the twin, sleeping is stepping physics."""

    def now(self) -> int: ...

    def sleep_until(self, deadline_ns: int) -> None:
        """Return when `now() >= deadline_ns`; at once when that has passed already."""
        ...


class Arm(Protocol):
    """One arm: reads joints, takes joint goals. Only the guard calls `command` and `hold`."""

    @property
    def spec(self) -> JointSpec: ...

    def open(self) -> None: ...

    def read(self) -> ArmState: ...

    def command(self, q: F64) -> None:
        """Set the goal positions, (n,) rad; never blocks."""
        ...

    def hold(self) -> None:
        """Stop where the arm is, torque on. Legal in every state, and twice."""
        ...

    def close(self) -> None:
        """Release the arm (torque off). The guard parks before it calls this."""
        ...


@runtime_checkable
class Watched(Protocol):
    """An arm whose motors may stop by themselves, standing where they are, when nobody has spoken to them."""

    @property
    def watchdog_ns(self) -> int | None:
        """After how long a silence they do; None: they hold their last goal for ever."""
        ...


@runtime_checkable
class Slackable(Protocol):
    """An arm or gripper that can be let go of and still be read: one that a person leads."""

    def slack(self, on: bool) -> None:
        """True: torque off, readings go on. False: goal := present, then torque on."""
        ...


class Gripper(Protocol):
    """One gripper, in metres between the pads."""

    @property
    def spec(self) -> GripperSpec: ...

    def open(self) -> None: ...

    def read(self) -> GripperState: ...

    def command(self, width_m: float) -> None: ...

    def close(self) -> None: ...


class Camera(Protocol):
    """One camera; `read` hands out the newest frame without waiting for the next."""

    @property
    def spec(self) -> CameraSpec: ...

    def open(self) -> None: ...

    def read(self) -> Frame: ...

    def close(self) -> None: ...


class Robot(Protocol):
    """Arms, grippers and cameras of a rig behind one guard, on one clock."""

    @property
    def clock(self) -> Clock: ...

    def observe(self) -> Observation: ...

    def apply(self, chunk: ActionChunk) -> Applied:
        """Hand a chunk to the guard, and learn what it did since the last call."""
        ...

    def hold(self) -> None:
        """Drop every pending command; stop within the limits and hold."""
        ...

    def close(self) -> None:
        """Park at the rest pose, then torque off."""
        ...


class Agent(Protocol):
    """Whatever turns an observation into actions: a person, a script, a policy, or two of them."""

    def reset(self, seed: int) -> None: ...

    def act(self, obs: Observation) -> ActionChunk: ...


@runtime_checkable
class Disturbed(Protocol):
    """An agent whose actions are not what it means, because noise was injected into them."""

    @property
    def intended(self) -> ActionChunk | None:
        """The last answer of `act`, without the noise."""
        ...


class Observer(Protocol):
    """Sees steps, never steers: recorder, viewer, metrics.

    A step is shown when the next observation is there, since only then is it known what came of it; the last
    step of a run, which nobody saw the outcome of, is not shown.
    """

    def on_step(self, step: Step) -> None: ...
