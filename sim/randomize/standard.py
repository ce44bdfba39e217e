"""The default randomisation of a rig's twin."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...robot.errors import UsageError, nearest
from ...robot.rig import Rig
from ..scene import Scene
from .cameras import camera_params
from .drive import drive_params
from .dynamics import dynamics_params
from .param import GROUPS, Param
from .randomizer import Randomizer
from .scene import scene_params
from .sensing import sensing_params
from .servo import servo_params


def standard(
    rig: Rig,
    scene: Scene,
    task_params: Sequence[Param] = (),
    groups: Collection[str] | None = None,
) -> Randomizer:
    """All parameters of `scene`, and a task's; `groups` keeps some of `GROUPS` (task parameters always stay).

    Make it before the scene is changed: it takes what it finds as nominal.
    """
    for group in groups or ():
        if group not in GROUPS:
            raise UsageError(f"unknown randomisation group '{group}'{nearest(group, GROUPS)}")
    for field in ("actuator_gainprm", "actuator_biasprm"):  # a twin that lets go of its arm writes zeros here
        scene.nominal.setdefault(field, getattr(scene.model, field).copy())
    params: list[Param] = []
    wanted = set(GROUPS if groups is None else groups)
    if "dynamics" in wanted:
        params += dynamics_params(scene)
    if "servo" in wanted:
        params += servo_params(scene)
        params += drive_params(scene)
    if "sensing" in wanted:
        params += sensing_params(scene)
    if "camera" in wanted:
        for name, config in rig.cameras.items():
            params += camera_params(name, scene.cameras[name], config)
    if "scene" in wanted:
        params += scene_params(scene)
    return Randomizer([*params, *task_params])
