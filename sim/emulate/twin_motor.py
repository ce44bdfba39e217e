"""The servos of the twin as motors behind emulated firmware."""

from __future__ import annotations

import math

from ..scene import JointIndex
from ..servo import Servo
from ..twin import Twin
from .motor import Sensed

TURN = 2.0 * math.pi  # rad
CENTRE = 0.5  # turns: where the encoder stands in the middle of the joint's range
HEAT_NS = 200_000_000  # between two updates of the winding's temperature


class TwinMotor:
    """Joint `k` of `index` in a twin; implements `Motor`.

    `zero_rad` is the joint angle at which the encoder says `CENTRE`, `sign` -1 where it counts against the joint.
    Gains and torque limits are written into the twin's model: a servo that lets go has none.
    """

    def __init__(
        self, twin: Twin, index: JointIndex, k: int, servo: Servo, zero_rad: float, sign: int = 1
    ) -> None:
        self._twin = twin
        self._servo = servo
        self._zero_rad = zero_rad
        self._sign = sign
        self._actuator, self._dof = int(index.actuator[k]), int(index.dof[k])
        self._q, self._dq = int(index.sense_q[k]), int(index.sense_dq[k])
        self._tau = int(index.sense_tau[k])
        self._play = int(index.sense_play[k]) if index.sense_play.size else -1
        self._temperature_c = servo.ambient_c
        self._heated_ns = twin.clock.now()

    def sense(self) -> Sensed:
        sensed, servo = self._twin.data.sensordata, self._servo
        q = float(sensed[self._q]) + (float(sensed[self._play]) if self._play >= 0 else 0.0)
        dq = float(sensed[self._dq])
        duty = float(sensed[self._tau]) * servo.resistance_ohm / (servo.kt * servo.voltage_v)
        current_a = (duty * servo.voltage_v - servo.kt * dq) / servo.resistance_ohm
        self._heat(current_a)
        return Sensed(
            turns=CENTRE + self._sign * (q - self._zero_rad) / TURN,
            turns_s=self._sign * dq / TURN,
            duty=self._sign * duty,
            current_a=self._sign * current_a,
            supply_v=servo.voltage_v,
            temperature_c=self._temperature_c,
        )

    def drive(self, turns: float | None, duty_max: float, p: int) -> None:
        model, servo, k = self._twin.model, self._servo, self._actuator
        if turns is None:
            model.actuator_gainprm[k, 0] = model.actuator_biasprm[k, 1] = 0.0
            return
        stiffness = servo.stiffness * p / servo.kp_register
        model.actuator_gainprm[k, 0], model.actuator_biasprm[k, 1] = stiffness, -stiffness
        most = servo.torque_max * min(1.0, duty_max / servo.duty_max)
        model.actuator_forcerange[k] = -most, most
        self._twin.data.ctrl[k] = self._zero_rad + self._sign * (turns - CENTRE) * TURN

    def push(self, torque_n_m: float) -> None:
        """Somebody pushes the joint with that torque from now on, in its own direction; 0 ends that."""
        self._twin.data.qfrc_applied[self._dof] = torque_n_m

    def _heat(self, current_a: float) -> None:
        """First-order winding temperature from the copper loss."""
        now = self._twin.clock.now()
        if now - self._heated_ns < HEAT_NS:
            return
        dt_s, self._heated_ns = (now - self._heated_ns) * 1e-9, now
        steady = (
            self._servo.ambient_c
            + self._servo.thermal_resistance_c_w * current_a**2 * self._servo.resistance_ohm
        )
        self._temperature_c += min(1.0, dt_s / self._servo.thermal_time_s) * (steady - self._temperature_c)
