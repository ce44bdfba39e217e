"""Episodes of a rig in real time as a dataset: what stands in its rows, and how an episode is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.recorder import recorder_spec
from ..data.recorder_process import Kept, RecorderProcess
from ..data.spec import DatasetSpec
from ..robot.clock import wall_time
from ..robot.guard.protections import Protection
from ..robot.rig import Rig
from ..sim.tasks import Task


def live_spec(rig: Rig, task: Task, cameras: Sequence[str], backend: str) -> DatasetSpec:
    """The dataset of `task` on the devices of `rig`; `backend` is "real" or "emulated"."""
    return recorder_spec(
        fps=round(rig.control_hz),
        robot_type=rig.name,
        arms={name: rig.joint_spec(name) for name in rig.arms},
        grippers=tuple(rig.grippers),
        cameras={name: (rig.cameras[name].height, rig.cameras[name].width) for name in cameras},
        extra={"rig": rig.name, "rig_hash": rig.hash(), "backend": backend, "task": task.name},
    )


class LiveRecording:
    """Records a run's episodes under `root`, in a process of its own.

    `rig` with the pictures' size as they are taken. Control never waits for it; `finish` does, when the arm is parked.
    """

    def __init__(self, root: Path, rig: Rig, task: Task, cameras: Sequence[str], backend: str) -> None:
        self.root = root
        self.saved = 0
        self._text = task.text
        self._backend = backend
        self.recorder = RecorderProcess(
            root,
            live_spec(rig, task, cameras, backend),
            camera_fps={name: rig.cameras[name].fps for name in cameras},
        )

    def open(self) -> None:
        """Raises `DatasetError` when nothing can be recorded there."""
        self.recorder.open()

    def close(self) -> None:
        """An episode that is open is saved as interrupted."""
        self.recorder.close()

    def __enter__(self) -> LiveRecording:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, seed: int, protections: Sequence[Protection]) -> None:
        """Begin the episode of `seed`."""
        info: Mapping[str, Any] = {
            "seed": seed,
            "backend": self._backend,
            "protections": [str(p) for p in protections],
            "wall_time": wall_time(),
        }
        self.recorder.start(self._text, info)

    def end(self, success: bool | None, ended: str) -> None:
        """It is over: `success` None where nobody can tell; `ended` says why, "" = as it should."""
        self.recorder.end(success, {"ended": ended} if ended else {})

    def finish(self) -> Kept:
        """What became of it."""
        kept = self.recorder.finish()
        self.saved += kept.index is not None
        return kept
