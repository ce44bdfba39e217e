"""The compiled scene: a rig's arms on their table, servos, cameras, lights and a task's objects.

A `Scene` is built once and reused for many episodes: each episode's randomisation writes into
`Scene.model`, always starting from the nominal values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import mujoco
import numpy as np
from numpy.typing import NDArray

from ..robot.errors import RigError, nearest
from ..robot.models import ArmModel, load_model
from ..robot.rig import CameraConfig, Pose, Rig
from .drives import MOTORS, Drive, Motor, add_motor
from .textures import PATTERNS, texture

Ids = NDArray[np.intp]
DISTRACTORS = 4
FRONT_WXYZ = (0.26241, -0.65661, -0.65661, 0.26241)  # camera that looks along -x and 46 degrees down


@dataclass(frozen=True, slots=True)
class JointIndex:
    """Where the joints of one arm (or its gripper) stand in the model's arrays."""

    names: tuple[str, ...]
    joint: Ids  # (n,) joint ids
    play: Ids  # (n,) play joint ids, or empty
    qpos: Ids  # (n,) addresses in qpos
    dof: Ids  # (n,) addresses in qvel
    play_qpos: Ids  # (n,) or empty
    actuator: Ids  # (n,)
    sense_q: Ids  # (n,) addresses in sensordata, joint angle
    sense_play: Ids  # (n,) or empty
    sense_dq: Ids
    sense_tau: Ids


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """How the twin is built, before randomisation."""

    timestep_s: float = 0.0025
    backlash: bool = True
    servo: Motor | None = None  # of all joints; None = those that the arms' descriptions name
    servos: Mapping[str, Motor] = field(default_factory=dict)  # joint -> other servo

    def servo_of(self, description: ArmModel, joint: str) -> Motor:
        """The servo on `joint`. Raises `RigError` when the description names one that the twin does not know."""
        chosen = self.servos.get(joint, self.servo)
        if chosen is not None:
            return chosen
        name = description.servo_of(joint)
        if name not in MOTORS:
            raise RigError(
                f"arm description '{description.name}': {joint}: unknown servo '{name}'{nearest(name, MOTORS)}"
            )
        return MOTORS[name]


@dataclass(frozen=True, slots=True)
class Scene:
    """A compiled scene and the index of its parts. `model` is mutable on purpose: see `randomize`."""

    rig: Rig
    options: SceneOptions
    model: mujoco.MjModel
    arms: Mapping[str, JointIndex]
    grippers: Mapping[str, JointIndex]
    descriptions: Mapping[str, ArmModel]
    cameras: Mapping[str, int]  # rig camera -> camera id
    servos: Mapping[str, Motor]  # joint, as the compiled model names it -> nominal servo
    nominal: dict[str, NDArray[np.float64]]  # fields that randomisation has touched, as compiled


def prefix(arm: str) -> str:
    """Prefix of every name that belongs to `arm` in the compiled model."""
    return f"{arm}/"


def build_scene(
    rig: Rig,
    add_objects: Callable[[mujoco.MjSpec], None] | None = None,
    options: SceneOptions | None = None,
) -> Scene:
    """Compile the twin of `rig`; `add_objects` adds a task's bodies to the spec (world frame, m, kg)."""
    options = options or SceneOptions()
    spec = mujoco.MjSpec()
    spec.modelname = rig.name
    spec.option.timestep = options.timestep_s
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0  # harder friction than normal contact: grasped objects do not creep
    spec.visual.global_.offwidth = max([c.width for c in rig.cameras.values()] + [640])
    spec.visual.global_.offheight = max([c.height for c in rig.cameras.values()] + [480])
    spec.visual.quality.shadowsize = 1024
    spec.visual.quality.offsamples = 0
    # Fewer facets: a fourth of the time of a small picture, and no difference to be seen at 640x480.
    spec.visual.quality.numslices, spec.visual.quality.numstacks, spec.visual.quality.numquads = 12, 6, 1
    spec.visual.map.znear = 0.005
    spec.visual.map.zfar = 10.0
    spec.stat.extent = 1.0
    _add_room(spec, rig)
    servos: dict[str, Motor] = {}
    for name, arm in rig.arms.items():
        description = load_model(arm.model)
        child = mujoco.MjSpec.from_file(str(description.mjcf))
        joints = (*description.joints, *((description.gripper_joint,) if description.gripper_joint else ()))
        frame = spec.worldbody.add_frame(pos=arm.base.xyz_m, quat=arm.base.wxyz)
        spec.attach(child, prefix=prefix(name), frame=frame)
        for joint in joints:
            servo = options.servo_of(description, joint)
            servos[prefix(name) + joint] = servo
            add_motor(spec, prefix(name) + joint, servo, play=options.backlash)
        if all(_compensates(servos[prefix(name) + joint]) for joint in description.joints):
            for body in spec.bodies:
                if body.name.startswith(prefix(name)):
                    body.gravcomp = 1.0
    for name, camera in rig.cameras.items():
        _add_camera(spec, name, camera, rig)
    if add_objects is not None:
        add_objects(spec)
    model = spec.compile()
    arms, grippers, descriptions = {}, {}, {}
    for name, arm in rig.arms.items():
        description = descriptions[name] = load_model(arm.model)
        arms[name] = _index(model, [prefix(name) + j for j in description.joints])
        gripper = rig.gripper_of(name)
        if gripper is not None and description.gripper_joint is not None:
            grippers[gripper] = _index(model, [prefix(name) + description.gripper_joint])
    cameras = {name: model.camera(name).id for name in rig.cameras}
    nominal = {name: getattr(model, name).copy() for name in ("actuator_gainprm", "actuator_biasprm")}
    return Scene(rig, options, model, arms, grippers, descriptions, cameras, servos, nominal)


def _add_room(spec: mujoco.MjSpec, rig: Rig) -> None:
    """Table (plane), backdrop, lights and a few distractors that touch nothing."""
    for name in PATTERNS:
        image = texture(name)
        added = spec.add_texture(
            name=name,
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            width=image.shape[1],
            height=image.shape[0],
            nchannel=3,
        )
        added.data = image.tobytes()
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.75, 0.77, 0.8],
        rgb2=[0.35, 0.37, 0.42],
        width=64,
        height=64,
    )
    for name, tint in (("table", [0.62, 0.58, 0.52, 1]), ("backdrop", [0.8, 0.82, 0.84, 1])):
        textures = [""] * int(mujoco.mjtTextureRole.mjNTEXROLE)
        textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = "wood" if name == "table" else "flat"
        spec.add_material(name=name, textures=textures, rgba=tint, texrepeat=[3, 3], specular=0.1)
    world = spec.worldbody
    z = rig.table.height_m
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0.7, 0.8, 0.05],
        pos=[0.2, 0, z],
        material="table",
        condim=4,
        friction=[0.9, 0.005, 0.0001],
    )
    world.add_geom(
        name="backdrop",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.01, 1.4, 0.9],
        pos=[-0.75, 0, z + 0.5],
        material="backdrop",
        contype=0,
        conaffinity=0,
    )
    for k in range(DISTRACTORS):  # hidden below the table until randomisation places them
        world.add_geom(
            name=f"distractor_{k}",
            type=[
                mujoco.mjtGeom.mjGEOM_BOX,
                mujoco.mjtGeom.mjGEOM_CYLINDER,
                mujoco.mjtGeom.mjGEOM_SPHERE,
                mujoco.mjtGeom.mjGEOM_CAPSULE,
            ][k % 4],
            size=[0.02, 0.02, 0.02],
            pos=[0.2, 0, z - 0.3],
            rgba=[0.3, 0.3, 0.35, 1],
            contype=0,
            conaffinity=0,
        )
    world.add_light(
        name="key",
        pos=[0.5, 0.4, z + 1.4],
        dir=[-0.3, -0.3, -1],
        diffuse=[0.6, 0.6, 0.6],
        specular=[0.2, 0.2, 0.2],
        castshadow=True,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )
    world.add_light(
        name="fill",
        pos=[0.2, -0.7, z + 1.2],
        dir=[0.1, 0.6, -1],
        diffuse=[0.25, 0.25, 0.25],
        ambient=[0.15, 0.15, 0.15],
        specular=[0, 0, 0],
        castshadow=False,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )
    spec.visual.headlight.ambient = [0.1, 0.1, 0.1]
    spec.visual.headlight.diffuse = [0.1, 0.1, 0.1]
    spec.visual.headlight.specular = [0, 0, 0]


def _add_camera(spec: mujoco.MjSpec, name: str, camera: CameraConfig, rig: Rig) -> None:
    if camera.mount == "world":
        # In front of the arm, looking back at it: x 0.12..0.38, y ±0.2 m fill the picture at 50 degrees.
        pose = camera.pose or Pose((0.6, 0.0, rig.table.height_m + 0.45), FRONT_WXYZ)
        spec.worldbody.add_camera(name=name, pos=pose.xyz_m, quat=_to_mujoco(pose.wxyz), fovy=camera.fovy_deg)
        return
    description = load_model(rig.arms[camera.mount].model)
    site_name = description.tool_site if camera.pose is not None else description.camera_site
    if site_name is None:
        raise RigError(
            f"cameras.{name}.mount: '{description.name}' has no camera mount; give the camera a pose"
        )
    # Compiled: the site's pose in its body, whatever frames the description nests it in.
    compiled = mujoco.MjModel.from_xml_path(str(description.mjcf))
    site = compiled.site(site_name)
    position, quat = site.pos.copy(), site.quat.copy()
    if camera.pose is not None:
        turned = np.zeros(3)
        mujoco.mju_rotVecQuat(turned, np.array(camera.pose.xyz_m), site.quat)
        position = position + turned
        mujoco.mju_mulQuat(quat, site.quat, _to_mujoco(camera.pose.wxyz))
    body = spec.body(prefix(camera.mount) + compiled.body(int(site.bodyid[0])).name)
    body.add_camera(name=name, pos=position, quat=quat, fovy=camera.fovy_deg)


def _to_mujoco(wxyz: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Camera frame of the house (x right, y down, z forward) -> MuJoCo's (y up, looking along -z)."""
    quat = np.zeros(4)
    mujoco.mju_mulQuat(quat, np.array(wxyz), np.array([0.0, 1.0, 0.0, 0.0]))
    return quat


def _compensates(motor: Motor) -> bool:
    return isinstance(motor, Drive) and motor.compensates_gravity


def _index(model: mujoco.MjModel, names: list[str]) -> JointIndex:
    def ids(values: list[int]) -> Ids:
        return np.array(values, dtype=np.intp)

    slack = [f"{n}/play" for n in names]
    with_play = [mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, n) >= 0 for n in slack]
    if not all(with_play):
        if any(with_play):
            raise RigError(f"{', '.join(names)}: some have play and some have none; one kind of motor an arm")
        slack = []
    return JointIndex(
        names=tuple(names),
        joint=ids([model.joint(n).id for n in names]),
        play=ids([model.joint(n).id for n in slack]),
        qpos=ids([int(model.joint(n).qposadr[0]) for n in names]),
        dof=ids([int(model.joint(n).dofadr[0]) for n in names]),
        play_qpos=ids([int(model.joint(n).qposadr[0]) for n in slack]),
        actuator=ids([model.actuator(n).id for n in names]),
        sense_q=ids([int(model.sensor(f"{n}/q").adr[0]) for n in names]),
        sense_play=ids([int(model.sensor(f"{n}/q").adr[0]) for n in slack]),
        sense_dq=ids([int(model.sensor(f"{n}/dq").adr[0]) for n in names]),
        sense_tau=ids([int(model.sensor(f"{n}/tau").adr[0]) for n in names]),
    )
