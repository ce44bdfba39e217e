"""An arm and its gripper as devices, on the servos of one chain."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DeviceError
from ..models import ArmModel, load_model
from ..rig import GripperConfig, Rig
from ..types import F64, ArmState, GripperSpec, GripperState, JointSpec, frozen
from . import ArmDevices
from .chain import Reading, ServoChain


def chain_devices(name: str, rig: Rig, chain: ServoChain) -> ArmDevices:
    """Arm `name` of `rig` and, where the rig has one, its gripper, on one `chain`."""
    arm = ChainArm(name, rig.joint_spec(name), chain)
    gripper = rig.gripper_of(name)
    if gripper is None:
        return ArmDevices(arm, None)
    model = load_model(rig.arms[name].model)
    return ArmDevices(arm, ChainGripper(gripper, rig.grippers[gripper], model, chain))


class ChainArm:
    """The joints of `spec` among the motors of `chain`; implements `Arm`."""

    def __init__(self, name: str, spec: JointSpec, chain: ServoChain) -> None:
        self.name = name
        self._spec = spec
        self._chain = chain

    @property
    def spec(self) -> JointSpec:
        return self._spec

    @property
    def watchdog_ns(self) -> int | None:
        """After how long a silence the servos stop by themselves; None: they do not."""
        return self._chain.watchdog_ns

    def open(self) -> None:
        names, low, high = self._spec.names, self._spec.q_min.tolist(), self._spec.q_max.tolist()
        self._chain.open(self.name, names, dict(zip(names, zip(low, high, strict=True), strict=True)))

    def read(self) -> ArmState:
        """One cycle of the bus, or what the gripper's gave; the time is that of the oldest joint."""
        joints = self._chain.cycle(self.name, self._spec.names)

        def column(field: str) -> F64:
            return frozen([getattr(joint, field) for joint in joints])

        return ArmState(
            min(joint.t_ns for joint in joints),
            *(column(field) for field in ("q", "dq", "tau", "temperature_c", "voltage_v")),
            faults=_faults(dict(zip(self._spec.names, joints, strict=True))),
        )

    def command(self, q: F64) -> None:
        goals = np.asarray(q, np.float64)
        if goals.shape != (self._spec.n,):
            raise DeviceError(f"{self.name}: goals {goals} are not one angle a joint; nothing was sent")
        self._chain.command(dict(zip(self._spec.names, goals.tolist(), strict=True)))

    def hold(self) -> None:
        if self._chain.is_open(self.name):
            self.command(np.array([joint.q for joint in self._chain.cycle(self.name, self._spec.names)]))

    def slack(self, on: bool) -> None:
        """Let go and read on, or hold where it is."""
        (self._chain.slacken if on else self._chain.stiffen)(self.name, self._spec.names)

    def close(self) -> None:
        self._chain.close(self.name, self._spec.names)


class ChainGripper:
    """The jaw of `model` among the motors of `chain`, in metres between the pads; implements `Gripper`."""

    def __init__(self, name: str, config: GripperConfig, model: ArmModel, chain: ServoChain) -> None:
        assert model.gripper_joint is not None
        self.name = name
        self._motor = model.gripper_joint
        self._model = model
        self._chain = chain
        self._spec = GripperSpec(
            width_min=0.0,
            width_max=model.gripper_width_max_m,
            speed_max=config.speed_m_s,
            accel_max=config.acceleration_m_s2,
            jerk_max=config.jerk_m_s3,
            force_max=config.force_n,
        )

    @property
    def spec(self) -> GripperSpec:
        return self._spec

    def open(self) -> None:
        self._chain.open(self.name, [self._motor], {self._motor: self._model.gripper_range()})

    def read(self) -> GripperState:
        seen = self._chain.cycle(self.name, [self._motor])[0]
        width = float(self._model.angle_to_width(seen.q))
        return GripperState(
            seen.t_ns, max(width, 0.0), -seen.tau / self._model.gripper_lever_m, faults=seen.faults
        )

    def command(self, width_m: float) -> None:
        if not math.isfinite(width_m):
            raise DeviceError(f"{self.name}: width {width_m} is not finite; nothing was sent")
        self._chain.command({self._motor: float(self._model.width_to_angle(width_m))})

    def slack(self, on: bool) -> None:
        """Let go and read on, or hold where it is."""
        (self._chain.slacken if on else self._chain.stiffen)(self.name, [self._motor])

    def close(self) -> None:
        self._chain.close(self.name, [self._motor])


def _faults(joints: dict[str, Reading]) -> tuple[str, ...]:
    return tuple(f"{name}: {fault}" for name, joint in joints.items() for fault in joint.faults)
