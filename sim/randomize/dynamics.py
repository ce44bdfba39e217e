"""What the arms weigh and how surfaces touch: masses, centres of mass, gravity, friction, softness."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..scene import Ids, Scene, prefix
from .param import Fields, LogUniform, Normal, Param, Uniform


def dynamics_params(scene: Scene) -> tuple[Param, ...]:
    """Moving link by link in the order of the bodies in the model; contact by kind of surface."""
    model = scene.model
    bodies = arm_bodies(scene)
    links = np.array([b for b in bodies if model.body_weldid[b] and model.body_mass[b] > 0], dtype=np.intp)
    free = np.array([b for b in links if not model.body_simple[b]], dtype=np.intp)  # MuJoCo fixes the others
    n, m = len(links), len(free)
    parts = set(bodies.tolist())
    geoms = np.array([g for g in range(model.ngeom) if int(model.geom_bodyid[g]) in parts], dtype=np.intp)
    touching = np.append(geoms, model.geom("table").id)
    play = np.concatenate([i.play for i in (*scene.arms.values(), *scene.grippers.values())])
    play_dofs = model.jnt_dofadr[play.astype(np.intp)]

    def link_mass(fields: Fields, scale: Sequence[float]) -> None:
        fields["body_mass"][links] *= scale
        fields["body_inertia"][links] *= np.asarray(scale)[:, None]  # same shape, so in proportion

    def link_inertia(fields: Fields, scale: Sequence[float]) -> None:
        fields["body_inertia"][links] *= np.asarray(scale)[:, None]

    def link_com(fields: Fields, offset_m: Sequence[float]) -> None:
        fields["body_ipos"][free] += np.reshape(offset_m, (m, 3))

    def gravity_tilt(fields: Fields, tilt: Sequence[float]) -> None:
        # A table that leans is, for the arm, gravity that leans. Small angles about x and y.
        gravity = fields["opt.gravity"]
        g = math.sqrt(float(gravity @ gravity))
        down = (math.sin(tilt[1]), -math.sin(tilt[0]))
        gravity[:] = (g * down[0], g * down[1], -g * math.sqrt(max(0.0, 1 - down[0] ** 2 - down[1] ** 2)))

    def table_friction(fields: Fields, value: float) -> None:
        fields["geom_friction"][fields.geom("table"), 0] = value

    def grip_friction(fields: Fields, scale: float) -> None:
        fields["geom_friction"][geoms, 0] *= scale

    def contact_time(fields: Fields, scale: float) -> None:
        fields["geom_solref"][touching, 0] *= scale

    def contact_damping(fields: Fields, scale: float) -> None:
        fields["geom_solref"][touching, 1] *= scale

    def play_damping(fields: Fields, value: float) -> None:
        fields["dof_damping"][play_dofs] = value

    params = [
        Param("dynamics.link_mass", "dynamics", Uniform(0.9, 1.1, n), "x nominal",
              "mass of each link; the inertia follows", link_mass),
        Param("dynamics.link_inertia", "dynamics", Uniform(0.9, 1.1, n), "x nominal",
              "inertia of each link beyond what its mass explains", link_inertia,
              needs=("dynamics.link_mass",)),
        Param("dynamics.link_com", "dynamics", Uniform(-0.005, 0.005, 3 * m), "m",
              "offset of each link's centre of mass, x y z in the link", link_com),
        Param("dynamics.gravity_tilt", "dynamics", Normal(0.0, 0.007, -0.0175, 0.0175, 2), "rad",
              "lean of the table about x and y", gravity_tilt),
        Param("dynamics.table_friction", "dynamics", Uniform(0.6, 1.2), "1",
              "sliding friction of the table (a contact takes the larger of its two surfaces)",
              table_friction),
        Param("dynamics.grip_friction", "dynamics", Uniform(0.8, 1.25), "x nominal",
              "sliding friction of the arm's surfaces", grip_friction),
        Param("dynamics.contact_time", "dynamics", LogUniform(0.4, 1.25), "x nominal",
              "time constant of contacts of arm and table: smaller is harder", contact_time),
        Param("dynamics.contact_damping", "dynamics", Uniform(0.8, 1.2), "x nominal",
              "damping ratio of contacts of arm and table", contact_damping),
    ]  # fmt: skip
    if play_dofs.size:
        params.append(
            Param("dynamics.play_damping", "dynamics", LogUniform(0.005, 0.02), "N m s/rad",
                  "friction of the grease in the gears' play", play_damping)
        )  # fmt: skip
    return tuple(params)


def arm_bodies(scene: Scene) -> Ids:
    """Ids of the bodies of all arms."""
    model = scene.model
    starts = tuple(prefix(arm) for arm in scene.arms)
    return np.array([b for b in range(model.nbody) if model.body(b).name.startswith(starts)], dtype=np.intp)
