"""A position servo as the DC motor it is: voltage saturation, back-EMF once, friction, firmware in counts.

MuJoCo expresses it exactly with a `position` actuator and joint damping. The firmware turns the position
error into a duty cycle, `duty = kp * duty_per_rad * error`, saturating at `duty_max`; the motor gives

    tau = kt * duty * V / R  -  (kt^2 / R) * dq          (voltage part, clamped; back-EMF, not clamped)

so the actuator carries the clamped first term (`kp` and `forcerange`) and the joint's damping carries
`viscous + kt^2 / R`. Putting the back-EMF into the actuator as well, as published SO-101 models do, counts it
twice. STS3215 constants: 7.4 V from Rhoban/bam `params/feetech_sts3215_7_4V/m1.json`; 12 V and the duty
law from the recordings in kscalelabs/sysid (duty = kp * 0.16489 * error[rad], saturating at 0.97).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import mujoco
import numpy as np

from ..robot.types import F64

COUNTS_PER_TURN = 4096
RAD_PER_COUNT = 2.0 * math.pi / COUNTS_PER_TURN


@dataclass(frozen=True, slots=True)
class Servo:
    """Constants of one servo, seen at its output shaft."""

    name: str
    voltage_v: float  # V, supply
    kt: float  # N·m/A at the output shaft = V·s/rad
    resistance_ohm: float
    armature_kg_m2: float
    coulomb_n_m: float
    viscous_n_m_s: float
    kp_register: float = 16.0  # firmware P register (LeRobot sets 16)
    duty_per_rad: float = 0.16489  # duty per rad of error, for each unit of kp
    kd_register: float = 0.0  # firmware D register
    duty_per_rad_s: float = 0.0  # duty per rad/s, for each unit of kd
    duty_max: float = 0.97
    play_rad: float = 0.0044  # half of the backlash at the output, rad (0.25 deg)
    command_delay_s: float = 0.008  # goal written -> motor acts (bus + firmware period)
    sense_delay_s: float = 0.005  # measured -> read
    ambient_c: float = 25.0
    thermal_resistance_c_w: float = 9.0  # winding to ambient, °C/W; sets the steady temperature
    thermal_time_s: float = 240.0

    @property
    def stiffness(self) -> float:
        """Torque per rad of position error before saturation, N·m/rad."""
        return self.kp_register * self.duty_per_rad * self.voltage_v * self.kt / self.resistance_ohm

    @property
    def torque_max(self) -> float:
        """Torque at standstill and full duty, N·m."""
        return self.duty_max * self.voltage_v * self.kt / self.resistance_ohm

    @property
    def damping(self) -> float:
        """Viscous friction, back-EMF and the firmware's D term, N·m·s/rad."""
        firmware = self.kd_register * self.duty_per_rad_s * self.voltage_v * self.kt / self.resistance_ohm
        return self.viscous_n_m_s + self.kt**2 / self.resistance_ohm + firmware

    @property
    def back_emf(self) -> float:
        """Torque that back-EMF takes per speed, N·m·s/rad."""
        return self.kt**2 / self.resistance_ohm

    @property
    def step(self) -> float:
        """One count of the encoder, rad."""
        return RAD_PER_COUNT

    def steady_c(self, tau: float) -> float:
        """Temperature, °C, that the winding tends to at a torque (N·m): copper loss (tau / kt)^2 R."""
        loss_w = (tau / self.kt) ** 2 * self.resistance_ohm
        return self.ambient_c + self.thermal_resistance_c_w * loss_w


STS3215_7V4 = Servo(
    name="sts3215_7v4",
    voltage_v=7.4,
    kt=1.2116,
    resistance_ohm=2.676,
    armature_kg_m2=0.0284,
    coulomb_n_m=0.0524,
    viscous_n_m_s=0.0591,
)
STS3215_12V = replace(
    STS3215_7V4,
    name="sts3215_12v",
    voltage_v=12.0,
    kt=2.5,
    resistance_ohm=5.489,
    armature_kg_m2=0.0259,
    coulomb_n_m=0.1143,
    viscous_n_m_s=0.0408,
)

# Goal error in counts times P / 128, and its change in counts times D / 16, are the PWM, of which 885 are all
# (e-manual, position control). The change is taken to be that in 1 ms: the e-manual does not tell the period.
X_DUTY_PER_RAD = COUNTS_PER_TURN / (2.0 * math.pi) / 128.0 / 885.0
X_DUTY_PER_RAD_S = COUNTS_PER_TURN / (2.0 * math.pi) * 1e-3 / 16.0 / 885.0
X_KP = 800.0  # Position P Gain that the drivers write; D keeps its factory value


def datasheet_servo(
    name: str,
    *,
    voltage_v: float,
    stall_n_m: float,
    stall_a: float,
    no_load_rad_s: float,
    armature_kg_m2: float,
    coulomb_n_m: float,
    kd: float = 0.0,
) -> Servo:
    """A Dynamixel X servo by its datasheet.

    Stall gives `kt = stall_n_m / stall_a` and `R = voltage_v / stall_a`, both at the output. From standstill to
    free running the torque falls from `stall_n_m` to `coulomb_n_m`, by more than back-EMF alone takes because
    gears lose power: what is left is `viscous = (stall_n_m - coulomb_n_m) / no_load_rad_s - kt^2 / R`.
    """
    kt, resistance = stall_n_m / stall_a, voltage_v / stall_a
    viscous = (stall_n_m - coulomb_n_m) / no_load_rad_s - kt**2 / resistance
    return Servo(
        name=name,
        voltage_v=voltage_v,
        kt=kt,
        resistance_ohm=resistance,
        armature_kg_m2=armature_kg_m2,
        coulomb_n_m=coulomb_n_m,
        viscous_n_m_s=viscous,
        kp_register=X_KP,
        duty_per_rad=X_DUTY_PER_RAD,
        kd_register=kd,
        duty_per_rad_s=X_DUTY_PER_RAD_S,
        duty_max=1.0,
    )


_RPM = 2.0 * math.pi / 60.0

# Electrical part and friction of the XL330 at 5 V: Rhoban/bam `bam/params/xl330/m1.json` at 11bb7ecc.
XL330_M288 = Servo(
    name="xl330_m288",
    voltage_v=5.0,
    kt=0.37005,
    resistance_ohm=3.49835,
    armature_kg_m2=0.00199,
    coulomb_n_m=0.01821,
    viscous_n_m_s=0.0059,
    kp_register=X_KP,
    duty_per_rad=X_DUTY_PER_RAD,
    duty_per_rad_s=X_DUTY_PER_RAD_S,
    duty_max=1.0,
    thermal_resistance_c_w=20.0,  # estimate: 18 g of plastic
    thermal_time_s=120.0,
)
# LeRobot's Koch gives its elbow, which carries forearm and hand, P 1500 and D 600 (robots/koch_follower).
XL330_M288_ELBOW = replace(XL330_M288, name="xl330_m288_elbow", kp_register=1500.0, kd_register=600.0)
# Datasheets: emanual.robotis.com/docs/en/dxl/x/. Armature and Coulomb friction of the XL430 are an estimate
# between those measured on XL330 and STS3215, gears and motors of the same kind.
XL430_W250 = datasheet_servo(
    "xl430_w250",
    voltage_v=12.0,
    stall_n_m=1.5,
    stall_a=1.4,
    no_load_rad_s=61 * _RPM,
    armature_kg_m2=0.01,
    coulomb_n_m=0.05,
    kd=4000.0,
)
# Armature and Coulomb friction of the XM540: those that google-deepmind/mujoco_menagerie aloha/aloha.xml at 3ae30a74
# found on ViperX shoulders (two servos, 0.395 kg m2 and 2.0 N·m) and forearms (one, 0.14 kg m2), brought from that
# model's stiffness (265 and 78 N·m/rad) to the datasheet's here (98 and 49). Nobody has published the XM430's: its
# armature is an estimate, its friction that of the MX-64 (Rhoban/bam params/mx64/m1.json at ea216102).
XM540_W270 = datasheet_servo(
    "xm540_w270",
    voltage_v=12.0,
    stall_n_m=10.6,
    stall_a=4.4,
    no_load_rad_s=30 * _RPM,
    armature_kg_m2=0.08,
    coulomb_n_m=0.3,
)
XM540_W270_PAIR = replace(  # two on one shaft: torques and currents add
    XM540_W270,
    name="xm540_w270_pair",
    resistance_ohm=0.5 * XM540_W270.resistance_ohm,
    armature_kg_m2=2.0 * XM540_W270.armature_kg_m2,
    coulomb_n_m=2.0 * XM540_W270.coulomb_n_m,
    viscous_n_m_s=2.0 * XM540_W270.viscous_n_m_s,
)
XM430_W350 = datasheet_servo(
    "xm430_w350",
    voltage_v=12.0,
    stall_n_m=4.1,
    stall_a=2.3,
    no_load_rad_s=46 * _RPM,
    armature_kg_m2=0.02,
    coulomb_n_m=0.09,
)

_ALL = (
    STS3215_7V4,
    STS3215_12V,
    XL330_M288,
    XL330_M288_ELBOW,
    XL430_W250,
    XM540_W270,
    XM540_W270_PAIR,
    XM430_W350,
)
SERVOS: Mapping[str, Servo] = MappingProxyType(
    {servo.name: servo for servo in _ALL}
)  # by the names that arm descriptions use

# Longest command and sensor delay that the history buffers hold, in physics steps.
COMMAND_SAMPLES = 16
SENSE_SAMPLES = 12
PLAY_ARMATURE = 3e-4  # kg m2: keeps the play joint well conditioned, 1 % of the rotor's
PLAY_DAMPING = 0.01  # N·m·s/rad: grease in the teeth


def add_servo(spec: mujoco.MjSpec, joint: str, servo: Servo, play: bool = True) -> None:
    """Put `servo` on the hinge `joint` of `spec`: actuator, friction, play joint and sensors.

    Adds the actuator `joint`, the joint `joint/play` (when `play`), and the sensors `joint/q`, `joint/dq`,
    `joint/tau` (and `joint/play/q`), all with the servo's delays.
    """
    hinge = spec.joint(joint)
    hinge.armature = servo.armature_kg_m2
    hinge.damping[0] = servo.damping
    hinge.frictionloss = servo.coulomb_n_m
    actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.set_to_position(kp=servo.stiffness)
    actuator.forcelimited = 1
    actuator.forcerange = [-servo.torque_max, servo.torque_max]
    actuator.delay = servo.command_delay_s
    actuator.nsample = COMMAND_SAMPLES
    sensed = [(f"{joint}/q", mujoco.mjtSensor.mjSENS_JOINTPOS, mujoco.mjtObj.mjOBJ_JOINT, joint)]
    sensed.append((f"{joint}/dq", mujoco.mjtSensor.mjSENS_JOINTVEL, mujoco.mjtObj.mjOBJ_JOINT, joint))
    sensed.append((f"{joint}/tau", mujoco.mjtSensor.mjSENS_ACTUATORFRC, mujoco.mjtObj.mjOBJ_ACTUATOR, joint))
    if play:
        slack = hinge.parent.add_joint(name=f"{joint}/play", type=mujoco.mjtJoint.mjJNT_HINGE)
        slack.pos, slack.axis = hinge.pos, hinge.axis
        slack.limited = 1
        slack.range = [-servo.play_rad, servo.play_rad]
        slack.armature = PLAY_ARMATURE
        slack.damping[0] = PLAY_DAMPING
        sensed.append(
            (
                f"{joint}/play/q",
                mujoco.mjtSensor.mjSENS_JOINTPOS,
                mujoco.mjtObj.mjOBJ_JOINT,
                f"{joint}/play",
            )
        )
    for name, kind, objtype, objname in sensed:
        sensor = spec.add_sensor(name=name, type=kind, objtype=objtype, objname=objname)
        sensor.delay = servo.sense_delay_s
        sensor.nsample = SENSE_SAMPLES


def to_counts(q: F64, step: float | F64 = RAD_PER_COUNT) -> F64:
    """Round joint coordinates (..., n) to counts of the encoders, `step` each (rad or m, one or n values)."""
    return np.rint(q * (1.0 / step)) * step
