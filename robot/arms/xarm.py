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
from .controller import Sample, VendorFault, ended, until, vendor_module
from .hand import Hand
from .remote import remote_devices
from .xarm_gripper import XarmGripper, connection

TCP_PORT = 502  # where the SDK's requests go
SERVO = 1  # mode of the arm
READY, STOP, STOPPED = 0, 4, (4, 5)  # states: to ask for, and reported (stopped, system reset)
STOP_TEXT = "stopped; enable it in Studio, or end and start again here"
SETTLE_S = 1.0  # from asking for a state to reporting it, at five reports a second


def connect(name: str, rig: Rig, port: str, clock: Clock) -> ArmDevices:
    """Arm `name` of `rig`, whose control box has the IP address `port`; nothing is opened yet."""
    controller = XarmController(
        port, load_model(rig.arms[name].model), clock, rig.gripper_of(name) is not None
    )
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
        self._started = False  # motion was enabled here, and went well

    def connect(self) -> None:
        if self._arm is not None and not self._arm.connected:
            self.release()
        arm = self._arm = self._arm or connection(self._address, True)
        n = len(self._model.joints)
        if arm.axis != n:
            raise DeviceError(
                f"{self._address} has {arm.axis} joints, its description '{self._model.name}' {n}"
            )
        self._check(arm.get_err_warn_code()[0])
        if self._started and (faults := self._faults(True)):  # whoever stopped it starts it
            raise VendorFault(faults[0])
        for method, value in ((arm.motion_enable, True), (arm.set_mode, SERVO), (arm.set_state, READY)):
            self._check(method(value))
        until(self._clock, lambda: arm.state not in STOPPED, SETTLE_S)  # a report says what it does now
        self.send(self._state()[0], None)
        self._started = True
        if self._gripper and self._hand is None:
            calls = XarmGripper(self._address, self._model.gripper_width_max_m)
            self._hand = Hand("xArm Gripper", calls, self._clock)

    def sample(self) -> Sample | None:
        q, dq, tau = self._state()
        reported, nan = (self._arm.temperatures, self._arm.voltages), [np.nan] * q.size
        celsius, volt = (np.array((list(values) + nan)[: q.size], float) for values in reported)
        width_m, width_ns = (np.nan, 0) if self._hand is None else self._hand.latest
        return Sample(q, dq, tau, celsius, volt, width_m, width_ns=width_ns, faults=self._faults(True))

    def send(self, q: F64, width_m: float | None) -> None:
        self._check(self._arm.set_servo_angle_j(q.tolist(), is_radian=True))
        if width_m is not None and self._hand is not None:
            self._hand.go(width_m)

    def release(self) -> None:
        arm, hand = self._arm, self._hand
        self._arm = self._hand = None
        self._started = False
        if hand is not None:
            hand.close()
        if arm is not None and arm.connected:
            ended(arm.set_state, STOP)
            ended(arm.motion_enable, False)
            ended(arm.disconnect)

    def _state(self) -> list[F64]:
        """Positions, velocities and torques, (n,) each."""
        code, states = self._arm.get_joint_states(is_radian=True)
        if code:
            raise DeviceError(f"{self._address} gave no state (code {code}); check its cable and its power")
        return [np.array(values[: len(self._model.joints)]) for values in states]

    def _faults(self, stopped: bool) -> tuple[str, ...]:
        """The box's error in the vendor's words; with `stopped`, that it was stopped too."""
        arm = self._arm
        if code := arm.error_code:
            error = vendor_module("xarm.core.config.x_code", "xarm").ControllerError(code)
            return (f"error {code}: {error.title['en']}; {error.description['en']} Clear it in Studio",)
        return (STOP_TEXT,) if stopped and arm.state in STOPPED else ()

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
