"""Trossen WidowX AI: six joints and a gripper behind one controller box, through `trossen-arm`.

The rig's `port` is the controller's IP address (192.168.1.2 as shipped). The SDK's own thread exchanges UDP frames
with the controller; a silent network still blocks its calls for 12 ms (measured), which is why `Link` makes them.

Torque off is mode `idle`, in which the controller brakes all joints ("All joints are braked", the SDK's own words):
they give way slowly under a load, so park first. A lost link leaves the controller to its last goal.
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
from .controller import Sample, VendorFault, vendor_module
from .remote import remote_devices

TCP_PORT = 50001  # of the controller's configuration; states and goals go over UDP
CONNECT_S = 3.0
AXES = 7  # six joints and the finger carriage
WAY_OUT = "look at the arm, then power-cycle its controller or call `clear_error()` of trossen_arm's driver"


def connect(name: str, rig: Rig, port: str, clock: Clock) -> ArmDevices:
    """Arm `name` of `rig`, whose controller has the IP address `port`; nothing is opened yet."""
    controller = TrossenController(name, port, load_model(rig.arms[name].model))
    return remote_devices(name, rig, controller, clock, gripper=True)


class TrossenController:
    """One WidowX AI; implements `Controller`. The gripper's axis is one finger's travel in m, as in `model`."""

    def __init__(self, name: str, address: str, model: ArmModel) -> None:
        self._name = name
        self._address = address
        self._model = model
        self._sdk: Any = None
        self._driver: Any = None
        self._seen = -1  # number of the last output

    def connect(self) -> None:
        self.release()
        sdk = self._sdk = vendor_module("trossen_arm", "trossen")
        driver = self._driver = (
            sdk.TrossenArmDriver()
        )  # kept at once: one that fails holds its connection too
        driver.set_log_level(sdk.LogLevel.critical)
        tool = sdk.StandardEndEffector.wxai_v0_follower
        self._call(driver.configure, sdk.Model.wxai_v0, tool, self._address, False, CONNECT_S)
        self._seen = -1
        # Mode `position` starts from the measured pose; the goal is set at once so that no older one is left.
        self._call(driver.set_all_modes, sdk.Mode.position)
        self._go(list(self._call(driver.get_all_positions)))

    def sample(self) -> Sample | None:
        output = self._call(self._driver.get_robot_output)
        if output.header.id == self._seen:
            return None
        self._seen = output.header.id
        axes = output.joint.all
        q, dq, tau = (np.array(list(axis)) for axis in (axes.positions, axes.velocities, axes.efforts))
        hottest = np.maximum(list(axes.rotor_temperatures), list(axes.driver_temperatures))
        n = len(self._model.joints)
        return Sample(
            q[:n],
            dq[:n],
            tau[:n],
            hottest[:n],
            np.full(n, np.nan),
            width_m=float(self._model.angle_to_width(q[n])),
            force_n=-float(tau[n]) / self._model.gripper_lever_m,  # the effort is the motor's, and opens
        )

    def send(self, q: F64, width_m: float | None) -> None:
        if width_m is None:
            return self._call(self._driver.set_arm_positions, self._sdk.VectorDouble(q.tolist()), 0.0, False)
        return self._go([*q.tolist(), float(self._model.width_to_angle(width_m))])

    def release(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            self._call(driver.cleanup)  # sets mode idle

    def _go(self, goals: list[float]) -> None:
        self._call(self._driver.set_all_positions, self._sdk.VectorDouble(goals), 0.0, False)

    def _call(self, method: Any, *values: Any) -> Any:
        """The SDK's answer; its exceptions, and a state of error that they tell of, as ours."""
        try:
            return method(*values)
        except (self._sdk.RuntimeError, self._sdk.LogicError) as error:
            text = str(error).split("\nPlease refer")[0]
            if text.startswith("Error occurred"):
                raise VendorFault(f"{text}; {WAY_OUT}") from None
            raise DeviceError(f"{text}; check `port` (the controller's IP address) and its power") from None
