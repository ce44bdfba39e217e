"""UFACTORY xArm 7 (xArm 6 and others with a description of their own) and its gripper, through `xarm-python-sdk`.

The rig's `port` is the control box's IP address. The arm runs in the SDK's servo mode (mode 1), where the box follows
every goal at once; states are asked for after each goal. Temperatures and voltages come with the SDK's report, five
times a second. The gripper sits on a serial line behind the box: it has a connection and threads of its own.

Torque off: motion is stopped and the motors are disabled; the joints' brakes hold the arm where it is. A lost link
leaves the arm at its last goal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DeviceError
from ..interfaces import Clock
from ..models import ArmModel, load_model
from ..rig import Rig
from ..types import F64
from . import ArmDevices
from .controller import POLL_S, Sample, VendorFault, ended, vendor_module
from .hand import Hand
from .remote import remote_devices

SERVO, POSITION = 1, 0  # modes: of the arm, of the gripper
READY, STOP, STOPPED = 0, 4, (4, 5)  # states: to ask for, and reported (stopped, system reset)
SETTLE_S = 1.0  # from asking for a state to reporting it, at five reports a second
TIMEOUT_S = 1.0  # of one answer
FULL_SPEED = 5000  # of the gripper, r/min
FULL_PULSES = 850.0  # open; 0 = shut (the vendor's manual of the xArm Gripper)


def connect(name: str, rig: Rig, port: str, clock: Clock) -> ArmDevices:
    """Arm `name` of `rig`, whose control box has the IP address `port`; nothing is opened yet."""
    model = load_model(rig.arms[name].model)
    controller = XarmController(port, model, clock, rig.gripper_of(name) is not None)
    return remote_devices(name, rig, controller, clock, gripper=True)


class XarmController:
    """One control box; implements `Controller`."""

    def __init__(self, address: str, model: ArmModel, clock: Clock, gripper: bool) -> None:
        self._address = address
        self._model = model
        self._clock = clock
        self._gripper = gripper
        self._arm: Any = None
        self._hand: Hand | None = None

    def connect(self) -> None:
        if self._arm is not None and not self._arm.connected:
            self.release()
        if self._arm is None:
            self._arm = _opened(self._address, True)
        arm, n = self._arm, len(self._model.joints)
        if arm.axis != n:
            raise DeviceError(
                f"{self._address} is an arm with {arm.axis} joints, '{self._model.name}' has {n}"
            )
        self._check(arm.get_err_warn_code()[0])
        for method, value in ((arm.motion_enable, True), (arm.set_mode, SERVO), (arm.set_state, READY)):
            self._check(method(value))
        end = self._clock.now() + round(SETTLE_S * 1e9)
        while arm.state in STOPPED and self._clock.now() < end:  # until a report says what it does now
            self._clock.sleep_until(self._clock.now() + round(POLL_S * 1e9))
        code, states = arm.get_joint_states(is_radian=True)
        self._check(code)
        self.send(np.array(states[0][:n]), None)
        if self._gripper and self._hand is None:
            calls = XarmGripper(self._address, self._model.gripper_width_max_m)
            self._hand = Hand("xArm Gripper", calls, self._clock)

    def sample(self) -> Sample | None:
        arm, n = self._arm, len(self._model.joints)
        code, states = arm.get_joint_states(is_radian=True)
        if code:
            raise DeviceError(f"{self._address} gave no state (code {code}); check its cable and its power")
        q, dq, tau = (np.array(values[:n]) for values in states)
        reported = (arm.temperatures, arm.voltages)
        celsius, volt = (np.array((list(values) + [np.nan] * n)[:n], float) for values in reported)
        width_m, width_ns = (np.nan, 0) if self._hand is None else self._hand.latest
        return Sample(q, dq, tau, celsius, volt, width_m, width_ns=width_ns, faults=self._faults(True))

    def send(self, q: F64, width_m: float | None) -> None:
        self._check(self._arm.set_servo_angle_j(q.tolist(), is_radian=True))
        if width_m is not None and self._hand is not None:
            self._hand.go(width_m)

    def release(self) -> None:
        arm, hand = self._arm, self._hand
        self._arm = self._hand = None
        if hand is not None:
            hand.close()
        if arm is not None and arm.connected:
            ended(arm.set_state, STOP)
            ended(arm.motion_enable, False)
            ended(arm.disconnect)

    def _faults(self, stopped: bool) -> tuple[str, ...]:
        """The box's error in the vendor's words; with `stopped`, that it was stopped too."""
        arm = self._arm
        if arm.has_error or arm.error_code:
            error = vendor_module("xarm.core.config.x_code", "xarm").ControllerError(arm.error_code)
            what, why = error.title["en"], error.description["en"]
            return (f"error {arm.error_code}: {what}; {why} Clear it in Studio",)
        return ("stopped; enable it in Studio",) if stopped and arm.state in STOPPED else ()

    def _check(self, code: int) -> None:
        """Raise what is wrong with the arm, or with a call of the SDK that gave `code`."""
        if not self._arm.connected:
            raise DeviceError(f"{self._address} closed the connection")
        if code:
            self._arm.get_err_warn_code()
        if faults := self._faults(False):
            raise VendorFault(faults[0])
        if code:
            raise DeviceError(f"{self._address} refused a call (code {code} in the SDK's list of API codes)")


class XarmGripper:
    """The xArm Gripper's calls, on a connection of its own; implements `HandCalls`."""

    def __init__(self, address: str, width_max_m: float) -> None:
        self._pulses_m = FULL_PULSES / width_max_m
        self._arm = _opened(address, False)
        for method, value in (("enable", True), ("mode", POSITION), ("speed", FULL_SPEED)):
            self._check(getattr(self._arm, f"set_gripper_{method}")(value))

    def width(self) -> float:
        code, pulses = self._arm.get_gripper_position()
        self._check(code)
        return pulses / self._pulses_m

    def move(self, width_m: float, closing: bool) -> None:
        self._check(self._arm.set_gripper_position(round(width_m * self._pulses_m), wait_motion=False))

    def _check(self, code: int) -> None:
        if code:
            raise DeviceError(f"xArm Gripper: the SDK's code {code}; see it in Studio")


def _opened(address: str, report: bool) -> Any:
    """A connection of the SDK, which neither sets a baud rate nor clears an error because of that."""
    sdk = vendor_module("xarm.wrapper", "xarm")
    options = {"enable_report": report, "baud_checkset": False, "check_is_ready": False}
    arm = sdk.XArmAPI(address, is_radian=True, do_not_open=True, **options)
    try:
        arm.connect()
    except Exception as error:  # the SDK raises no narrower one
        raise DeviceError(f"{address}: {error}; check `port` (the control box's IP address)") from None
    arm.set_timeout(TIMEOUT_S)
    return arm
