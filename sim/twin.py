"""The twin: arms, grippers and cameras of a rig, emulated in MuJoCo below the interfaces.

`Twin` is one live simulation of a `Scene`; `TwinArm` and `TwinGripper` implement `Arm` and `Gripper` as the
device does: goals and readings in encoder counts, delayed, with backlash (servos), calibration bias, load and
temperature. `TwinRobot` puts them behind the guard; nothing in it steps physics but the clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np

from ..robot.errors import DeviceError
from ..robot.guard import Guard
from ..robot.interfaces import Camera
from ..robot.models import ArmModel
from ..robot.robot import GuardedRobot
from ..robot.types import F64, ArmState, GripperSpec, GripperState, JointSpec
from .clock import SimClock
from .drives import Motor, follow_equalities
from .randomize.servo import servo_index
from .scene import JointIndex, Scene, prefix
from .servo import RAD_PER_COUNT, to_counts

THERMAL_EVERY = 40  # reads between two updates of the winding temperature


class _ServoGroup:
    """The servos of one arm or gripper: registers in, registers out."""

    def __init__(
        self,
        scene: Scene,
        data: mujoco.MjData,
        index: JointIndex,
        clock: SimClock,
        bias_rad: F64,
        servos: Mapping[str, Motor],
    ) -> None:
        self._model = scene.model
        self._data = data
        self._index = index
        self._clock = clock
        self._servos = [servos[name] for name in index.names]
        self.bias_rad = bias_rad  # (n,) rad, true angle minus reported angle
        self._temperature = np.array([s.ambient_c for s in self._servos])
        self._reads = 0
        # A twin that let go of its arm left zeros in the shared model: take the compiled gains then.
        now = scene.model.actuator_gainprm[index.actuator, 0]
        compiled = scene.nominal["actuator_gainprm"][index.actuator, 0]
        self._gain = np.where(now > 0, now, compiled)
        sensor = scene.model.sensor(f"{index.names[0]}/q").id
        self._delay_ns = round(float(scene.model.sensor_delay[sensor]) * 1e9)
        self._back_emf = np.array([s.back_emf for s in self._servos])
        self._step = np.array([s.step for s in self._servos])
        self._voltage = np.array([s.voltage_v for s in self._servos])
        self._torque_on = True

    @property
    def servo(self) -> Motor:
        return self._servos[0]

    def true_q(self) -> F64:
        """Angles of the links now, without delay, bias or rounding, (n,) rad."""
        i = self._index
        q = self._data.qpos[i.qpos]
        return q + self._data.qpos[i.play_qpos] if i.play_qpos.size else q

    def read(self) -> tuple[int, F64, F64, F64]:
        """Time of measurement (ns), angles (n,) rad, speeds (n,) rad/s, torques (n,) N·m."""
        i, sensed = self._index, self._data.sensordata
        q = sensed[i.sense_q]
        if i.sense_play.size:
            q = q + sensed[i.sense_play]
        dq = to_counts(sensed[i.sense_dq], self._step)  # the speed register counts steps per second
        tau = sensed[i.sense_tau] - self._back_emf * dq
        self._reads += 1
        if self._reads % THERMAL_EVERY == 0:
            self._heat(tau)
        now = self._clock.now()
        return max(0, now - self._delay_ns), to_counts(q - self.bias_rad, self._step), dq, tau

    def write(self, q: F64) -> None:
        """Set the goal registers, (n,) rad as the device reports angles."""
        if q.shape != (len(self._index.names),) or not np.isfinite(q).all():
            raise DeviceError(
                f"{', '.join(self._index.names)}: goal {q} is not one finite angle a joint; nothing was sent"
            )
        self._data.ctrl[self._index.actuator] = to_counts(q, self._step) + self.bias_rad

    def present(self) -> F64:
        """Angles as the device would report them now, without delay, (n,) rad."""
        return to_counts(self.true_q() - self.bias_rad, self._step)

    def torque(self, on: bool) -> None:
        i = self._index.actuator
        gain = self._gain if on else np.zeros_like(self._gain)
        self._model.actuator_gainprm[i, 0] = gain
        self._model.actuator_biasprm[i, 1] = -gain
        self._torque_on = on

    def reset_goal(self) -> None:
        """Goal := present, in the delay line too, so that torque comes on without a jump."""
        goal = self.present() + self.bias_rad
        self._data.ctrl[self._index.actuator] = goal
        for actuator, value in zip(self._index.actuator, goal, strict=True):
            samples = int(self._model.actuator_history[actuator, 0])
            if samples:
                before = self._data.time - self._model.opt.timestep * np.arange(samples, 0, -1)
                mujoco.mj_initCtrlHistory(
                    self._model, self._data, int(actuator), before, np.full((samples, 1), value)
                )

    def _heat(self, tau: F64) -> None:
        """First-order winding temperature."""
        dt = THERMAL_EVERY / 200.0
        for k, servo in enumerate(self._servos):
            steady = servo.steady_c(float(tau[k]))
            self._temperature[k] += dt / servo.thermal_time_s * (steady - self._temperature[k])


class TwinArm:
    """An arm of the twin; implements `Arm`."""

    def __init__(
        self,
        name: str,
        scene: Scene,
        data: mujoco.MjData,
        clock: SimClock,
        bias_rad: F64,
        servos: Mapping[str, Motor],
    ) -> None:
        self.name = name
        self._spec = scene.rig.joint_spec(name)
        self.servos = _ServoGroup(scene, data, scene.arms[name], clock, bias_rad, servos)

    @property
    def spec(self) -> JointSpec:
        return self._spec

    def open(self) -> None:
        self.servos.reset_goal()
        self.servos.torque(True)

    def read(self) -> ArmState:
        t_ns, q, dq, tau = self.servos.read()
        for array in (q, dq, tau):
            array.setflags(write=False)
        return ArmState(t_ns, q, dq, tau, self.servos._temperature.copy(), self.servos._voltage)

    def command(self, q: F64) -> None:
        self.servos.write(np.asarray(q, dtype=np.float64))

    def hold(self) -> None:
        self.servos.write(self.servos.present())

    def slack(self, on: bool) -> None:
        """Let go and read on, or hold where it is."""
        if not on:
            self.servos.reset_goal()
        self.servos.torque(not on)

    def close(self) -> None:
        self.servos.torque(False)


class TwinGripper:
    """The jaw of an arm of the twin, in metres between the pads; implements `Gripper`."""

    def __init__(
        self,
        name: str,
        scene: Scene,
        data: mujoco.MjData,
        clock: SimClock,
        bias_rad: float,
        servos: Mapping[str, Motor],
    ) -> None:
        self.name = name
        config = scene.rig.grippers[name]
        self._model: ArmModel = scene.descriptions[config.arm]
        self.servos = _ServoGroup(scene, data, scene.grippers[name], clock, np.array([bias_rad]), servos)
        self._spec = GripperSpec(
            width_min=0.0,
            width_max=self._model.gripper_width_max_m,
            speed_max=config.speed_m_s,
            accel_max=config.acceleration_m_s2,
            jerk_max=config.jerk_m_s3,
            force_max=config.force_n,
        )

    @property
    def spec(self) -> GripperSpec:
        return self._spec

    def open(self) -> None:
        self.servos.reset_goal()
        self.servos.torque(True)

    def read(self) -> GripperState:
        t_ns, q, _, tau = self.servos.read()
        width = float(self._model.angle_to_width(q[0]))
        return GripperState(t_ns, max(0.0, width), float(-tau[0]) / self._model.gripper_lever_m)

    def command(self, width_m: float) -> None:
        if not math.isfinite(width_m):
            raise DeviceError(f"{self.name}: width {width_m} is not finite; nothing was sent")
        self.servos.write(np.array([self._model.width_to_angle(width_m)]))

    def slack(self, on: bool) -> None:
        """Let go and read on, or hold where it is."""
        if not on:
            self.servos.reset_goal()
        self.servos.torque(not on)

    def close(self) -> None:
        self.servos.torque(False)


def drawn_servos(scene: Scene, draw: Mapping[str, Any]) -> dict[str, Motor]:
    """Constants of each motor by joint name: nominal, or as the episode's draw has those of a servo."""
    at = servo_index(scene)
    out: dict[str, Motor] = dict(scene.servos)
    for k, (name, servo) in enumerate(zip(at.names, at.nominal, strict=True)):
        out[name] = replace(
            servo,
            kt=float(np.ravel(draw.get("servo.kt", np.full(len(at.names), servo.kt)))[k]),
            resistance_ohm=float(
                np.ravel(draw.get("servo.resistance", np.full(len(at.names), servo.resistance_ohm)))[k]
            ),
            voltage_v=float(np.ravel(draw.get("servo.voltage", at.volts))[at.supply[k]]),
        )
    return out


class Twin:
    """One live simulation of `scene`, from its current (possibly randomised) model values; the arms rest.

    `draw` is the episode's randomisation (see `sim.randomize`); the keys read here are
    `sensing.encoder_bias` and `sensing.gripper_bias` (rad or m, one value a joint, arm after arm), and the
    servos' constants, which the registers (load, voltage, temperature) follow.
    Only one `Twin` of a scene may be alive at a time: they share `scene.model`.
    """

    def __init__(self, scene: Scene, draw: Mapping[str, Any] | None = None) -> None:
        self.scene = scene
        self.draw: Mapping[str, Any] = dict(draw or {})
        self.model = scene.model
        self.data = mujoco.MjData(scene.model)
        self.clock = SimClock(self.model, self.data)
        self.arms: dict[str, TwinArm] = {}
        self.grippers: dict[str, TwinGripper] = {}
        servos = drawn_servos(scene, self.draw)
        biases = iter(np.ravel(self.draw.get("sensing.encoder_bias", [])).tolist())
        for name, index in scene.arms.items():
            bias = np.array([next(biases, 0.0) for _ in index.names])
            self.arms[name] = TwinArm(name, scene, self.data, self.clock, bias, servos)
        biases = iter(np.ravel(self.draw.get("sensing.gripper_bias", [])).tolist())
        for name in scene.grippers:
            self.grippers[name] = TwinGripper(name, scene, self.data, self.clock, next(biases, 0.0), servos)
        for name, index in scene.arms.items():  # zero is no pose that every arm can take
            self.data.qpos[index.qpos] = scene.descriptions[name].rest_q_rad
        self.settle()

    def set_arm(self, arm: str, q: F64, width_m: float | None = None) -> None:
        """Put `arm` at `q` (n,) rad, at rest, goals there too; before the episode starts."""
        index = self.scene.arms[arm]
        self.data.qpos[index.qpos] = q
        gripper = self.scene.rig.gripper_of(arm)
        if gripper is not None and width_m is not None:
            angle = self.scene.descriptions[arm].width_to_angle(width_m)
            self.data.qpos[self.scene.grippers[gripper].qpos] = angle
            follow_equalities(self.model, self.data.qpos)
        self.settle()

    def settle(self) -> None:
        """Make every derived quantity, goal and delay line agree with qpos, at rest."""
        self.data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self.data)
        for group in (*self.arms.values(), *self.grippers.values()):
            group.servos.reset_goal()
        for sensor in range(self.model.nsensor):
            samples = int(self.model.sensor_history[sensor, 0])
            if samples:
                address = int(self.model.sensor_adr[sensor])
                dim = int(self.model.sensor_dim[sensor])
                value = np.tile(self._sensor_now(sensor, address, dim), (samples, 1))
                times = None  # as compiled, before time 0
                if self.data.time > 0.0:
                    times = self.data.time - self.model.opt.timestep * np.arange(samples, 0, -1)
                mujoco.mj_initSensorHistory(self.model, self.data, sensor, times, value, 0.0)
        mujoco.mj_forward(self.model, self.data)

    def _sensor_now(self, sensor: int, address: int, dim: int) -> F64:
        """The undelayed value of a joint sensor; others start at zero."""
        kind = int(self.model.sensor_type[sensor])
        if kind == int(mujoco.mjtSensor.mjSENS_JOINTPOS):
            joint = int(self.model.sensor_objid[sensor])
            return np.array([self.data.qpos[self.model.jnt_qposadr[joint]]])
        return np.zeros(dim)

    def pose(self, body: str) -> tuple[F64, F64]:
        """True pose of a body in W now: position (3,) m, quaternion wxyz (4,)."""
        body_id = self.model.body(body).id
        return self.data.xpos[body_id].copy(), self.data.xquat[body_id].copy()

    def site(self, arm: str, site: str) -> tuple[F64, F64]:
        """True pose of a site of `arm` in W now: position (3,) m, rotation matrix (3, 3)."""
        site_id = self.model.site(prefix(arm) + site).id
        return self.data.site_xpos[site_id].copy(), self.data.site_xmat[site_id].reshape(3, 3).copy()


class TwinRobot(GuardedRobot):
    """The twin behind its guard; implements `Robot`. Sim is a device, not a mode."""

    def __init__(self, twin: Twin, cameras: Mapping[str, Camera] | None = None) -> None:
        guard = Guard(twin.scene.rig, twin.arms, twin.grippers, twin.clock)
        super().__init__(twin.scene.rig, twin.clock, guard, cameras or {})
        self.twin = twin

    def release(self) -> None:
        """End a simulated episode where it stands. Hardware has no such door: there, `close` parks first."""
        for camera in self.cameras.values():
            camera.close()


__all__ = ["RAD_PER_COUNT", "Twin", "TwinArm", "TwinGripper", "TwinRobot"]
