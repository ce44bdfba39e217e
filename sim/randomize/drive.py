"""The drives of industrial arms: how stiff their loop is, how well it knows the arm's weight, how late it is.

Nothing electrical is drawn: a controller of that kind keeps its torque whatever its supply does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..drives import Drive
from ..scene import Ids, Scene, prefix
from ..servo import COMMAND_SAMPLES
from .param import Fields, LogUniform, Param, Uniform


def drives_of(scene: Scene) -> list[tuple[int, str, Drive]]:
    """All drives of `scene`: number of the arm, joint, constants; arm by arm, its gripper's last."""
    found: list[tuple[int, str, Drive]] = []
    for k, (arm, index) in enumerate(scene.arms.items()):
        gripper = scene.grippers.get(scene.rig.gripper_of(arm) or "")
        for name in (*index.names, *(gripper.names if gripper is not None else ())):
            motor = scene.servos[name]
            if isinstance(motor, Drive):
                found.append((k, name, motor))
    return found


def drive_params(scene: Scene) -> tuple[Param, ...]:
    """Lists hold one value a drive (see `drives_of`), or one an arm where they say so; () without drives."""
    drives = drives_of(scene)
    if not drives:
        return ()
    model, n, arms = scene.model, len(drives), len(scene.arms)
    arm = np.array([k for k, _, _ in drives], dtype=np.intp)
    actuator = _ids([model.actuator(name).id for _, name, _ in drives])
    dof = _ids([int(model.joint(name).dofadr[0]) for _, name, _ in drives])
    starts = tuple(prefix(name) for name in scene.arms)
    carried = [b for b in range(model.nbody) if model.body_gravcomp[b] > 0.0]
    weight_of = _ids(
        [next(k for k, s in enumerate(starts) if model.body(b).name.startswith(s)) for b in carried]
    )
    bodies = _ids(carried)
    longest_s = (COMMAND_SAMPLES - 1) * model.opt.timestep
    nominal_s = [
        max((d.command_delay_s for k, _, d in drives if k == one), default=0.0) for one in range(arms)
    ]
    soonest = tuple(min(0.5 * s, longest_s) for s in nominal_s)
    latest = tuple(min(2.0 * s, longest_s) for s in nominal_s)

    def set_stiffness(fields: Fields, scale: Sequence[float]) -> None:
        fields["actuator_gainprm"][actuator, 0] *= scale
        fields["actuator_biasprm"][actuator, 1] *= scale

    def set_damping(fields: Fields, scale: Sequence[float]) -> None:
        fields["actuator_biasprm"][actuator, 2] *= scale

    def set_friction(fields: Fields, scale: Sequence[float]) -> None:
        fields["dof_frictionloss"][dof] *= scale

    def set_armature(fields: Fields, scale: Sequence[float]) -> None:
        fields["dof_armature"][dof] *= scale

    def set_delay(fields: Fields, delay_s: Sequence[float]) -> None:
        fields["actuator_delay"][actuator] = np.asarray(delay_s)[arm]

    def set_weight(fields: Fields, scale: Sequence[float]) -> None:
        fields["body_gravcomp"][bodies] *= np.asarray(scale)[weight_of]

    params = [
        Param("servo.drive_stiffness", "servo", Uniform(0.8, 1.2, n), "x nominal",
              "torque per error of each drive", set_stiffness),
        Param("servo.drive_damping", "servo", Uniform(0.8, 1.25, n), "x nominal",
              "torque per speed of each drive; with the stiffness, how late it follows", set_damping),
        Param("servo.drive_friction", "servo", LogUniform(0.5, 2.0, n), "x nominal",
              "friction that the controller does not compensate", set_friction),
        Param("servo.drive_armature", "servo", Uniform(0.8, 1.2, n), "x nominal",
              "inertia of rotor and gears", set_armature),
        Param("servo.drive_delay", "servo", Uniform(soonest, latest, arms), "s",
              "from a goal's writing to the motors' acting, for each arm's controller", set_delay),
    ]  # fmt: skip
    if carried:
        params.append(
            Param("servo.drive_gravity", "servo", Uniform(0.97, 1.03, arms), "x weight",
                  "how much of each arm's weight its controller takes out", set_weight)
        )  # fmt: skip
    return tuple(params)


def _ids(values: list[int]) -> Ids:
    return np.array(values, dtype=np.intp)
