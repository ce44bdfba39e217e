"""A world: one compiled scene of a rig with a task, started anew for every episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..robot.cameras import EMULATED, camera_factory
from ..robot.errors import UsageError, nearest
from ..robot.interfaces import Camera
from ..robot.rig import Rig
from .camera import TwinCamera
from .randomize import Randomizer, standard
from .render import Renderer
from .scene import Scene, SceneOptions, build_scene
from .tasks import Task, load_task
from .twin import Twin, TwinRobot

GROUPS = ("dynamics", "servo", "sensing", "camera", "scene")


@dataclass(slots=True)
class World:
    """`start(seed)` draws an episode, places its objects and hands out the robot at time 0."""

    rig: Rig
    task: Task
    scene: Scene
    randomizer: Randomizer
    renderer: Renderer | None
    cameras: tuple[str, ...]
    twin: Twin | None = field(default=None)

    def start(self, seed: int) -> tuple[TwinRobot, Mapping[str, Any]]:
        """Robot (not yet open) and the episode's draw. Ends the life of the previous episode's twin."""
        return self.start_from(self.randomizer.draw(seed), seed)

    def start_from(self, draw: Mapping[str, Any], seed: int = 0) -> tuple[TwinRobot, Mapping[str, Any]]:
        """As `start`, from a draw that was logged with an episode; `seed` is that episode's."""
        self.randomizer.apply(self.scene, draw)
        twin = self.twin = Twin(self.scene, draw)
        self.task.place(twin, draw)
        cameras: dict[str, Camera] = {}
        for name in self.cameras:
            config = self.rig.cameras[name]
            if config.kind not in EMULATED:  # a plug-in's camera is opened as it is
                cameras[name] = camera_factory(name, config)(name, config, twin.clock)
                continue
            assert self.renderer is not None
            cameras[name] = TwinCamera(name, twin, self.renderer, seed=seed)
        return TwinRobot(twin, cameras), draw

    def close(self) -> None:
        """Release the renderer; may be called twice."""
        if self.renderer is not None:
            self.renderer.close()


def open_world(
    rig: Rig,
    task: str | Task,
    *,
    cameras: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    randomize: Sequence[str] | None = None,
    profile: str = "fast",
    options: SceneOptions | None = None,
) -> World:
    """Build the twin of `rig` with `task`.

    `cameras`: which of the rig's cameras to emulate (None = all, () = none); `size` (width, height) px
    overrides their resolution; `randomize`: groups of `GROUPS` to randomise (None = all, () = only the
    task's placements); `profile`: "fast" or "faithful" rendering. Raises `UsageError` for unknown names.
    """
    for name in cameras or ():
        if name not in rig.cameras:
            raise UsageError(f"rig '{rig.name}' has no camera '{name}'{nearest(name, rig.cameras)}")
    for group in randomize or ():
        if group not in GROUPS:
            raise UsageError(f"unknown randomisation group '{group}'{nearest(group, GROUPS)}")
    if size is not None:
        resized = {n: replace(c, width=size[0], height=size[1]) for n, c in rig.cameras.items()}
        rig = replace(rig, cameras=resized)
    made = load_task(task) if isinstance(task, str) else task
    scene = build_scene(rig, made.add_objects, options)
    groups = ("task", *(GROUPS if randomize is None else randomize))
    randomizer = standard(rig, scene, made.params(scene), groups)
    names = tuple(rig.cameras) if cameras is None else tuple(cameras)
    renderer = Renderer(scene.model, profile=profile) if names else None
    if renderer is not None:
        renderer.open()  # a machine that cannot render says so now, not as a camera that is silent
    return World(rig, made, scene, randomizer, renderer, names)
