"""A camera's capture process: `python -m twinloop.robot.cameras.server FOLDER`.

It blocks on the device and puts every picture into a ring; a device that went away is opened again. A picture that
is the same to the last bit for too long is frozen, and no longer handed on: whoever watches its age sees it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..clock import RealClock
from ..errors import DeviceError, TwinloopError
from ..process.parent import Parent
from ..process.ring import Part, RingWriter
from ..rig import CameraConfig, parse_rig
from .frames import FRAME, encode, ring_bytes
from .source import Source, find_factory

log = logging.getLogger(__name__)

PLAN, LOG, RING, LENS = "camera.json", "camera.log", "frames", "intrinsics.json"
AGAIN_NS = 500_000_000
FROZEN_NS = 500_000_000  # a sensor's noise changes every picture


class CaptureLoop:
    """Reads `source` into the ring in `folder` until `ended()`."""

    def __init__(
        self, name: str, config: CameraConfig, source: Source, folder: Path, *, frozen: bool
    ) -> None:
        self._name = name
        self._source = source
        self._folder = folder
        self._ring = RingWriter(folder / RING, ring_bytes(config.width, config.height, depth=True))
        self._clock = RealClock()
        self._watch_frozen = frozen
        self._print = -1  # of the last picture
        self._changed_ns = 0  # when it last was another

    def run(self, ended: Callable[[], bool]) -> None:
        """Raises `DeviceError` when the camera cannot be opened at all."""
        self._ring.open()
        self._source.open()
        is_open = True
        lens = getattr(self._source, "intrinsics", None)
        if lens is not None:
            (self._folder / LENS).write_text(json.dumps(asdict(lens)))
        while not ended():
            try:
                if not is_open:
                    self._source.open()
                    is_open = True
                frame = self._source.next()
            except DeviceError as error:
                log.warning("%s", error)
                self._source.close()
                is_open = False
                self._clock.sleep_until(self._clock.now() + AGAIN_NS)
                continue
            head, *pixels = encode(frame)
            if not self._frozen(pixels):
                self._ring.write(FRAME, [head, *pixels], self._clock.now())
        self._source.close()

    def _frozen(self, pixels: Sequence[Part]) -> bool:
        """Whether the picture has been the same for too long."""
        if not self._watch_frozen:
            return False
        now, found = self._clock.now(), 0
        for part in pixels:
            found = zlib.crc32(part, found)
        if found != self._print:
            self._print, self._changed_ns = found, now
        return now - self._changed_ns > FROZEN_NS


def main() -> int:
    folder = Path(sys.argv[1])
    logging.basicConfig(
        filename=folder / LOG, level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s"
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan = json.loads((folder / PLAN).read_text())
    rig = parse_rig(plan["rig"], str(folder / PLAN))
    parent = Parent(plan["parent"])
    name, config = plan["camera"], rig.cameras[plan["camera"]]
    try:
        source = find_factory(plan["source"])(name, config, RealClock(), plan["options"])
        CaptureLoop(name, config, source, folder, frozen=plan["frozen"]).run(parent.gone)
        shutil.rmtree(folder, ignore_errors=True)  # a parent that was killed does not
    except TwinloopError as error:
        log.error("%s", error)
        return 2
    except Exception:
        log.exception("camera %s: its process failed", name)
        raise
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
