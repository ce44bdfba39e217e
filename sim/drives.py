"""Position drives of industrial arms, as their controllers show them from outside.

A controller of that kind closes its loop with a model of the arm: it takes gravity out, has no play to speak
of and an encoder finer than anything a camera sees. What is left for the twin is

    tau = clamp(stiffness (goal - q) - damping dq, +-torque_max)          goal and reading delayed

with gravity compensated by MuJoCo (`body_gravcomp`) when every joint of the arm has such a drive. A constant
goal velocity is followed `damping / stiffness` seconds late.

`tau` is then what the arm needs besides gravity; a prismatic drive has N, N/m, N·s/m, kg and m instead.

Torque limits are the vendors'. Stiffness and damping are published for two arms only:

    franka   stiffness: the joint impedance that libfranka's examples set (examples/examples_common.cpp: 3000,
             3000, 3000, 2500, 2500, 2000, 2000 N·m/rad); damping chosen for a lag of 35 ms
    wxai     stiffness and damping per joint as Trossen identified them on the arm: google-deepmind/mujoco_menagerie
             trossen_wxai/wxai_follower.xml at 191a7ba; that model leaves gravity in, so this one does

Of the UR5e and the xArm 7 the lag is known better than the gains: `servoj` looks 30 ms ahead or more, the
xArm's servo mode follows in about 40 ms. Their gains are chosen for that lag and a tip that gives way by
millimetres, their rotors' inertias for a damping ratio near 1. Delays are one or two bus cycles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import mujoco

from ..robot.types import F64
from .servo import COMMAND_SAMPLES, SENSE_SAMPLES, SERVOS, Servo, add_servo

FINE_RAD = 2.0 * math.pi / 2**19  # encoder of an industrial joint: 19 bits, 12 microrad
FINE_M = 1e-5


@dataclass(frozen=True, slots=True)
class Drive:
    """Constants of one drive at its joint; N·m and rad, or N and m for a prismatic one."""

    name: str
    stiffness: float  # N·m/rad
    damping: float  # N·m·s/rad
    torque_max: float  # N·m
    armature_kg_m2: float
    coulomb_n_m: float = 0.0  # what friction compensation leaves
    step: float = FINE_RAD  # one count of the encoder
    zero_error: float = 2e-4  # standard deviation of the zero after the vendor's calibration
    command_delay_s: float = 0.005
    sense_delay_s: float = 0.0025
    voltage_v: float = 48.0  # reported, and nothing else: the loop does not know its supply
    ambient_c: float = 30.0  # reported: these controllers keep their motors cool, or stop
    compensates_gravity: bool = True

    @property
    def back_emf(self) -> float:
        """0: the controller takes it out."""
        return 0.0

    @property
    def thermal_time_s(self) -> float:
        return 1.0

    def steady_c(self, tau: float) -> float:
        """Temperature, °C: the same at every torque."""
        return self.ambient_c


Motor: TypeAlias = Servo | Drive


def _wxai(joint: str, stiffness: float, damping: float, torque_max: float, armature: float) -> Drive:
    return Drive(
        name=f"wxai_{joint}",
        stiffness=stiffness,
        damping=damping,
        torque_max=torque_max,
        armature_kg_m2=armature,
        coulomb_n_m=0.05,
        step=2.0 * math.pi / 2**14,
        zero_error=1e-3,
        voltage_v=24.0,
        compensates_gravity=False,
    )


DRIVES: Mapping[str, Drive] = MappingProxyType(
    {
        drive.name: drive
        for drive in (
            Drive("franka_shoulder", 3000.0, 105.0, 87.0, 0.4, 0.2, command_delay_s=0.0025),
            Drive("franka_elbow", 2500.0, 87.5, 87.0, 0.4, 0.2, command_delay_s=0.0025),
            Drive("franka_forearm", 2500.0, 87.5, 12.0, 0.2, 0.1, command_delay_s=0.0025),
            Drive("franka_wrist", 2000.0, 70.0, 12.0, 0.2, 0.1, command_delay_s=0.0025),
            # 70 N between the fingers, 50 mm/s each: the hand's data sheet.
            Drive("franka_hand", 8000.0, 280.0, 140.0, 0.8, 1.0, FINE_M, 5e-5, 0.01, 0.01, 24.0),
            Drive("ur5e_size3", 8000.0, 280.0, 150.0, 1.2, 0.5, zero_error=1e-4),
            Drive("ur5e_size1", 2500.0, 87.0, 28.0, 0.25, 0.2, zero_error=1e-4),
            Drive("xarm7_large", 3000.0, 120.0, 50.0, 0.5, 0.5, 2 * math.pi / 2**17, voltage_v=24.0),
            Drive("xarm7_medium", 2000.0, 80.0, 30.0, 0.3, 0.3, 2 * math.pi / 2**17, voltage_v=24.0),
            Drive("xarm7_small", 1200.0, 48.0, 20.0, 0.15, 0.2, 2 * math.pi / 2**17, voltage_v=24.0),
            # 30 N between the pads; 850 units of its position register are the 84 mm of its stroke.
            Drive("xarm_gripper", 4000.0, 180.0, 60.0, 0.5, 1.0, 0.042 / 850, 1e-4, 0.02, 0.02, 24.0),
            _wxai("joint_0", 43.0, 5.76, 27.0, 0.02),
            _wxai("joint_1", 265.0, 20.0, 27.0, 0.02),
            _wxai("joint_2", 227.0, 5.0, 27.0, 0.02),
            _wxai("joint_3", 78.0, 1.0, 7.0, 0.005),
            _wxai("joint_4", 37.0, 1.0, 7.0, 0.005),
            _wxai("joint_5", 10.4, 0.6, 7.0, 0.005),
            Drive(
                "wxai_carriage", 2000.0, 40.0, 35.0, 0.1, 0.5, FINE_M, 1e-4, 0.005, 0.0025, 24.0, 30.0, False
            ),
        )
    }
)
MOTORS: Mapping[str, Motor] = MappingProxyType({**SERVOS, **DRIVES})  # by the names in arm descriptions


def add_motor(spec: mujoco.MjSpec, joint: str, motor: Motor, play: bool = True) -> None:
    """Put `motor` on `joint` of `spec`, with actuator, friction and the sensors of `add_servo`.

    A drive has no play joint.
    """
    if isinstance(motor, Servo):
        add_servo(spec, joint, motor, play)
        return
    moved = spec.joint(joint)
    moved.armature = motor.armature_kg_m2
    moved.frictionloss = motor.coulomb_n_m
    actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.set_to_position(kp=motor.stiffness, kv=motor.damping)
    actuator.forcelimited = 1
    actuator.forcerange = [-motor.torque_max, motor.torque_max]
    actuator.delay = motor.command_delay_s
    actuator.nsample = COMMAND_SAMPLES
    for name, kind, objtype in (
        ("q", mujoco.mjtSensor.mjSENS_JOINTPOS, mujoco.mjtObj.mjOBJ_JOINT),
        ("dq", mujoco.mjtSensor.mjSENS_JOINTVEL, mujoco.mjtObj.mjOBJ_JOINT),
        ("tau", mujoco.mjtSensor.mjSENS_ACTUATORFRC, mujoco.mjtObj.mjOBJ_ACTUATOR),
    ):
        sensor = spec.add_sensor(name=f"{joint}/{name}", type=kind, objtype=objtype, objname=joint)
        sensor.delay = motor.sense_delay_s
        sensor.nsample = SENSE_SAMPLES


def follow_equalities(model: mujoco.MjModel, qpos: F64) -> None:
    """Put every joint that an equality ties to another one where that one says; `qpos` is changed."""
    for eq in range(model.neq):
        if model.eq_type[eq] != mujoco.mjtEq.mjEQ_JOINT or model.eq_obj2id[eq] < 0:
            continue
        mine, other = (int(model.jnt_qposadr[ids[eq]]) for ids in (model.eq_obj1id, model.eq_obj2id))
        x = float(qpos[other] - model.qpos0[other])
        poly = model.eq_data[eq, :5]
        qpos[mine] = model.qpos0[mine] + sum(float(poly[k]) * x**k for k in range(5))
