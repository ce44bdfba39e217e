"""The guard's hold on the devices: all arms and grippers of the rig as one flat vector, (M,).

Arms first, in the order of the rig, then the grippers. A device that fails costs one sample, never the cycle:
its state grows stale, and the guard holds because of that.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from ..errors import RigError
from ..interfaces import Arm, Gripper
from ..rig import Rig
from ..types import F64, ArmState, GripperState
from .commands import Layout
from .limits import LimitCounter
from .monitor import Freshness

log = logging.getLogger(__name__)

T = TypeVar("T")


class Devices:
    """Arms and grippers, their limits and their latest state.

    `v_max`, `a_max`, `j_max` (M,): the tighter of the rig's and the device's own limit; `layout` holds the
    position limits. Raises `RigError` when devices and rig do not fit together.
    """

    def __init__(
        self, rig: Rig, arms: Mapping[str, Arm], grippers: Mapping[str, Gripper], limits: LimitCounter
    ) -> None:
        self._arms, self._grippers = dict(arms), dict(grippers)
        self._limits = limits
        self._complained: dict[str, str] = {}
        for kind, have, want in (("arms", arms, rig.arms), ("grippers", grippers, rig.grippers)):
            if set(have) != set(want):
                raise RigError(f"guard: {kind} {sorted(have)} are not the rig's {sorted(want)}")
        low, high, v_max, a_max, j_max, tau_max, names = [], [], [], [], [], [], []
        places: dict[str, slice] = {}
        for name in rig.arms:
            own, mine = arms[name].spec, rig.joint_spec(name)
            if own.names != mine.names:
                raise RigError(f"guard: arm '{name}' has the joints {own.names}, the rig {mine.names}")
            places[name] = slice(len(names), len(names) + mine.n)
            names += [f"{name}.{joint}" for joint in mine.names]
            low += list(np.maximum(own.q_min, mine.q_min))
            high += list(np.minimum(own.q_max, mine.q_max))
            v_max += list(np.minimum(own.dq_max, mine.dq_max))
            a_max += list(np.minimum(own.ddq_max, mine.ddq_max))
            j_max += list(np.minimum(own.dddq_max, mine.dddq_max))
            tau_max += list(np.minimum(own.tau_max, mine.tau_max))
        self.n_joints = len(names)
        index: dict[str, int] = {}
        for name, config in rig.grippers.items():
            spec = grippers[name].spec
            index[name] = len(names)
            names.append(name)
            low.append(spec.width_min)
            high.append(spec.width_max)
            v_max.append(min(spec.speed_max, config.speed_m_s))
            a_max.append(min(spec.accel_max, config.acceleration_m_s2))
            j_max.append(min(spec.jerk_max, config.jerk_m_s3))
        self.names = tuple(names)
        self.layout = Layout(places, index, len(names), np.array(low), np.array(high))
        self.v_max, self.a_max, self.j_max = np.array(v_max), np.array(a_max), np.array(j_max)
        self.tau_max = np.array(tau_max)  # (n_joints,)
        self.measured: F64 = np.zeros(len(names))
        self.tau: F64 = np.zeros(self.n_joints)
        self.force_max = {  # gripper -> N
            name: min(grippers[name].spec.force_max, config.force_n) for name, config in rig.grippers.items()
        }
        self.arm_states: dict[str, ArmState] = {}
        self.gripper_states: dict[str, GripperState] = {}
        self.freshness = Freshness(round(rig.guard.stale_state_ms * 1e6))

    def open(self) -> None:
        """Open all, or none: goal := present, then torque on, is the drivers' contract."""
        opened: list[Arm | Gripper] = []
        try:
            for device in (*self._arms.values(), *self._grippers.values()):
                opened.append(device)
                device.open()
        except BaseException:
            for device in opened:
                self._try("open", device.close)
            raise

    def close(self) -> None:
        """Release all (torque off), even when one fails; the first error is raised at the end."""
        errors: list[Exception] = []
        for name, device in (*self._arms.items(), *self._grippers.items()):
            try:
                device.close()
            except Exception as error:
                log.error("%s: closing failed: %s", name, error)
                errors.append(error)
        if errors:
            raise errors[0]

    def read(self, now_ns: int) -> str | None:
        """Read all; what fails or is not finite keeps its old values. Returns a device's own fault."""
        fault = None
        for name, arm in self._arms.items():
            state = self._try(name, arm.read)
            if state is None:
                continue
            at = self.layout.arms[name]
            if len(state.q) != at.stop - at.start or not math.isfinite(state.q.sum()):
                self._limits.note("device")
                continue
            self.measured[at] = state.q
            self.tau[at] = state.tau  # NaN (not reported) compares as not above any limit
            self.arm_states[name] = state
            self.freshness.note(name, min(state.t_ns, now_ns))
            if state.faults:
                fault = f"{name}: {', '.join(state.faults)}"
        for name, gripper in self._grippers.items():
            grip = self._try(name, gripper.read)
            if grip is None:
                continue
            if not math.isfinite(grip.width_m + grip.force_n):
                self._limits.note("device")
                continue
            self.measured[self.layout.grippers[name]] = grip.width_m
            self.gripper_states[name] = grip
            self.freshness.note(name, min(grip.t_ns, now_ns))
        return fault

    def read_all(self, now_ns: int) -> None:
        """As `read`, but raises what a device raises: there is no older state to fall back on."""
        for arm in self._arms.values():
            arm.read()
        for gripper in self._grippers.values():
            gripper.read()
        self.read(now_ns)

    def send(self, sent: F64) -> None:
        """Command `sent` (M,) to all devices."""
        layout = self.layout
        for name, arm in self._arms.items():
            try:
                arm.command(sent[layout.arms[name]])
            except Exception as error:
                self._complain(name, error)
        for name, gripper in self._grippers.items():
            try:
                gripper.command(float(sent[layout.grippers[name]]))
            except Exception as error:
                self._complain(name, error)

    def hottest(self) -> float | None:
        """Highest temperature any servo reports, °C; None when none does."""
        temperatures = [t for state in self.arm_states.values() for t in state.temperature_c.tolist()]
        return max((t for t in temperatures if t > -math.inf), default=None)  # NaN = not reported

    def _try(self, name: str, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except Exception as error:
            self._complain(name, error)
            return None

    def _complain(self, name: str, error: Exception) -> None:
        self._limits.note("device")
        text = str(error)
        if self._complained.get(name) != text:  # once, not 200 times a second
            self._complained[name] = text
            log.warning("%s: %s", name, text)
