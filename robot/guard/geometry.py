"""The guard's own MuJoCo scene: only the capsules of the arm descriptions, at the rig's base poses.

Capsules are the geoms of group 4 of an arm description (`guard_*`). A scene is kinematics only: masses and
visuals of the descriptions play no role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from ..errors import RigError
from ..models import ArmModel, load_model
from ..rig import Box, Rig
from ..types import F64

GROUP = 4
MARGIN = 0.12  # m, capsules farther apart than this are not looked at

Ids = NDArray[np.intp]


class GuardScene:
    """Capsules, obstacles and their poses for the guard's flat joint vector (M,), rad and m.

    `arms` and `grippers` say where each stands in the flat vector. Raises `RigError` when a guard geom is
    neither a capsule nor a sphere.
    """

    def __init__(
        self,
        rig: Rig,
        arms: Mapping[str, slice],
        grippers: Mapping[str, int],
        obstacles: Sequence[Box] = (),
    ) -> None:
        self.descriptions = {name: load_model(arm.model) for name, arm in rig.arms.items()}
        self._spec = _spec(rig, self.descriptions, obstacles)
        self.size = sum(at.stop - at.start for at in arms.values()) + len(grippers)
        self._joints: list[tuple[str, int]] = []  # name in the scene, flat index
        self._jaw_joints: list[tuple[str, int, ArmModel]] = []
        for name, at in arms.items():
            description = self.descriptions[name]
            self._joints += [(f"{name}/{j}", at.start + k) for k, j in enumerate(description.joints)]
        for name, flat in grippers.items():
            arm = rig.grippers[name].arm
            description = self.descriptions[arm]
            if description.gripper_joint is not None:
                self._jaw_joints.append((f"{arm}/{description.gripper_joint}", flat, description))
        self.compile()

    def compile(self, apart: Sequence[tuple[str, str]] = ()) -> None:
        """(Re)build the model; bodies named in `apart` are never compared with one another."""
        for one, two in apart:
            self._spec.add_exclude(bodyname1=one, bodyname2=two)
        m = self.model = self._spec.compile()
        self.data: Any = mujoco.MjData(m)
        self._qpos: Ids = np.array([m.joint(n).qposadr[0] for n, _ in self._joints], dtype=np.intp)
        self._flat: Ids = np.array([flat for _, flat in self._joints], dtype=np.intp)
        self._jaws = [(flat, int(m.joint(n).qposadr[0]), _JawTable(d)) for n, flat, d in self._jaw_joints]
        self.joint_of: Ids = np.full(self.size, -1, dtype=np.intp)  # flat index -> joint id, -1 = none
        for name, flat, *_ in (*self._joints, *self._jaw_joints):
            self.joint_of[flat] = m.joint(name).id
        capsule = (m.geom_group == GROUP) & (m.body_weldid[m.geom_bodyid] != 0)
        self.moving: Ids = np.flatnonzero(capsule)  # geoms that some joint moves
        sphere = m.geom_type[self.moving] == int(mujoco.mjtGeom.mjGEOM_SPHERE)
        # Views of MuJoCo's own memory, made once: they cost more than what is computed from them.
        self._q, self._centre, self._axis = self.data.qpos, self.data.geom_xpos, self.data.geom_xmat[:, 2::3]
        count = len(self.moving)
        gapless = count and self.moving[-1] - self.moving[0] == count - 1
        self._span = slice(self.moving[0], self.moving[-1] + 1) if gapless else self.moving
        self.half: F64 = np.where(sphere, 0.0, m.geom_size[self.moving, 1])[:, None]
        self.radius: F64 = m.geom_size[self.moving, 0][:, None].copy()
        self.names = [m.geom(g).name or f"geom {g}" for g in range(m.ngeom)]

    def place(self, q: F64) -> None:
        """Move every capsule to joint positions `q` (M,)."""
        qpos = self._q
        qpos[self._qpos] = q[self._flat]
        for flat, address, jaw in self._jaws:
            qpos[address] = jaw.angle(float(q[flat]))
        mujoco.mj_kinematics(self.model, self.data)

    def boxes(self) -> tuple[F64, F64]:
        """Lowest and highest corner of every moving capsule in W, (G, 3) m each."""
        centre = self._centre[self._span]
        reach = np.abs(self._axis[self._span]) * self.half + self.radius
        return centre - reach, centre + reach

    def lowest(self) -> F64:
        """Height of every moving capsule's lowest point in W, (G,) m."""
        span = self._span
        return self._centre[span, 2] - np.abs(self._axis[span, 2]) * self.half[:, 0] - self.radius[:, 0]

    def jaw_scale(self, q: F64) -> F64:
        """d(joint coordinate) / d(flat coordinate), (M,): 1, or rad/m for a jaw."""
        scale = np.ones(self.size)
        scale[self.joint_of < 0] = 0.0
        for flat, _, jaw in self._jaws:
            w = float(q[flat])
            scale[flat] = (jaw.angle(w + 1e-4) - jaw.angle(w - 1e-4)) / 2e-4
        return scale

    def towards(self, k: int, side: int, sign: float, q: F64) -> list[tuple[F64, float]]:
        """For both ends of moving capsule `k`: the gradient (M,) of its distance to a plane on whose `sign` side
        it lies along world axis `side`, m per unit of the flat vector, and how much farther from it that end is
        than the nearer one, m. Needs `mj_comPos`."""
        geom, scale = int(self.moving[k]), self.jaw_scale(q)
        centre, along = self.data.geom_xpos[geom], self.data.geom_xmat[geom, 2::3] * self.half[k]
        rise = float(along[side]) * sign
        return [
            (self._jacobian(geom, centre + end * along)[side] * sign * scale, abs(rise) + end * rise)
            for end in (-1.0, 1.0)
        ]

    def apart(self, one: int, two: int, q: F64) -> F64:
        """Gradient (M,) of the distance between two geoms. Needs `mj_comPos`."""
        m, d = self.model, self.data
        fromto = np.zeros(6)
        gap = mujoco.mj_geomDistance(m, d, one, two, 10.0, fromto)
        on_one, on_two = fromto[:3], fromto[3:]
        normal = (on_two - on_one) * (1.0 if gap > 0.0 else -1.0)
        length = float(np.linalg.norm(normal))
        if length < 1e-6:  # just touching: from capsule axis to capsule axis instead
            normal = self._from_axis(two, on_two) - self._from_axis(one, on_one)
            length = float(np.linalg.norm(normal)) + 1e-12
        rows = self._jacobian(two, on_two) - self._jacobian(one, on_one)
        return (normal / length @ rows) * self.jaw_scale(q)

    def _from_axis(self, geom: int, point: F64) -> F64:
        """The point of a capsule's axis that is nearest to `point` on its surface, less `point`."""
        axis, centre = self.data.geom_xmat[geom, 2::3], self.data.geom_xpos[geom]
        if self.model.geom_type[geom] != int(mujoco.mjtGeom.mjGEOM_CAPSULE):
            return centre - point
        half = float(self.model.geom_size[geom, 1])
        return centre + axis * float(np.clip(axis @ (point - centre), -half, half)) - point

    def _jacobian(self, geom: int, point: F64) -> F64:
        """Velocity of a point of `geom` for every flat coordinate (before jaw scaling), (3, M)."""
        jac = np.zeros((3, self.model.nv))
        mujoco.mj_jac(self.model, self.data, jac, None, point, int(self.model.geom_bodyid[geom]))
        out = np.zeros((3, self.size))
        known = self.joint_of >= 0
        out[:, known] = jac[:, self.model.jnt_dofadr[self.joint_of[known]]]
        return out


class _JawTable:
    """A jaw's angle by its width, interpolated between values of the description (< 1e-5 rad off)."""

    POINTS = 512

    def __init__(self, description: ArmModel) -> None:
        top = float(description.gripper_width_max_m)
        self._per_m = self.POINTS / top
        widths = [top * k / self.POINTS for k in range(self.POINTS + 1)]
        self._angles = [float(description.width_to_angle(w)) for w in widths]

    def angle(self, width_m: float) -> float:
        x = width_m * self._per_m
        k = min(max(int(x), 0), self.POINTS - 1)
        low = self._angles[k]
        return low + (self._angles[k + 1] - low) * (x - k)


def _spec(rig: Rig, descriptions: Mapping[str, ArmModel], obstacles: Sequence[Box]) -> Any:
    spec = mujoco.MjSpec()
    spec.modelname = f"guard-{rig.name}"
    for name, arm in rig.arms.items():
        child = mujoco.MjSpec.from_file(str(descriptions[name].mjcf))
        for geom in list(child.geoms):
            if geom.group != GROUP:
                child.delete(geom)
                continue
            if geom.type not in (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_SPHERE):
                raise RigError(f"arms.{name}.model: guard geom '{geom.name}' must be a capsule or a sphere")
            geom.contype, geom.conaffinity = 1, 1
            geom.margin, geom.gap = MARGIN, 0.0
        frame = spec.worldbody.add_frame(pos=arm.base.xyz_m, quat=arm.base.wxyz)
        spec.attach(child, prefix=f"{name}/", frame=frame)
    for k, box in enumerate(obstacles):
        low, high = np.array(box.min_m), np.array(box.max_m)
        spec.worldbody.add_geom(
            name=f"obstacle {k}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=0.5 * (low + high),
            size=0.5 * (high - low),
            contype=1,
            conaffinity=1,
            margin=MARGIN,
        )
    # Masses may have gone with the visuals; this scene needs none, but the compiler wants some.
    spec.compiler.boundmass = 1e-6
    spec.compiler.boundinertia = 1e-9
    return spec
