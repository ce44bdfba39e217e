"""A fake of franky's API: its `Robot` and `Gripper` only. Motions, references and exceptions are the package's own.

The robot follows the reference of a running tracking motion with a first-order lag, in steps of the time that passed
between two looks at it.
"""

from __future__ import annotations

import math
import threading
import time
from types import SimpleNamespace
from typing import Any

import franky
import numpy as np

LAG_S = 0.02
HAND_M_S = 0.2


class World:
    """One robot with a hand; a test speaks to it as to a control box."""

    address = "127.0.0.9"

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.q = np.array([0.0, -0.7, 0.0, -2.2, 0.0, 1.6, 0.7])
        self.dq = np.zeros(7)
        self.width = self.width_goal = 0.04
        self.object_m = 0.0  # what lies between the fingers, 0 = nothing
        self.force_n = 0.0  # of a grasp
        self.up, self.links = True, 0
        self.errors: list[str] = []
        self.motion: Any = None
        self.ended_by: str | None = None
        self.seen = time.monotonic()

    def say(self, command: str) -> None:
        with self.lock:
            match command:
                case "fault":
                    self.errors = ["cartesian_reflex"]
                    self.end(f"motion aborted by reflex! {self.errors}")
                case "clear":
                    self.errors = []
                case "drop":
                    self.up = False
                    self.links += 1
                    self.end(None)
                case "back":
                    self.up = True
                case "push":
                    self.end("the robot was guided by hand")
                    self.q = self.q + 0.1

    def end(self, why: str | None) -> None:
        if self.motion is not None:
            self.motion, self.ended_by = None, why

    def step(self) -> None:
        now = time.monotonic()
        dt_s, self.seen = max(now - self.seen, 1e-6), now
        goal = self.q
        if isinstance(self.motion, franky.JointImpedanceTrackingMotion):
            goal = np.asarray(self.motion.get_reference().q)
        moved = (1.0 - math.exp(-dt_s / LAG_S)) * (goal - self.q)
        self.q, self.dq = self.q + moved, moved / dt_s
        far = self.width_goal - self.width
        self.width += math.copysign(min(abs(far), HAND_M_S * dt_s), far)


def fake(world: World) -> SimpleNamespace:
    """What `import franky` gives, with robots of `world`."""

    class Link:
        def __init__(self, address: str, **_) -> None:
            if address != world.address or not world.up:
                raise franky.NetworkException(f"libfranka: Connection to {address} timed out")
            self.number = world.links

        def reach(self) -> World:
            if self.number != world.links or not world.up:
                raise franky.NetworkException("libfranka: connection lost")
            world.step()
            return world

    class Robot(Link):
        @property
        def state(self) -> SimpleNamespace:
            with world.lock:
                at = self.reach()
                mode = "Reflex" if at.errors else "Move" if at.motion else "Idle"
                return SimpleNamespace(
                    q=at.q.copy(),
                    dq=at.dq.copy(),
                    tau_J=np.full(7, 2.0),
                    time=franky.Duration(int(time.monotonic() * 1e3)),
                    robot_mode=franky.RobotMode.__members__[mode],
                    last_motion_errors=at.errors,
                )

        @property
        def has_errors(self) -> bool:
            return bool(world.errors)

        @property
        def is_in_control(self) -> bool:
            return world.motion is not None

        def move(self, motion: object, asynchronous: bool) -> None:
            assert asynchronous, "a move that waits would hold up the thread"
            with self.reach().lock:
                world.motion = None if isinstance(motion, franky.TorqueStopMotion) else motion
                world.ended_by = None

        def poll_motion(self) -> bool:
            with world.lock:
                why, world.ended_by = world.ended_by, None
            if why:
                raise franky.ControlException(f"libfranka: {why}")
            return world.motion is not None

        def join_motion(self, timeout: float) -> bool:
            return True

    class Gripper(Link):
        @property
        def width(self) -> float:
            with world.lock:
                return self.reach().width

        @property
        def is_grasped(self) -> bool:
            return world.force_n > 0.0

        def move_async(self, width: float, speed: float) -> SimpleNamespace:
            with self.reach().lock:
                world.force_n, world.width_goal = 0.0, max(width, world.object_m)
            blocked = width < world.object_m
            return SimpleNamespace(get=lambda: self._arrive(blocked))

        def grasp_async(self, width: float, speed: float, force: float, inner: float, outer: float):
            assert abs(width - world.object_m) < inner, "without an object there, a hand shuts"
            world.force_n = force
            return SimpleNamespace(get=lambda: True)

        def _arrive(self, blocked: bool) -> bool:
            while abs(self.width - world.width_goal) > 1e-4:
                time.sleep(0.002)
            if blocked:
                raise franky.CommandException("libfranka gripper: command failed")
            return True

    return SimpleNamespace(**{**vars(franky), "Robot": Robot, "Gripper": Gripper})
