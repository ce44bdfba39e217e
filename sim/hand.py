"""A person's hand on limp joints of a twin: it pulls each to where it wants it, as a spring with a damper."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco

STIFFNESS_N_M = 20.0  # N·m/rad; at a servo's reflected inertia of about 0.03 kg m2 this swings at 4 Hz
DAMPING_N_M_S = 1.5  # N·m·s/rad; about critical at that inertia
STRONGEST_N_M = 4.0  # a hand on the end of a small arm


class SpringHand:
    """Pulls joints of `model` in `data`; call `pull` once a step of the physics.

    It pushes against nothing: a joint that it is not told of, or that it lets go of, is free.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model = model
        self._data = data
        self._wanted: dict[int, float] = {}  # joint id -> rad

    def take(self, wanted: Mapping[str, float]) -> None:
        """Pull the joints named to these angles, rad, and let go of all others."""
        for joint in self._wanted:
            self._data.qfrc_applied[self._model.jnt_dofadr[joint]] = 0.0
        self._wanted = {self._model.joint(name).id: float(q) for name, q in wanted.items()}

    def pull(self) -> None:
        """Apply the torques of this step."""
        data, model = self._data, self._model
        for joint, wanted in self._wanted.items():
            dof = model.jnt_dofadr[joint]
            torque = (
                STIFFNESS_N_M * (wanted - data.qpos[model.jnt_qposadr[joint]])
                - DAMPING_N_M_S * data.qvel[dof]
            )
            data.qfrc_applied[dof] = min(max(torque, -STRONGEST_N_M), STRONGEST_N_M)
