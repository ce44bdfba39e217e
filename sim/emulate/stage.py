"""A task around the emulated arm: its objects, one draw an episode, and what its cameras need to see it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cattrs
import mujoco
import numpy as np

from ...robot.process.plan import rig_to_json
from ...robot.process.ring import RingWriter
from ...robot.rig import Rig, parse_rig
from ..randomize import Randomizer, standard
from ..scene import Scene, SceneOptions, build_scene
from ..tasks import Task, load_task
from ..tasks.task import TwinView
from ..twin import Twin
from ..world import GROUPS

PLAN, STATES = "stage.json", "states"
STATE, FAULT = 1, 2  # kinds of messages in the ring of states
RING_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands around the emulated arm."""

    task: str
    seed: int = 0
    size: tuple[int, int] | None = None  # width, height px of all cameras; None = as the rig has them
    randomize: tuple[str, ...] | None = None  # groups; None = all
    profile: str = "fast"


@dataclass(slots=True)
class StageScene:
    """The compiled scene of a stage; emulator and cameras build the same one."""

    rig: Rig
    stage: Stage
    task: Task
    scene: Scene
    randomizer: Randomizer

    def draw(self, seed: int) -> Mapping[str, Any]:
        """Draw an episode and write it into the scene."""
        drawn = self.randomizer.draw(seed)
        self.randomizer.apply(self.scene, drawn)
        return drawn


def build_stage(rig: Rig, stage: Stage) -> StageScene:
    """Compile it. Raises `UsageError` for an unknown task."""
    if stage.size is not None:
        width, height = stage.size
        cameras = {n: replace(c, width=width, height=height) for n, c in rig.cameras.items()}
        rig = replace(rig, cameras=cameras)
    task = load_task(stage.task)
    scene = build_scene(rig, task.add_objects, SceneOptions())
    groups = ("task", *(GROUPS if stage.randomize is None else stage.randomize))
    return StageScene(rig, stage, task, scene, standard(rig, scene, task.params(scene), groups))


class LiveStage:
    """The stage in the emulator's process: places episodes, judges them, and tells the cameras how it stands."""

    def __init__(self, built: StageScene, folder: Path) -> None:
        self.built = built
        self.seed = built.stage.seed
        self.twin = Twin(built.scene, built.draw(self.seed))
        self._folder = folder
        self._states = RingWriter(folder / STATES, RING_BYTES)

    def open(self) -> None:
        """Write what the cameras build their scene from, and the ring that they follow."""
        plan = {"rig": rig_to_json(self.built.rig), "stage": asdict(self.built.stage)}
        (self._folder / PLAN).write_text(json.dumps(plan))
        self._states.open()

    def close(self) -> None:
        self._states.close()

    def place(self, seed: int) -> None:
        """Put the objects where the draw of `seed` has them; the arms stay as they are, and what they are made of."""
        twin, index = self.twin, [*self.built.scene.arms.values(), *self.built.scene.grippers.values()]
        stay = np.concatenate([np.concatenate([i.qpos, i.play_qpos]) for i in index]).astype(int)
        kept, servos = twin.data.qpos[stay].copy(), _servos(twin.model)
        self.seed = seed
        draw = self.built.draw(seed)
        self.built.task.place(twin, draw)
        for array, values in zip(_servos(twin.model, copy=False), servos, strict=True):
            array[:] = values
        twin.data.qpos[stay] = kept
        twin.settle()

    def judge(self) -> tuple[bool, list[float]]:
        """Whether the task is done now, and the positions of its bodies in W, m."""
        view = TwinView(self.twin)
        objects = [float(x) for body in self.built.task.bodies for x in view.pos(body)]
        return bool(self.built.task.success(view)), objects

    def tell(self, now_ns: int) -> None:
        """The twin's state, for the cameras."""
        data = self.twin.data
        head = np.array([self.twin.clock.now(), self.seed], "<i8")
        parts = [data.qpos, data.qvel, data.mocap_pos.ravel(), data.mocap_quat.ravel()]
        self._states.write(STATE, head.tobytes() + np.concatenate(parts).tobytes(), now_ns)

    def tell_fault(self, camera: str, fault: str, now_ns: int) -> None:
        """A fault of a camera: "frozen", "slow", "gone", or "" for none."""
        self._states.write(FAULT, json.dumps([camera, fault]).encode(), now_ns)


def load_stage(folder: Path) -> StageScene:
    """The scene that the emulator in `folder` has."""
    plan = json.loads((folder / PLAN).read_text())
    stage = cattrs.structure(plan["stage"], Stage)
    return build_stage(parse_rig(plan["rig"], str(folder / PLAN)), stage)


def _servos(model: mujoco.MjModel, copy: bool = True) -> list[np.ndarray]:
    """The fields in which the emulated firmware keeps gains and torque limits."""
    found = [model.actuator_gainprm, model.actuator_biasprm, model.actuator_forcerange]
    return [array.copy() for array in found] if copy else found
