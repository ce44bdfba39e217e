"""`CameraProcess`: a camera in a capture process of its own, its newest picture in shared memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..clock import RealClock
from ..errors import DeviceError, RigError, StaleData
from ..interfaces import Clock
from ..process.plan import rig_to_json
from ..process.ring import RingReader, RingWriter
from ..process.sessions import memory
from ..rig import Rig
from ..types import CameraSpec, Frame
from .frames import decode, ring_bytes
from .intrinsics import Intrinsics
from .server import LENS, LOG, PLAN, RING
from .source import DRIVERS

START_NS = 30_000_000_000  # until the first picture
LOOK_NS = 5_000_000
AGAIN_NS = 2_000_000_000  # between two starts of a process that died
END_S = 3.0


class CameraProcess:
    """Camera `name` of `rig`; implements `Camera`.

    `source` names the driver's factory (`module:function`, see `source.SourceFactory`) in place of the one of the
    camera's kind; `options` go to it, on top of those of the rig. A capture process that dies is started anew.
    `frozen`: a picture that does not change by a bit for half a second counts as none.
    """

    def __init__(
        self,
        name: str,
        rig: Rig,
        clock: Clock | None = None,
        *,
        source: str | None = None,
        options: Mapping[str, Any] | None = None,
        frozen: bool = True,
    ) -> None:
        self.name = name
        self._rig = rig
        self._config = rig.cameras[name]
        self._clock: Clock = clock or RealClock()
        self._source = source
        self._options = {**rig.cameras[name].options, **(options or {})}
        self._frozen = frozen
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ring: RingReader | None = None
        self._position = -1
        self._frame: Frame | None = None
        self._started_ns = 0
        self._base = 0  # number of the last picture of a process that died
        self.drops = 0  # pictures that were taken, or due, and not seen, since `open`
        self.seen = 0

    @property
    def spec(self) -> CameraSpec:
        config = self._config
        return CameraSpec(config.width, config.height, config.fps, config.kind == "realsense")

    def open(self) -> None:
        """Start capturing and wait for the first picture. Raises `DeviceError` that says why there is none."""
        if self._process is not None:
            return
        source = self._source or DRIVERS.get(self._config.kind)
        if source is None:
            raise RigError(f"camera {self.name}: no capture driver for kind '{self._config.kind}'")
        self._folder = Path(tempfile.mkdtemp(prefix="twinloop-camera-", dir=memory()))
        try:
            plan = {
                "rig": rig_to_json(self._rig),
                "camera": self.name,
                "source": source,
                "options": self._options,
                "frozen": self._frozen,
                "parent": os.getpid(),
            }
            (self._folder / PLAN).write_text(json.dumps(plan))
            size = ring_bytes(self._config.width, self._config.height, depth=True)
            writer = RingWriter(self._folder / RING, size)  # so that there is one to read
            writer.open()
            writer.close()
            self._ring = RingReader(self._folder / RING)
            self._ring.open()
            self._start()
            self._wait()
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame:
        """The newest picture. Raises `StaleData` when it is older than the rig's `guard.stale_camera_ms`."""
        if self._ring is None or self._process is None:
            raise DeviceError(f"camera {self.name}: not open; call open() first")
        now = self._clock.now()
        if self._process.poll() is not None and now - self._started_ns > AGAIN_NS:
            self._base = 0 if self._frame is None else self._frame.seq  # numbers go on
            self._start()
        message = self._ring.latest()
        if message is not None and message.position != self._position:
            frame = decode(message.data)
            frame = replace(frame, seq=frame.seq + self._base)
            if self._frame is not None:
                self.drops += max(0, frame.seq - self._frame.seq - 1)
            self._position, self._frame = message.position, frame
            self.seen += 1
        if self._frame is None:
            raise DeviceError(f"camera {self.name}: no picture yet")
        limit = round(self._rig.guard.stale_camera_ms * 1e6)
        if now - self._frame.t_ns > limit:
            raise StaleData(f"camera {self.name}", now - self._frame.t_ns, limit)
        return self._frame

    @property
    def tally(self) -> str:
        """How many pictures were looked at, for people."""
        return f"{self.seen} pictures seen, {self.drops} that were due were not"

    @property
    def intrinsics(self) -> Intrinsics | None:
        """The lens, where the device knows it; None before `open`, and for cameras that must be calibrated."""
        path = None if self._folder is None else self._folder / LENS
        if path is None or not path.exists():
            return None
        values = json.loads(path.read_text())
        return Intrinsics(**{**values, "coefficients": tuple(values["coefficients"])})

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:  # the device blocks it
                process.kill()
                process.wait()
        if self._ring is not None:
            self._ring.close()
        self._ring = self._frame = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        self._started_ns = self._clock.now()
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.server", str(self._folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _wait(self) -> None:
        assert self._ring is not None and self._process is not None
        due = self._clock.now() + START_NS
        while self._ring.latest() is None:
            if self._process.poll() is not None or self._clock.now() > due:
                raise DeviceError(self._last_words())
            self._clock.sleep_until(self._clock.now() + LOOK_NS)

    def _last_words(self) -> str:
        assert self._folder is not None
        log = self._folder / LOG
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        told = lines[-1].split(": ", 1)[-1] if lines else "no picture came"
        return told if told.startswith("camera ") else f"camera {self.name}: {told}"
