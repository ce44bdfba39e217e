"""Universal Robots e-Series (UR5e; others with a description of their own), through `ur-rtde`.

The rig's `port` is the controller's IP address; the pendant must be in remote control. The SDK receives 500 states a
second in a thread of its own; goals go out as `servoj`, whose lookahead and gain are UR's defaults. Joint torques are
not reported (RTDE has currents and modelled moments only), so the arm's own protective stop is what feels a contact.

Torque off: the control script ends, the arm stays powered and holds its position; brakes are set on the pendant. A lost
link leaves the script at its last goal, where the arm stands still.
"""

from __future__ import annotations

import socket
from typing import Any

import numpy as np

from ..errors import DeviceError
from ..interfaces import Clock
from ..rig import Rig
from ..types import F64
from . import ArmDevices
from .controller import Sample, VendorFault, ended, until, vendor_module
from .remote import remote_devices

TCP_PORT = 30004  # RTDE
REACH_S = 1.0  # for the network, a first state, and the script to run
STEP_S = 0.002  # `t` of servoj: the controller's cycle
LOOKAHEAD_S, GAIN = 0.1, 300.0  # of servoj, UR's script manual: 0.03-0.2 and 100-2000, these are its defaults
HALT = 10.0  # m/s2, ur_rtde's default for `servoStop`
PENDANT = "see the pendant"
POWER = "power on and release the brakes on the pendant"
CLOSE = "close the safeguard and reset it"
SAFETY = {  # RTDE `safety_mode`; 1 normal and 2 reduced are none
    3: "protective stop; find what it touched, then unlock it on the pendant",
    5: f"safeguard stop; {CLOSE}",
    6: f"system emergency stop; make it safe, then {POWER}",
    7: f"robot emergency stop; make it safe, release the button, then {POWER}",
    8: f"safety violation; {PENDANT}",
    12: f"automatic mode safeguard stop; {CLOSE}",
    13: "three-position switch stop; press it to its middle",
}
STOPPED = "control script stopped at the pendant; end and start again here"
RUNNING = 7  # RTDE `robot_mode`
MODES = {1: "confirm safety", 2: "booting", 3: "power off", 4: "power on", 5: "idle"}


def connect(name: str, rig: Rig, port: str, clock: Clock) -> ArmDevices:
    """Arm `name` of `rig`, whose controller has the IP address `port`; nothing is opened yet."""
    return remote_devices(name, rig, UrController(port, clock), clock, gripper=False)


class UrController:
    """One UR controller; implements `Controller`.

    The SDK's constructors hold Python's lock while they wait, its `reconnect` does not; so both interfaces are
    made once, while opening, and kept until `release`.
    """

    def __init__(self, address: str, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._receive: Any = None
        self._control: Any = None
        self._seen = 0.0  # s, the controller's time
        self._excused = False  # the script may have stopped because of a safety stop

    def connect(self) -> None:
        receive_sdk = vendor_module("rtde_receive", "ur")
        control_sdk = vendor_module("rtde_control", "ur")
        self._probe()
        if self._receive is None:
            self._receive = _call(receive_sdk.RTDEReceiveInterface, self._address)
        elif not self._receive.isConnected():
            _call(self._receive.reconnect)
        before = self._seen = self._receive.getTimestamp()
        if not until(self._clock, lambda: self._receive.getTimestamp() != before, REACH_S):
            raise DeviceError(f"no state came from {self._address}; {PENDANT}")
        if faults := self._faults():
            raise VendorFault(faults[0])
        if self._control is None:
            self._control = _call(control_sdk.RTDEControlInterface, self._address)
        elif not self._control.isConnected():
            if not ended(self._control.disconnect):  # its threads would meet those of `reconnect`
                self._control = None
                raise DeviceError("ur_rtde does not end its lost connection")
            _call(self._control.reconnect)
        elif not self._control.isProgramRunning():
            if not self._excused:  # a person stopped it: whoever did starts it
                raise VendorFault(STOPPED)
            _call(self._control.reuploadScript)
        if not until(self._clock, self._control.isProgramRunning, REACH_S):
            raise DeviceError(f"the control script does not run on {self._address}; {PENDANT}")
        self._excused = False
        self.send(np.array(self._receive.getActualQ()), None)

    def sample(self) -> Sample | None:
        receive, control = self._receive, self._control
        if not (receive.isConnected() and control.isConnected()):
            raise DeviceError(f"{self._address} closed the connection")
        stamp = receive.getTimestamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        faults = self._faults()
        if not faults and not control.isProgramRunning():
            faults = (STOPPED,)
        q, dq = np.array(receive.getActualQ()), np.array(receive.getActualQd())
        celsius, volt = np.array(receive.getJointTemperatures()), np.array(receive.getActualJointVoltage())
        return Sample(q, dq, np.full(q.shape, np.nan), celsius, volt, faults=faults)

    def send(self, q: F64, width_m: float | None) -> None:
        control = self._control
        # Checked first: on a lost link the SDK would reconnect by itself and send the goal after that.
        if not control.isConnected():
            raise DeviceError(f"{self._address} closed the connection")
        if not _call(control.servoJ, q.tolist(), 0.0, 0.0, STEP_S, LOOKAHEAD_S, GAIN):
            raise DeviceError("servoJ was refused; the arm stopped")

    def release(self) -> None:
        control, receive = self._control, self._receive
        self._control = self._receive = None
        if control is not None and control.isConnected() and control.isProgramRunning():
            ended(control.servoStop, HALT)
            ended(control.stopScript)
        for interface in (control, receive):
            if interface is not None:
                ended(interface.disconnect)

    def _faults(self) -> tuple[str, ...]:
        safety, mode = self._receive.getSafetyMode(), self._receive.getRobotMode()
        self._excused = self._excused or safety not in (1, 2) or mode != RUNNING
        if safety not in (1, 2):
            return (SAFETY.get(safety, f"safety mode {safety}; {PENDANT}"),)
        return () if mode == RUNNING else (f"robot mode '{MODES.get(mode, mode)}'; {POWER}",)

    def _probe(self) -> None:
        """Whether anybody listens: the SDK waits for minutes where nobody does."""
        try:
            socket.create_connection((self._address, TCP_PORT), REACH_S).close()
        except OSError as error:
            where = f"{self._address}:{TCP_PORT}"
            raise DeviceError(f"nobody answers at {where} ({error}); check `port` (the IP address)") from None


def _call(method: Any, *values: Any) -> Any:
    try:
        return method(*values)
    except (RuntimeError, ValueError) as error:  # what the C++ exceptions of ur_rtde become
        raise DeviceError(f"{error}; {PENDANT}") from None
