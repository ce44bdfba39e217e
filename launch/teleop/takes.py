"""What a session records with: the twin's writer waits, since time stands meanwhile; a rig's never does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...data.recorder import Recorder
from ...data.recorder_process import Kept, RecorderProcess
from ...data.spec import DatasetSpec
from ...data.writer import DatasetWriter
from ...robot.errors import DatasetError
from ...robot.interfaces import Observer
from ...robot.types import F64, Step
from ..collect import OBJECTS, QPOS
from ..stopping import deferred

PERSON = "person"


class Takes(Observer, Protocol):
    """Where episodes go: `start`, steps, then `end` or `drop`; `finish` says what became of an ended one."""

    def open(self) -> None: ...

    def look(self) -> None:
        """The loop has observed: note what stands beside this observation."""
        ...

    def start(self, text: str, info: Mapping[str, Any]) -> None: ...

    def end(self, success: bool | None, info: Mapping[str, Any]) -> None: ...

    def drop(self) -> None:
        """Throw the running episode away."""
        ...

    @property
    def trouble(self) -> str:
        """Why the running episode is not written any more (a full disk, say); "" while it is."""
        ...

    @property
    def busy(self) -> bool:
        """Whether `finish` would wait."""
        ...

    def finish(self) -> Kept: ...

    def retract(self) -> Kept:
        """Take the last saved episode out again; `index` None: it stays, and `trouble` says why."""
        ...

    def close(self) -> None:
        """An episode that is open is saved as interrupted, or left for `repair`."""
        ...


class DryTakes:
    """Implements `Takes` without writing."""

    def __init__(self) -> None:
        self._rows = 0
        self._saved = 0

    def open(self) -> None: ...

    def look(self) -> None: ...

    def start(self, text: str, info: Mapping[str, Any]) -> None:
        self._rows = 0

    def on_step(self, step: Step) -> None:
        self._rows += 1

    def end(self, success: bool | None, info: Mapping[str, Any]) -> None:
        self._saved += 1

    def drop(self) -> None: ...

    trouble = ""

    @property
    def busy(self) -> bool:
        return False

    def finish(self) -> Kept:
        return Kept(self._saved - 1, self._rows, "")

    def retract(self) -> Kept:
        self._saved -= 1
        return Kept(self._saved, 0, "")

    def close(self) -> None: ...


class TwinTakes:
    """Implements `Takes` in this process, as experts' demonstrations are: with what only the twin knows.

    `truth` gives the positions of the task's bodies, (3K,) m, and the twin's configuration, (nq,).
    """

    def __init__(
        self,
        root: Path,
        spec: DatasetSpec,
        camera_fps: Mapping[str, float],
        truth: Callable[[], tuple[F64, F64]],
        intervening: Sequence[str] = (),
    ) -> None:
        self._truth = truth
        self._now: tuple[F64, F64] = (np.zeros(0), np.zeros(0))  # at the observation of the step to come
        self._writer = DatasetWriter(root, spec, resume=True, wait=True)
        self._recorder = Recorder(
            self._writer,
            vectors={OBJECTS: lambda step: self._now[0], QPOS: lambda step: self._now[1]},
            camera_fps=camera_fps,
            intervention=lambda step: step.applied.source in intervening,
        )
        self._kept = Kept(None, 0, "")

    def open(self) -> None:
        self._writer.open()

    def look(self) -> None:
        if self._recorder.recording:
            self._now = self._truth()

    def start(self, text: str, info: Mapping[str, Any]) -> None:
        self._recorder.start(text, info)
        self._now = self._truth()

    def on_step(self, step: Step) -> None:
        with warnings.catch_warnings():  # what becomes of the disk is said as `trouble`
            warnings.simplefilter("ignore")
            self._recorder.on_step(step)

    def end(self, success: bool | None, info: Mapping[str, Any]) -> None:
        rows = self._writer.length
        if not rows and self._recorder.error is None:
            self._recorder.discard()
            self._kept = Kept(None, 0, "no rows: it ended before its second observation")
            return
        try:
            with deferred():
                self._kept = Kept(self._recorder.save(success, info), rows, "")
        except DatasetError as error:
            self._kept = Kept(None, rows, str(error))

    def drop(self) -> None:
        self._recorder.discard()

    @property
    def trouble(self) -> str:
        return str(self._recorder.error or "")

    @property
    def busy(self) -> bool:
        return False

    def finish(self) -> Kept:
        return self._kept

    def retract(self) -> Kept:
        try:
            with deferred():
                return Kept(self._writer.retract(), 0, "")
        except DatasetError as error:
            return Kept(None, 0, str(error))

    def close(self) -> None:
        if self._recorder.recording and self._writer.length:
            self.end(None, {"ended": "interrupted"})
        self._recorder.discard()
        self._writer.close()


class RigTakes:
    """Implements `Takes` in a process of its own, for which control never waits."""

    def __init__(
        self,
        root: Path,
        spec: DatasetSpec,
        camera_fps: Mapping[str, float],
        intervening: Sequence[str] = (),
    ) -> None:
        self._process = RecorderProcess(root, spec, camera_fps=camera_fps, intervening=intervening)

    def open(self) -> None:
        self._process.open()

    def look(self) -> None: ...

    def start(self, text: str, info: Mapping[str, Any]) -> None:
        self._process.start(text, info)

    def on_step(self, step: Step) -> None:
        self._process.on_step(step)

    def end(self, success: bool | None, info: Mapping[str, Any]) -> None:
        self._process.end(success, info)

    def drop(self) -> None:
        self._process.drop()

    @property
    def trouble(self) -> str:
        return self._process.trouble

    @property
    def busy(self) -> bool:
        return self._process.busy

    def finish(self) -> Kept:
        return self._process.finish()

    def retract(self) -> Kept:
        return self._process.retract()

    def close(self) -> None:
        self._process.close()
