"""Franka Research 3 (a Panda with lower limits) and the Franka Hand, through `franky-control`.

The rig's `port` is the robot's IP address; unlock the joints and activate FCI in Desk first. franky's own thread runs
the 1 kHz torque loop in C++, a joint impedance around the newest goal, so that Python's pace does not matter; it needs
a real-time kernel. `pylibfranka` holds Python's lock, and with it the guard, while its calls wait.

Torque off: the torque loop ends and the robot holds where it is; its joints are locked in Desk. A lost link, or the
guard's end, is a communication error to the robot: it stops and holds.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from ..errors import DeviceError
from ..interfaces import Clock
from ..rig import GripperConfig, Rig
from ..types import F64, JointSpec
from . import ArmDevices
from .controller import Sample, VendorFault, ended, vendor_module
from .hand import Hand
from .remote import remote_devices

TCP_PORT = 1337  # libfranka's `kCommandPort`; nobody listens there before FCI is active
STIFFNESS = (50.0,) * 7  # N·m/rad, franky's own; damping is critical. Joint friction of 1 N·m is 0.02 rad
PAUSE_TICKS = 4  # of the guard; goals further apart have no speed between them
STOP_S = 1.5  # for the arm to come to rest
HELD_M = 0.003  # short of its goal by that much, the hand has something between its fingers
WAY_OUT = "look at the robot, then press and release its user stop, or recover it in Desk"


def connect(name: str, rig: Rig, port: str, clock: Clock) -> ArmDevices:
    """Arm `name` of `rig`, a robot with the IP address `port`; nothing is opened yet."""
    hand = rig.gripper_of(name)
    config = None if hand is None else rig.grippers[hand]
    controller = FrankaController(port, rig.joint_spec(name), 1e9 / rig.guard.rate_hz, clock, config)
    return remote_devices(name, rig, controller, clock, gripper=True)


class FrankaController:
    """One robot; implements `Controller`. `period_ns` is the time between two goals."""

    def __init__(
        self, address: str, spec: JointSpec, period_ns: float, clock: Clock, hand: GripperConfig | None
    ) -> None:
        self._address, self._spec, self._period_ns = address, spec, period_ns
        self._clock, self._config = clock, hand
        self.realtime = "Enforce"  # "Ignore": without a real-time kernel, which only a simulator forgives
        self._sdk: Any = None
        self._robot: Any = None
        self._motion: Any = None
        self._hand: Hand | None = None
        self._seen = -1.0  # ms, the robot's time
        self._last: tuple[F64, int, bool] = (np.zeros(spec.n), 0, False)  # goal, when, does it have a speed

    def connect(self) -> None:
        sdk = self._sdk = vendor_module("franky", "franka")
        if self._robot is None:
            self.release()  # of the hand, whose link broke with the robot's
            realtime = getattr(sdk.RealtimeConfig, self.realtime)
            self._robot = self._call(sdk.Robot, self._address, realtime_config=realtime)
        state = self._call(lambda: self._robot.state)
        if self._robot.has_errors or state.robot_mode != sdk.RobotMode.Idle:
            raise VendorFault(f"robot mode {state.robot_mode.name} {state.last_motion_errors}; {WAY_OUT}")
        limits = {"lower_joint_limits": self._spec.q_min, "upper_joint_limits": self._spec.q_max}
        self._motion = sdk.JointImpedanceTrackingMotion(np.array(STIFFNESS), **limits)
        self.send(np.array(state.q), None)
        self._call(self._robot.move, self._motion, asynchronous=True)
        if self._config is not None and self._hand is None:
            calls = self._call(FrankaHand, sdk, self._address, self._config)
            self._hand = Hand("Franka Hand", calls, self._clock)

    def sample(self) -> Sample | None:
        state = self._call(lambda: self._robot.state)
        goal, sent_ns, moves = self._last
        if moves and self._clock.now() - sent_ns > PAUSE_TICKS * self._period_ns:  # no goal came: stand there
            self._refer(goal, np.zeros(self._spec.n))
        try:
            self._robot.poll_motion()  # raises what ended the torque loop
            ended_by = "" if self._robot.is_in_control else "the torque loop ended"
        except self._sdk.Exception as error:
            ended_by = str(error)
        seen, self._seen = self._seen, state.time.to_msec()
        if self._seen == seen and not ended_by:
            return None
        width_m, width_ns = (np.nan, 0) if self._hand is None else self._hand.latest
        q, dq, tau = (np.array(values) for values in (state.q, state.dq, state.tau_J))
        nan, faults = np.full(q.size, np.nan), (f"{ended_by}; {WAY_OUT}",) if ended_by else ()
        return Sample(q, dq, tau, nan, nan, width_m, width_ns=width_ns, faults=faults)

    def send(self, q: F64, width_m: float | None) -> None:
        last, sent_ns, _ = self._last
        ticks = max(1, round((self._clock.now() - sent_ns) / self._period_ns))
        dq = (q - last) / (ticks * self._period_ns * 1e-9) if ticks <= PAUSE_TICKS else np.zeros(q.size)
        self._refer(q, np.clip(dq, -self._spec.dq_max, self._spec.dq_max))
        if width_m is not None and self._hand is not None:
            self._hand.go(width_m)

    def release(self) -> None:
        robot, hand = self._robot, self._hand
        self._robot = self._hand = None
        if hand is not None:
            hand.close()
        if robot is not None:
            ended(self._stop, robot)

    def _stop(self, robot: Any) -> None:
        """Bring the arm to rest; franky's own `stop` would break the torque off."""
        if robot.is_in_control:
            robot.move(self._sdk.TorqueStopMotion(), asynchronous=True)
            robot.join_motion(STOP_S)

    def _refer(self, q: F64, dq: F64) -> None:
        self._motion.set_reference(self._sdk.JointReference(q=q, dq=dq))
        self._last = (q, self._clock.now(), bool(dq.any()))

    def _call(self, method: Any, *values: Any, **options: Any) -> Any:
        try:
            return method(*values, **options)
        except (self._sdk.Exception, self._sdk.GripperException) as error:
            self._robot = None  # a robot object whose link broke stays broken
            raise DeviceError(f"{error}; check `port` (the robot's address) and that FCI is active") from None


class FrankaHand:
    """The Franka Hand's calls; implements `HandCalls`. What keeps it from closing further, it grasps."""

    def __init__(self, sdk: Any, address: str, config: GripperConfig) -> None:
        self._sdk, self._config = sdk, config
        self._gripper: Any = sdk.Gripper(address)

    def width(self) -> float:
        return float(self._gripper.width)

    def move(self, width_m: float, closing: bool) -> None:
        if closing and self._gripper.is_grasped:
            return  # `move` would let go of it
        hand, speed = self._gripper, self._config.speed_m_s
        with contextlib.suppress(self._sdk.CommandException):  # it did not get there
            hand.move_async(width_m, speed).get()
        if closing and (found_m := hand.width) > width_m + HELD_M:
            hand.grasp_async(found_m, speed, self._config.force_n, HELD_M, HELD_M).get()

    def close(self) -> None:
        del self._gripper
