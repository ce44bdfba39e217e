"""The servos: voltage, motor constant, resistance and firmware are drawn; gains and limits follow from them.

The formulas are those of `sim/servo.py`, so a weak battery lowers stiffness, torque and speed together, and a
hot winding raises resistance and thereby lowers stiffness, torque and back-EMF damping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..scene import Ids, JointIndex, Scene
from ..servo import COMMAND_SAMPLES, Servo
from .param import Derived, Fields, LogUniform, Param, Uniform

DEG = np.pi / 180


@dataclass(frozen=True, slots=True)
class ServoIndex:
    """All servos of a scene, arm by arm: the arm's joints, then its gripper's. Drives are no servos."""

    names: tuple[str, ...]
    nominal: tuple[Servo, ...]
    bus: Ids  # (n,) which of the arms with servos: that whose bus the servo shares
    buses: int
    supply: Ids  # (n,) index in `volts`: servos of an arm that have the same voltage share a supply
    volts: tuple[float, ...]  # nominal voltage of each supply, arm by arm
    dof: Ids
    play: Ids  # (n,) play joint ids, or empty
    actuator: Ids


def servo_index(scene: Scene) -> ServoIndex:
    """The servos of `scene` in the order of the lists in a draw."""
    names: list[str] = []
    nominal: list[Servo] = []
    bus: list[int] = []
    parts: list[JointIndex] = []
    buses = 0
    for arm, index in scene.arms.items():
        gripper = scene.grippers.get(scene.rig.gripper_of(arm) or "")
        before = len(names)
        for part in (index,) if gripper is None else (index, gripper):
            found = [(name, scene.servos[name]) for name in part.names]
            servos = [(name, servo) for name, servo in found if isinstance(servo, Servo)]
            if len(servos) == len(found):
                parts.append(part)
                names += [name for name, _ in servos]
                nominal += [servo for _, servo in servos]
                bus += [buses] * len(servos)
        buses += len(names) > before
    none = np.zeros(0, dtype=np.intp)
    wanted = [(b, servo.voltage_v) for b, servo in zip(bus, nominal, strict=True)]
    supplies = list(dict.fromkeys(wanted))
    return ServoIndex(
        names=tuple(names),
        nominal=tuple(nominal),
        bus=np.array(bus, dtype=np.intp),
        buses=buses,
        supply=np.array([supplies.index(one) for one in wanted], dtype=np.intp),
        volts=tuple(volts for _, volts in supplies),
        dof=np.concatenate([none, *(part.dof for part in parts)]),
        play=np.concatenate([none, *(part.play for part in parts)]),
        actuator=np.concatenate([none, *(part.actuator for part in parts)]),
    )


def servo_params(scene: Scene) -> tuple[Param, ...]:
    """Lists hold one value a servo (see `servo_index`), or one an arm or supply where they say so; () without servos.

    An arm whose servos need two voltages has two supplies, drawn apart.
    """
    at = servo_index(scene)
    if not at.names:
        return ()
    nominal, n = at.nominal, len(at.names)
    shared = at.supply.tolist()
    lowest, highest = tuple(v * 6.8 / 7.4 for v in at.volts), tuple(v * 7.8 / 7.4 for v in at.volts)
    longest_s = (COMMAND_SAMPLES - 1) * scene.model.opt.timestep

    def kt(scale: Sequence[float]) -> list[float]:
        return [s.kt * k for s, k in zip(nominal, scale, strict=True)]

    def resistance(scale: Sequence[float]) -> list[float]:
        return [s.resistance_ohm * k for s, k in zip(nominal, scale, strict=True)]

    def servos(
        supply: Sequence[float], kts: Sequence[float], ohms: Sequence[float], kp: Sequence[float]
    ) -> list[Servo]:
        return [
            replace(s, voltage_v=supply[b], kt=k, resistance_ohm=r, kp_register=s.kp_register * p)
            for s, b, k, r, p in zip(nominal, shared, kts, ohms, kp, strict=True)
        ]

    def stiffness(*drawn: Sequence[float]) -> list[float]:
        return [s.stiffness for s in servos(*drawn)]

    def torque_max(
        supply: Sequence[float], kts: Sequence[float], ohms: Sequence[float], duty: Sequence[float]
    ) -> list[float]:
        ones = [1.0] * n
        return [
            replace(s, duty_max=d).torque_max
            for s, d in zip(servos(supply, kts, ohms, ones), duty, strict=True)
        ]

    def damping(kts: Sequence[float], ohms: Sequence[float], viscous: Sequence[float]) -> list[float]:
        return [
            replace(s, kt=k, resistance_ohm=r, viscous_n_m_s=s.viscous_n_m_s * v).damping
            for s, k, r, v in zip(nominal, kts, ohms, viscous, strict=True)
        ]

    def set_stiffness(fields: Fields, value: Sequence[float]) -> None:
        fields["actuator_gainprm"][at.actuator, 0] = value
        fields["actuator_biasprm"][at.actuator, 1] = np.negative(value)

    def set_torque_max(fields: Fields, value: Sequence[float]) -> None:
        limits = fields["actuator_forcerange"]
        limits[at.actuator, 0] = np.negative(value)
        limits[at.actuator, 1] = value

    def set_damping(fields: Fields, value: Sequence[float]) -> None:
        fields["dof_damping"][at.dof] = value

    def set_coulomb(fields: Fields, scale: Sequence[float]) -> None:
        fields["dof_frictionloss"][at.dof] *= scale

    def set_armature(fields: Fields, scale: Sequence[float]) -> None:
        fields["dof_armature"][at.dof] *= scale

    def set_play(fields: Fields, half_rad: Sequence[float]) -> None:
        limits = fields["jnt_range"]
        limits[at.play, 0] = np.negative(half_rad)
        limits[at.play, 1] = half_rad

    def set_delay(fields: Fields, delay_s: Sequence[float]) -> None:
        fields["actuator_delay"][at.actuator] = np.asarray(delay_s)[at.bus]

    params = [
        Param("servo.voltage", "servo", Uniform(lowest, highest, len(at.volts)), "V",
              "each supply of each arm under load: 6.8 .. 7.8 V for a nominal 7.4 V"),
        Param("servo.kt_scale", "servo", Uniform(0.9, 1.1, n), "x nominal", "motor constant"),
        Param("servo.resistance_scale", "servo", Uniform(0.9, 1.15, n), "x nominal",
              "winding resistance; copper gains 14 % from 25 to 60 °C"),
        Param("servo.kp_scale", "servo", Uniform(0.9, 1.1, n), "x nominal", "firmware's duty per error"),
        Param("servo.duty_max", "servo", Uniform(0.93, 1.0, n), "1", "largest duty cycle of the firmware"),
        Param("servo.viscous_scale", "servo", LogUniform(0.6, 1.6, n), "x nominal", "viscous friction"),
        Param("servo.coulomb_scale", "servo", LogUniform(0.6, 1.6, n), "x nominal", "Coulomb friction",
              set_coulomb),
        Param("servo.armature_scale", "servo", Uniform(0.85, 1.15, n), "x nominal",
              "inertia of rotor and gears", set_armature),
        Param("servo.command_delay", "servo", Uniform(min(0.004, longest_s), min(0.02, longest_s), at.buses),
              "s", "from a goal's writing to the motor's acting, for each arm's bus", set_delay),
        Param("servo.kt", "servo", Derived(kt, ("servo.kt_scale",)), "N m/A", "motor constant at the output"),
        Param("servo.resistance", "servo", Derived(resistance, ("servo.resistance_scale",)), "ohm",
              "winding resistance"),
        Param("servo.stiffness", "servo",
              Derived(stiffness, ("servo.voltage", "servo.kt", "servo.resistance", "servo.kp_scale")),
              "N m/rad", "torque per error: kp duty V kt / R", set_stiffness),
        Param("servo.torque_max", "servo",
              Derived(torque_max, ("servo.voltage", "servo.kt", "servo.resistance", "servo.duty_max")),
              "N m", "torque at standstill and full duty: duty V kt / R", set_torque_max),
        Param("servo.damping", "servo",
              Derived(damping, ("servo.kt", "servo.resistance", "servo.viscous_scale")),
              "N m s/rad", "viscous friction and back-EMF: viscous + kt^2 / R", set_damping),
    ]  # fmt: skip
    if at.play.size:
        params.append(
            Param("servo.play", "servo", Uniform(0.1 * DEG, 0.4 * DEG, n), "rad",
                  "half of the gears' play at the output", set_play)
        )  # fmt: skip
    return tuple(params)
