"""The xArm Gripper on its serial line behind the control box, and the SDK's connections."""

from __future__ import annotations

from typing import Any

from ..errors import DeviceError
from .controller import vendor_module

TIMEOUT_S = 1.0  # of one answer
POSITION = 0  # mode of the gripper
FULL_SPEED = 5000  # r/min, its highest
FULL_PULSES = 850.0  # open; 0 = shut (the vendor's manual of the xArm Gripper)


class XarmGripper:
    """The xArm Gripper's calls, on a connection of its own; implements `HandCalls`."""

    def __init__(self, address: str, width_max_m: float) -> None:
        self._pulses_m = FULL_PULSES / width_max_m
        self._arm = connection(address, False)
        for method, value in (("enable", True), ("mode", POSITION), ("speed", FULL_SPEED)):
            self._check(getattr(self._arm, f"set_gripper_{method}")(value))

    def width(self) -> float:
        code, pulses = self._arm.get_gripper_position()
        self._check(code)
        return pulses / self._pulses_m

    def move(self, width_m: float, closing: bool) -> None:
        self._check(self._arm.set_gripper_position(round(width_m * self._pulses_m), wait_motion=False))

    def close(self) -> None:
        self._arm.disconnect()

    def _check(self, code: int) -> None:
        if code:
            raise DeviceError(f"xArm Gripper: the SDK's code {code}; see it in Studio")


def connection(address: str, report: bool) -> Any:
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
