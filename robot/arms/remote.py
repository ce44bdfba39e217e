"""An arm and its gripper as devices behind one control box, which a `Link` talks to."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DeviceError, StaleData
from ..interfaces import Clock
from ..models import load_model
from ..rig import Rig
from ..types import F64, ArmState, GripperSpec, GripperState, JointSpec, frozen
from . import ArmDevices
from .controller import Controller, Link

STALE_NS = (
    250_000_000  # a state older than that is an error; the guard has held long before (`stale_state_ms`)
)


def remote_devices(name: str, rig: Rig, controller: Controller, clock: Clock, *, gripper: bool) -> ArmDevices:
    """Arm `name` of `rig` and, where driver and rig have one, its gripper, on one `controller`."""
    link = Link(name, controller, clock)
    arm = RemoteArm(name, rig.joint_spec(name), link, clock)
    carried = rig.gripper_of(name) if gripper else None
    if carried is None:
        return ArmDevices(arm, None)
    config = rig.grippers[carried]
    spec = GripperSpec(
        width_min=0.0,
        width_max=load_model(rig.arms[name].model).gripper_width_max_m,
        speed_max=config.speed_m_s,
        accel_max=config.acceleration_m_s2,
        jerk_max=config.jerk_m_s3,
        force_max=config.force_n,
    )
    return ArmDevices(arm, RemoteGripper(carried, spec, link, clock))


class RemoteArm:
    """The joints of a control box; implements `Arm`."""

    def __init__(self, name: str, spec: JointSpec, link: Link, clock: Clock) -> None:
        self.name = name
        self._spec = spec
        self._link = link
        self._clock = clock

    @property
    def spec(self) -> JointSpec:
        return self._spec

    def open(self) -> None:
        self._link.open(self.name)

    def read(self) -> ArmState:
        """The newest state that came; its time is when it came, less than a millisecond on a wired network after
        it was measured. The state of an arm in error is its last, with the vendor's text among the faults.

        Raises `StaleData`, and `DeviceError` while the box is gone.
        """
        t_ns, sample, faults = self._link.latest(self.name)
        if not faults:
            _check_age(self.name, t_ns, self._clock)
        values = (sample.q, sample.dq, sample.tau, sample.temperature_c, sample.voltage_v)
        return ArmState(t_ns, *(frozen(value) for value in values), faults=faults)

    def command(self, q: F64) -> None:
        goals = np.array(q, np.float64)
        if goals.shape != (self._spec.n,) or not np.isfinite(goals).all():
            raise DeviceError(
                f"{self.name}: goals {goals} are not one finite angle a joint; nothing was sent"
            )
        self._link.command(self.name, q=goals)

    def hold(self) -> None:
        if self._link.is_open(self.name):
            self._link.command(self.name, q=self._link.latest(self.name)[1].q)

    def close(self) -> None:
        self._link.close(self.name)


class RemoteGripper:
    """The gripper of a control box, in metres between the pads; implements `Gripper`."""

    def __init__(self, name: str, spec: GripperSpec, link: Link, clock: Clock) -> None:
        self.name = name
        self._spec = spec
        self._link = link
        self._clock = clock

    @property
    def spec(self) -> GripperSpec:
        return self._spec

    def open(self) -> None:
        self._link.open(self.name)

    def read(self) -> GripperState:
        t_ns, sample, _ = self._link.latest(self.name)
        t_ns = sample.width_ns or t_ns
        _check_age(self.name, t_ns, self._clock)
        return GripperState(t_ns, max(sample.width_m, 0.0), sample.force_n)  # NaN stays NaN, in this order

    def command(self, width_m: float) -> None:
        if not math.isfinite(width_m):
            raise DeviceError(f"{self.name}: width {width_m} is not finite; nothing was sent")
        self._link.command(
            self.name, width_m=min(max(float(width_m), self._spec.width_min), self._spec.width_max)
        )

    def close(self) -> None:
        self._link.close(self.name)


def _check_age(name: str, t_ns: int, clock: Clock) -> None:
    age_ns = clock.now() - t_ns
    if age_ns > STALE_NS:
        raise StaleData(name, age_ns, STALE_NS)
