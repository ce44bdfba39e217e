"""The recorder's process: `python -m twinloop.data.recorder_server FOLDER`.

It takes the steps of an agent's loop out of a ring and writes them as a dataset. Whatever becomes of it (a full disk,
a slow one, `kill -9`) is its own affair: the agent never waits. When the agent has died, the open episode is saved.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import IntEnum
from pathlib import Path
from typing import Any

from ..robot.clock import RealClock
from ..robot.errors import DatasetError, TwinloopError
from ..robot.interfaces import Clock
from ..robot.process.parent import Parent
from ..robot.process.ring import Message, RingReader, RingWriter
from .recorder import Recorder
from .spec import DatasetSpec
from .steps import decode_step
from .writer import DatasetWriter

log = logging.getLogger(__name__)

PLAN, LOG, STEPS, ANSWERS = "recorder.json", "recorder.log", "steps", "answers"
ANSWER = 1  # kind of the messages in the ring of answers
LOOK_NS = 5_000_000
DIED = "the agent's process died"


class Word(IntEnum):
    """Kinds of messages in the ring of steps."""

    START = 1  # `number`, `task`, `info`
    STEP = 2
    END = 3  # `success`, `info`
    CLOSE = 4
    DROP = 5
    RETRACT = 6  # `number`


class RecorderServer:
    """Writes the steps in `folder`'s ring through `writer` until it is told to close, or `alone()`."""

    def __init__(
        self,
        folder: Path,
        writer: DatasetWriter,
        camera_fps: Mapping[str, float],
        clock: Clock,
        alone: Callable[[], bool],
        intervening: Sequence[str] = (),
    ) -> None:
        self._steps = RingReader(folder / STEPS, from_start=True)
        self._answers = RingWriter(folder / ANSWERS)
        self._writer = writer
        self._recorder = Recorder(
            writer,
            camera_fps=camera_fps,
            intervention=lambda step: step.applied.source in intervening,
        )
        self._clock = clock
        self._alone = alone
        self._at = 0  # position behind what was handled
        self._number = -1  # of the episode that was begun last, as the agent counts them
        self._trouble = ""  # what is wrong with it
        self._closed = False

    def run(self) -> None:
        """Raises `DatasetError` when the dataset cannot be opened."""
        self._steps.open()
        self._answers.open()
        self._writer.open()
        try:
            self._tell(None, None)
            while not self._closed:
                last = self._alone()  # before the look: what came before the end is still to be written
                before = self._at
                for message in self._steps.poll():
                    self._at = message.position + len(message.data)
                    self._take(message)
                if self._at != before:
                    self._tell(None, None)
                    continue
                if self._steps.lost or self._steps.damaged:
                    self._trouble = self._trouble or "steps were lost on the way to the recorder"
                if last:
                    break
                self._clock.sleep_until(self._clock.now() + LOOK_NS)
            if self._recorder.recording:
                self._end(None, {"ended": "interrupted" if self._closed else DIED})
        finally:
            self._writer.close()

    def _take(self, message: Message) -> None:
        if message.kind == Word.STEP:
            if self._recorder.recording and not self._trouble:
                self._guarded(lambda: self._recorder.on_step(decode_step(message.data)))
            return
        values = json.loads(message.data)
        if message.kind == Word.START:
            self._number, self._trouble = values["number"], ""
            self._recorder.discard()
            self._guarded(lambda: self._recorder.start(values["task"], values["info"]))
        elif message.kind == Word.END:
            self._end(values["success"], values["info"])
        elif message.kind == Word.DROP:
            self._recorder.discard()
        elif message.kind == Word.RETRACT:
            self._retract(values["number"])
        elif message.kind == Word.CLOSE:
            self._closed = True

    def _retract(self, number: int) -> None:
        """Take the last episode out of the dataset, and say which it was."""
        self._number, self._trouble = number, ""
        index: int | None = None
        try:
            index = self._writer.retract()
        except DatasetError as error:
            self._trouble = str(error)
        self._tell(index, number)

    def _end(self, success: bool | None, info: Mapping[str, Any]) -> None:
        """Save the open episode, and say what became of it."""
        rows, index = self._writer.length, None
        if self._trouble and "ended" not in info:
            info = {**info, "ended": self._trouble}
        try:
            if rows:
                index = self._recorder.save(success, info)
            else:
                if self._recorder.error is not None:
                    raise self._recorder.error
                self._recorder.discard()
                self._trouble = self._trouble or "no rows: it ended before its second observation"
        except DatasetError as error:
            self._trouble = str(error)
        self._tell(index, self._number, rows)

    def _guarded(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except DatasetError as error:
            self._trouble = str(error)
            log.warning("%s", error)

    def _tell(self, index: int | None, ended: int | None, rows: int = 0) -> None:
        error = self._recorder.error
        answer = {
            "at": self._at,
            "trouble": self._trouble or ("" if error is None else str(error)),
            "ended": ended,
            "index": index,
            "rows": rows,
        }
        self._answers.write(ANSWER, json.dumps(answer).encode(), self._clock.now())


def save_plan(
    folder: Path,
    root: Path,
    spec: DatasetSpec,
    camera_fps: Mapping[str, float],
    resume: bool,
    intervening: Sequence[str] = (),
) -> None:
    """Write what the process is started with."""
    plan = {
        "root": str(root),
        "spec": asdict(spec),
        "camera_fps": dict(camera_fps),
        "resume": resume,
        "intervening": list(intervening),
        "parent": os.getpid(),
    }
    (folder / PLAN).write_text(json.dumps(plan))


def _spec(plain: Mapping[str, Any]) -> DatasetSpec:
    vectors = {name: tuple(parts) for name, parts in plain["vectors"].items()}
    cameras = {name: (int(size[0]), int(size[1])) for name, size in plain["cameras"].items()}
    return DatasetSpec(plain["fps"], plain["robot_type"], vectors, plain["scalars"], cameras, plain["extra"])


def main() -> int:
    folder = Path(sys.argv[1])
    logging.basicConfig(
        filename=folder / LOG, level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s"
    )
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # the agent says when it is over
        signal.signal(number, signal.SIG_IGN)
    plan = json.loads((folder / PLAN).read_text())
    parent = Parent(plan["parent"])
    writer = DatasetWriter(Path(plan["root"]), _spec(plan["spec"]), resume=plan["resume"])
    try:
        server = RecorderServer(
            folder, writer, plan["camera_fps"], RealClock(), parent.gone, plan["intervening"]
        )
        server.run()
    except TwinloopError as error:
        log.error("%s", error)
        return 2
    except Exception:
        log.exception("the recorder's process failed")
        return 1
    finally:
        if parent.gone():  # nobody else is left to do it
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
