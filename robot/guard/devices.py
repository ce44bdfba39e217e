"""The guard's hold on the devices: all arms and grippers of the rig as one flat vector, (M,).

Arms first, in the order of the rig, then the grippers. A device that fails costs one sample, never the cycle:
its state grows stale, and the guard holds because of that.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Mapping

import numpy as np

from ..errors import DeviceError, RigError
from ..interfaces import Arm, Gripper, Slackable, Watched
from ..rig import Rig
from ..types import F64, ArmState, GripperState
from .commands import FAR, FUTURE_NS, Layout
from .limits import LimitCounter
from .monitor import Freshness

log = logging.getLogger(__name__)

TELL_AGAIN_NS = 10_000_000_000  # between two log lines of the same text
TOLD_MAX = 64  # texts that are remembered


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
        self._complained: dict[tuple[str, str], int] = {}  # what was logged -> when, ns
        self.trouble: dict[str, str] = {}  # device that could not be read last time -> why
        self._now = 0
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
                with contextlib.suppress(Exception):  # the first error is the one to tell
                    device.close()
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
            first = errors[0]
            told = f"{first}; its torque may still be on: hold the arm, and switch its power off"
            raise DeviceError(told) from first

    def unslackable(self) -> list[str]:
        """Devices that cannot be let go of and read on."""
        devices = (*self._arms.items(), *self._grippers.items())
        return [name for name, device in devices if not isinstance(device, Slackable)]

    def slack(self, on: bool) -> None:
        """Let go of all and read on, or make all hold where they are; raises what a device raises."""
        for device in (*self._arms.values(), *self._grippers.values()):
            if isinstance(device, Slackable):
                device.slack(on)

    def read(self, now_ns: int, *, strict: bool = False) -> str | None:
        """Read all; what fails or cannot be true keeps its old values. Returns a device's own fault.

        `strict` raises what a device raises, and `DeviceError` for a reading that cannot be true: at the start
        there is no older state to fall back on, and what was read becomes the goal.
        """
        self._now = now_ns
        fault = None
        for name, arm in self._arms.items():
            at = self.layout.arms[name]
            try:
                state = _sound_arm(name, arm.read(), self.layout.low[at], self.layout.high[at], now_ns)
            except Exception as error:
                if strict:
                    raise
                self._complain(name, error)
                self.trouble[name] = str(error)
                continue
            self.trouble.pop(name, None)
            self.measured[at] = state.q
            self.tau[at] = state.tau  # NaN (not reported) compares as not above any limit
            self.arm_states[name] = state
            self.freshness.note(name, min(int(state.t_ns), now_ns))
            if state.faults:
                fault = f"{name}: {', '.join(state.faults)}"
        for name, gripper in self._grippers.items():
            try:
                grip = _sound_gripper(name, gripper.read(), now_ns)
            except Exception as error:
                if strict:
                    raise
                self._complain(name, error)
                self.trouble[name] = str(error)
                continue
            self.trouble.pop(name, None)
            self.measured[self.layout.grippers[name]] = grip.width_m
            self.gripper_states[name] = grip
            if grip.faults and fault is None:
                fault = f"{name}: {', '.join(grip.faults)}"
            self.freshness.note(name, min(int(grip.t_ns), now_ns))
        return fault

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

    def watchdogs(self) -> dict[str, int | None]:
        """Arm -> after how long a silence its motors stop by themselves, ns; None: they do not."""
        return {
            name: arm.watchdog_ns if isinstance(arm, Watched) else None for name, arm in self._arms.items()
        }

    def unreported(self) -> dict[str, list[str]]:
        """What the limits look at -> the devices that did not report it in their latest state (NaN, or no state)."""
        arms = {name: self.arm_states.get(name) for name in self._arms}
        grips = {name: self.gripper_states.get(name) for name in self._grippers}
        return {
            "torque": [n for n, s in arms.items() if s is None or np.isnan(s.tau).any()],
            "temperature": [n for n, s in arms.items() if s is None or np.isnan(s.temperature_c).any()],
            "force": [n for n, s in grips.items() if s is None or math.isnan(s.force_n)],
        }

    def hottest(self) -> tuple[float, str] | None:
        """Highest temperature any servo reports, °C, and whose that is; None when none does."""
        found = [
            (t, f"{name}.{self._arms[name].spec.names[k]}")
            for name, state in self.arm_states.items()
            for k, t in enumerate(state.temperature_c.tolist())
            if t > -math.inf  # NaN = not reported
        ]
        return max(found, default=None)

    def _complain(self, name: str, error: Exception) -> None:
        self._limits.note("device")
        text = str(error)
        told = self._complained.get((name, text))
        if told is None or self._now - told > TELL_AGAIN_NS:  # not 200 times a second
            if len(self._complained) > TOLD_MAX:
                self._complained.clear()
            self._complained[name, text] = self._now
            log.warning("%s: %s", name, text)


def _sound_arm(name: str, state: object, low: F64, high: F64, now_ns: int) -> ArmState:
    """`state`, if it may be a reading of an arm with these joint limits (n,) rad; else raises `DeviceError`.

    Torque, temperature and voltage may be NaN: not reported.
    """
    if not isinstance(state, ArmState):
        raise DeviceError(f"{name}: its driver handed out a {type(state).__name__}, not an ArmState")
    for values in (state.q, state.dq, state.tau, state.temperature_c, state.voltage_v):
        if not isinstance(values, np.ndarray) or values.shape != low.shape or values.dtype.kind != "f":
            raise DeviceError(f"{name}: its driver handed out {values!r:.60} for its {low.size} joints")
    if not ((state.q >= low - FAR) & (state.q <= high + FAR)).all():  # NaN fails too
        raise DeviceError(f"{name}: its joints stand at {state.q} rad, which cannot be")
    if not isinstance(state.faults, tuple) or not all(isinstance(fault, str) for fault in state.faults):
        raise DeviceError(f"{name}: its driver handed out {state.faults!r:.60} for its faults")
    _check_time(name, state.t_ns, now_ns)
    return state


def _told(value: float) -> bool:
    return not math.isinf(value)


def _sound_gripper(name: str, state: object, now_ns: int) -> GripperState:
    """The same for a gripper, whose force may be NaN: not reported, so not limited here either."""
    if not isinstance(state, GripperState):
        raise DeviceError(f"{name}: its driver handed out a {type(state).__name__}, not a GripperState")
    for value, told in ((state.width_m, math.isfinite), (state.force_n, _told)):
        if not isinstance(value, float | int | np.floating) or not told(value):
            raise DeviceError(f"{name}: its driver handed out {value!r:.60} for a width or a force")
    if not isinstance(state.faults, tuple) or not all(isinstance(fault, str) for fault in state.faults):
        raise DeviceError(f"{name}: its driver handed out {state.faults!r:.60} for its faults")
    if not abs(state.width_m) < FAR:
        raise DeviceError(f"{name}: its pads stand {state.width_m} m apart, which cannot be")
    _check_time(name, state.t_ns, now_ns)
    return state


def _check_time(name: str, t_ns: object, now_ns: int) -> None:
    if not isinstance(t_ns, int | np.integer) or t_ns > now_ns + FUTURE_NS:
        raise DeviceError(f"{name}: its reading is of {t_ns!r:.40} ns, and it is {now_ns} ns now")
