"""`PageProcess`: the operator's page as the loop sees it. It shows steps, tells what people ask, and never waits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...data.steps import encode_step
from ...robot.clock import RealClock
from ...robot.errors import DeviceError
from ...robot.interfaces import Clock
from ...robot.process.plan import rig_to_json
from ...robot.process.ring import RingReader, RingWriter
from ...robot.process.sessions import memory
from ...robot.rig import Rig
from ...robot.types import Step
from ..jog import Jog
from .asks import CONTROL, JOG, NOTE, jog_of
from .dropped import Dropped
from .files import ASKS, HELLO, LOG, PLAN, SESSION, STARTS, STEPS, TOLD
from .link import Link, pin_of

START_NS = 20_000_000_000
END_S = 3.0
LOOK_NS = 5_000_000
STEP_BYTES = 32_768  # a step without its pictures, at most
KEPT = 6  # steps that the ring holds
SILENT_NS = 100_000_000  # without a word from the browser for that long, its hand is gone


class PageProcess:
    """Serves the page of `rig` at `link` from a process of its own. An `Observer`, and a `JogDevice`'s source.

    `tls_folder` is where the certificate lies, or is made; `root`, where something is recorded, is whose disk's free
    space is shown. A page that dies stops nothing: `trouble` says so.
    """

    name = "web"

    def __init__(
        self,
        rig: Rig,
        link: Link,
        tls_folder: Path,
        clock: Clock | None = None,
        root: Path | None = None,
        silent_ns: int = SILENT_NS,
    ) -> None:
        self._rig = rig
        self.link = link
        self._tls = tls_folder
        self._root = root
        self._silent_ns = silent_ns
        self._clock: Clock = clock or RealClock()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._steps: RingWriter | None = None
        self._session: RingWriter | None = None
        self._asks: RingReader | None = None
        self._jog: tuple[int, bytes] | None = None  # when the newest came, ns, and what it was
        self._controls: list[str] = []
        self._note: str | None = None
        self._dropped = Dropped({name: c.fps / rig.control_hz for name, c in rig.cameras.items()})
        self.port = 0

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return Link(self.link.host, self.port, self.link.token, self.link.tls).url()

    @property
    def folder(self) -> Path:
        """Where its rings lie. Raises `DeviceError` while it is not open."""
        if self._folder is None:
            raise DeviceError("page: not open")
        return self._folder

    @property
    def pin(self) -> str:
        """Of its certificate; "" where there is none."""
        return pin_of(self._tls) if self.link.tls else ""

    @property
    def trouble(self) -> str:
        """Why there is no page now; "" while there is."""
        if self._process is None:
            return "the page is not open"
        return "" if self._process.poll() is None else "the page's process died"

    def open(self) -> None:
        """Start serving. Raises `DeviceError` that says why it cannot (a port in use, say)."""
        if self._process is not None:
            return
        folder = self._folder = Path(tempfile.mkdtemp(prefix="twinloop-page-", dir=memory()))
        step = STEP_BYTES + sum(3 * c.height * c.width + 64 for c in self._rig.cameras.values())
        try:
            plan = {
                "rig": rig_to_json(self._rig),
                "link": asdict(self.link),
                "tls": str(self._tls),
                "root": None if self._root is None else str(self._root.absolute()),
                "parent": os.getpid(),
            }
            (folder / PLAN).write_text(json.dumps(plan))
            self._steps = RingWriter(folder / STEPS, KEPT * step)
            self._session = RingWriter(folder / SESSION)
            self._steps.open()
            self._session.open()
            RingWriter(folder / ASKS).open()
            self._asks = RingReader(folder / ASKS, from_start=True)
            self._asks.open()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "twinloop.teleop.page.server", str(folder)],
                stdin=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the loop's
                env={"MUJOCO_GL": "egl", **os.environ},  # pictures go to browsers, not to a screen
            )
            self._wait_for_hello(folder)
        except BaseException:
            self.close()
            raise

    def on_step(self, step: Step) -> None:
        """Show `step`: as an observer of the loop."""
        if self._steps is not None:
            self._dropped.look(step.obs)
            self._steps.write(1, encode_step(step), self._clock.now())

    def tell(self, session: Mapping[str, Any]) -> None:
        """Show how the session stands: plain values by name, as the page knows them."""
        if self._session is not None:
            told = {"dropped": self._dropped.count, **session}
            self._session.write(TOLD, json.dumps(told).encode(), self._clock.now())

    def tell_starts(self, png: bytes) -> None:
        """Show this picture of where episodes began, until there is another."""
        if self._session is not None:
            self._session.write(STARTS, png, self._clock.now())

    def controls(self) -> tuple[str, ...]:
        """Controls that were pressed on the page since the last look."""
        self._listen()
        pressed, self._controls = tuple(self._controls), []
        return pressed

    def answer(self) -> str | None:
        """A note that was written on the page, once; None while there is none."""
        self._listen()
        note, self._note = self._note, None
        return note

    def read(self, now_ns: int) -> Jog:
        """What the hand on the page asks for; not engaged without word of it for `silent_ns`."""
        self._listen()
        if self._jog is None or now_ns - self._jog[0] > self._silent_ns:
            return Jog(engaged=False, keys=self.controls())
        return jog_of(self._jog[1], self.controls())

    def beat_ns(self) -> int | None:
        """When the hand on the page was last heard of; None before it ever was."""
        self._listen()
        return None if self._jog is None else self._jog[0]

    def feel(self, clamped: bool) -> None:
        """What the guard does stands in `tell`."""

    def close(self) -> None:
        """End it; may be called twice."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for part in (self._steps, self._session, self._asks):
            if part is not None:
                part.close()
        self._steps = self._session = self._asks = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> PageProcess:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        for message in () if self._asks is None else self._asks.poll(1000):
            if message.kind == JOG:
                self._jog = message.t_ns, message.data
            elif message.kind == CONTROL:
                self._controls.append(json.loads(message.data))
            elif message.kind == NOTE:
                self._note = json.loads(message.data)

    def _wait_for_hello(self, folder: Path) -> None:
        due = self._clock.now() + START_NS
        while self._clock.now() < due:
            if (folder / HELLO).exists():
                hello = json.loads((folder / HELLO).read_text())
                if "error" in hello:
                    raise DeviceError(f"page: {hello['error']}")
                self.port = int(hello["port"])
                return
            if self._process is not None and self._process.poll() is not None:
                break
            self._clock.sleep_until(self._clock.now() + LOOK_NS)
        words = (folder / LOG).read_text().strip().splitlines() if (folder / LOG).exists() else []
        raise DeviceError(f"page: its process does not come up{': ' + words[-1] if words else ''}")
