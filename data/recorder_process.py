"""`RecorderProcess`: a recorder in a process of its own, as the loop whose steps it writes sees it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..robot.clock import RealClock
from ..robot.errors import DatasetError, DeviceError, TwinloopError
from ..robot.interfaces import Clock
from ..robot.process.ring import Part, RingReader, RingWriter
from ..robot.process.sessions import memory
from ..robot.types import Step
from .recorder_server import ANSWERS, LOG, STEPS, Word, save_plan
from .spec import DatasetSpec
from .steps import encode_step

QUEUE_S = 2.0  # so much may wait for the recorder, in memory
ROWS_MIN = 8  # of the ring; a message may take a quarter
ROW_BYTES = 16_384  # a row without pictures, at most
THIN, FULL = 0.3, 0.6  # of the ring: from here on no pictures, from there on the episode is cut
START_NS = 60_000_000_000  # importing on a busy machine
SAVE_NS = 30_000_000_000  # a disk that takes longer is no disk
LOOK_NS = 2_000_000
TAIL = 200  # characters of the log's last line


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of an episode."""

    index: int | None  # in the dataset; None: it is not in it
    rows: int
    trouble: str  # what went wrong, "" = nothing


class RecorderProcess:
    """Records episodes under `root` in a process of its own; an `Observer` that never waits, and never raises.

    `start`, then steps, then `end`; `finish` waits for the disk and says what came of it. A recorder that is too slow
    gets no pictures (the rows say so), and then the episode is cut, and marked: `ended` in its info says why. One that
    dies is started anew with the next episode. `camera_fps` as `Recorder` has it.
    """

    def __init__(
        self,
        root: Path,
        spec: DatasetSpec,
        *,
        camera_fps: Mapping[str, float] | None = None,
        intervening: Sequence[str] = (),
        clock: Clock | None = None,
        queue_s: float = QUEUE_S,
    ) -> None:
        """`intervening`: sources whose rows count as interventions, where a policy and a person share the arm."""
        self.root = root
        self._spec = spec
        self._camera_fps = dict(camera_fps or {})
        self._intervening = tuple(intervening)
        self._clock: Clock = clock or RealClock()
        self._row = ROW_BYTES + sum(3 * height * width for height, width in spec.cameras.values())
        self._rows = round(queue_s * spec.fps)
        self._capacity = 0  # bytes of the ring
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._steps: RingWriter | None = None
        self._answers: RingReader | None = None
        self._written = self._handled = 0  # positions in the ring
        self._number = -1  # of the latest episode
        self._running = False
        self._trouble = ""  # of it
        self._ended: dict[str, Any] | None = None
        self.thinned = 0  # steps of the latest episode that went without pictures

    @property
    def pid(self) -> int | None:
        """The recorder's process."""
        return None if self._process is None else self._process.pid

    @property
    def trouble(self) -> str:
        """What is wrong with the latest episode; "" = nothing."""
        self._listen()
        return self._trouble

    def open(self) -> None:
        """Start the process and open the dataset, or join it. Raises `DatasetError` or `DeviceError` that says why
        that cannot be."""
        if self._process is not None:
            return
        self._written = self._handled = 0
        self._folder = folder = Path(tempfile.mkdtemp(prefix="twinloop-recorder-", dir=memory()))
        try:
            save_plan(folder, self.root, self._spec, self._camera_fps, self.root.exists(), self._intervening)
            room = shutil.disk_usage(folder).free // 2  # containers have little of it
            self._capacity = max(ROWS_MIN * self._row, min(self._rows * self._row, room))
            self._steps = RingWriter(folder / STEPS, self._capacity)
            self._steps.open()
            RingWriter(folder / ANSWERS).open()
            self._answers = RingReader(folder / ANSWERS, from_start=True)
            self._answers.open()
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.recorder_server", str(folder)],
                stdin=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the agent's
            )
            due = self._clock.now() + START_NS
            while self._answers.latest() is None:
                if self._process.poll() is not None or self._clock.now() > due:
                    raise DatasetError(self._last_words() or f"{self.root}: the recorder does not come up")
                self._clock.sleep_until(self._clock.now() + LOOK_NS)
        except OSError as error:
            self._end()
            raise DeviceError(f"{folder}: {error.strerror or error}; free some memory there") from None
        except BaseException:
            self._end()
            raise

    def start(self, task: str, info: Mapping[str, Any] | None = None) -> None:
        """Begin an episode; where that is not possible `trouble` says so."""
        self._number += 1
        self._trouble, self._ended, self.thinned = "", None, 0
        if not self._alive():
            self._end()
            try:
                self.open()
            except TwinloopError as error:
                self._trouble = str(error)
                return
        self._running = True
        self._say(Word.START, {"number": self._number, "task": task, "info": dict(info or {})})

    def on_step(self, step: Step) -> None:
        """Hand `step` over, if an episode is open."""
        if not self._running:
            return
        self._listen()
        waiting = (self._written - self._handled) / self._capacity
        if waiting > FULL:
            self._trouble = self._trouble or (
                f"{self.root}: the recorder was too slow, or stood still; the episode is cut where it fell behind"
            )
        if self._trouble:
            self._running = False
            return
        thin = waiting > THIN
        self.thinned += thin
        try:
            self._put(Word.STEP, encode_step(step, pictures=not thin))
        except TwinloopError as error:  # a picture that is larger than its camera's, say
            self._trouble = str(error)

    def end(self, success: bool | None = None, info: Mapping[str, Any] | None = None) -> None:
        """The episode is over; does not wait for the disk. `success` None: nobody knows."""
        marked = dict(info or {})
        if self._trouble:
            marked.setdefault("ended", self._trouble)
        self._running = False
        self._say(Word.END, {"success": success, "info": marked})

    @property
    def busy(self) -> bool:
        """Whether `finish` would wait."""
        self._listen()
        return self._ended is None and self._alive()

    def drop(self) -> None:
        """Throw the open episode away."""
        self._running = False
        self._trouble = ""
        self._say(Word.DROP, {})

    def retract(self) -> Kept:
        """Take the last saved episode out of the dataset again; waits for the disk. `index` is the one that it had,
        None when it is still there: `trouble` says why."""
        if not self._alive():
            return Kept(None, 0, f"{self.root}: the recorder's process is not there; the episode stays")
        self._number += 1
        self._trouble, self._ended = "", None
        self._say(Word.RETRACT, {"number": self._number})
        return self.finish()

    def finish(self) -> Kept:
        """Wait, 30 s at most, until the ended episode is saved. A recorder that then says nothing is killed."""
        due = self._clock.now() + SAVE_NS
        while self._ended is None and self._alive() and self._clock.now() < due:
            self._listen()
            self._clock.sleep_until(self._clock.now() + LOOK_NS)
        self._listen()
        if self._ended is not None:
            return Kept(self._ended["index"], self._ended["rows"], self._trouble or self._ended["trouble"])
        if self._process is not None:
            what = "does not answer" if self._alive() else "died"
            self._trouble = (
                f"{self.root}: the recorder's process {what}; `twinloop dataset repair {self.root}` brings back what "
                "it had written of this episode"
            )
            self._process.kill()
        return Kept(None, 0, self._trouble)

    def close(self) -> None:
        """End the process; an episode that is still open is saved as interrupted. May be called twice."""
        if self._process is None:
            return
        self._say(Word.CLOSE, {})
        self._end()

    def __enter__(self) -> RecorderProcess:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _say(self, kind: Word, values: Mapping[str, Any]) -> None:
        self._put(kind, [json.dumps(values).encode()])

    def _put(self, kind: Word, data: Sequence[Part]) -> None:
        if self._steps is not None:
            self._written = self._steps.write(kind, data, self._clock.now()) + sum(map(len, data))

    def _listen(self) -> None:
        for message in () if self._answers is None else self._answers.poll(1000):
            answer = json.loads(message.data)
            self._handled = answer["at"]
            self._trouble = self._trouble or answer["trouble"]
            if answer["ended"] == self._number:
                self._ended = answer

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _last_words(self) -> str:
        """The end of the recorder's log, without its date."""
        log = None if self._folder is None else self._folder / LOG
        lines = log.read_text(errors="replace").strip().splitlines() if log and log.exists() else []
        return lines[-1].split(": ", 1)[-1][: 5 * TAIL] if lines else ""

    def _end(self) -> None:
        process, self._process = self._process, None
        self._running = False
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(SAVE_NS * 1e-9)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for part in (self._steps, self._answers):
            if part is not None:
                part.close()
        self._steps = self._answers = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
