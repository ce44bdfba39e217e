"""The page's process: `python -m twinloop.teleop.page.server FOLDER`.

It looks at the newest step of the loop and hands it to browsers, each at its own pace: what one is too slow for is
dropped, never kept. What browsers ask for goes into a ring that the loop looks at.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import cattrs
import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ...data.steps import decode_step
from ...robot.clock import RealClock
from ...robot.errors import TwinloopError
from ...robot.process.parent import Parent
from ...robot.process.ring import RingReader, RingWriter
from ...robot.rig import Rig, parse_rig
from ...robot.types import Observation
from ..remote_server import PATH, Operators
from .asks import ASK_BYTES, checked
from .files import ASKS, HELLO, LOG, PLAN, SESSION, STARTS, STEPS, TOLD
from .link import Link, tls_context
from .pictures import VIEW, ArmView, jpeg, numbers_of

log = logging.getLogger(__name__)
T = TypeVar("T")

STATIC = Path(__file__).with_name("static")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
LOOK_S = 0.03  # between two looks at the loop: 33 Hz at most
PICTURE_NS = 66_000_000  # between two pictures of one camera
VIEW_NS = 100_000_000
PING_S = 1.0
DISK_S = 2.0
COVERAGE = "@starts"  # name of the picture of starts among the cameras, none of which is called so
BROWSERS = 8
SECURITY = {  # nothing is loaded from elsewhere, nobody may frame the page
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(slots=True, eq=False)
class Browser:
    """One connection: the newest of everything that it has not been sent."""

    socket: ServerConnection
    state: str | None = None
    pictures: dict[str, bytes] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    pings: dict[int, int] = field(default_factory=dict)  # number -> when it was sent, ns
    round_trip_ms: float | None = None


class PageServer:
    """Serves the page of the loop whose rings lie in `folder`."""

    def __init__(
        self, folder: Path, rig: Rig, link: Link, tls_folder: Path, parent: Parent, root: Path | None = None
    ) -> None:
        self._folder = folder
        self._rig = rig
        self._link = link
        self._tls = tls_folder
        self._parent = parent
        self._root = root  # of the dataset
        self._clock = RealClock()
        self._steps = RingReader(folder / STEPS)
        self._session = RingReader(folder / SESSION, from_start=True)
        self._asks = RingWriter(folder / ASKS)
        self._browsers: set[Browser] = set()
        self._operators = Operators(folder, self._clock)
        self._view = ArmView(rig)
        self._view_works = True
        self._painter = ThreadPoolExecutor(1)
        self._showing: asyncio.Task[None] | None = None
        self._shown: dict[str, tuple[int, int]] = {}  # camera -> number and time of its last picture
        self._told: dict[str, Any] = {}  # what the session said last
        self._starts = b""  # picture of where episodes began
        self._free_gb: float | None = None

    async def run(self) -> None:
        """Until the loop's process has ended, or says so."""
        for part in (self._steps, self._session, self._asks):
            part.open()
        tls = tls_context(self._tls, self._link.host) if self._link.tls else None
        async with serve(
            self._meet,
            self._link.host,
            self._link.port,
            ssl=tls,
            process_request=self._request,
            max_size=ASK_BYTES,
            max_queue=4,
            compression=None,
            ping_interval=None,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            _say(self._folder, {"port": port, "pid": os.getpid()})
            watch = asyncio.create_task(self._watch_disk())
            self._showing = asyncio.create_task(self._prepare())
            while not self._parent.gone():
                self._look()
                await asyncio.sleep(LOOK_S)
            watch.cancel()
        await self._paint(self._view.close)
        self._painter.shutdown()

    async def _request(self, socket: ServerConnection, request: Request) -> Response | None:
        """The page's files; None lets a browser go on to a WebSocket."""
        headers = request.headers
        if not self._link.admits(request.path, headers.get("Origin"), headers.get("Host")):
            text = "Open the address that twinloop printed, with its token.\n"
            return Response(HTTPStatus.FORBIDDEN, "Forbidden", Headers(SECURITY), text.encode())
        path = request.path.split("?", 1)[0]
        if path == PATH:
            return self._operators.refusal(request.path)
        if path == "/ws":
            if len(self._browsers) >= BROWSERS:
                return Response(HTTPStatus.SERVICE_UNAVAILABLE, "Full", Headers(), b"too many browsers\n")
            return None
        file = STATIC / ("index.html" if path == "/" else Path(path).name)
        if file.suffix not in TYPES or not file.is_file():
            return Response(HTTPStatus.NOT_FOUND, "Not Found", Headers(), b"not here\n")
        body = file.read_bytes()
        shown = Headers({**SECURITY, "Content-Type": TYPES[file.suffix], "Content-Length": str(len(body))})
        return Response(HTTPStatus.OK, "OK", shown, body)

    async def _meet(self, socket: ServerConnection) -> None:
        if socket.request is not None and urlsplit(socket.request.path).path == PATH:
            await self._operators.meet(socket)
            return
        browser = Browser(socket)
        if self._starts:
            browser.pictures[COVERAGE] = _named(COVERAGE, self._starts)
            browser.news.set()
        self._browsers.add(browser)
        tasks = [asyncio.create_task(work(browser)) for work in (self._send, self._ping)]
        try:
            async for message in socket:
                self._take(browser, message)
        except ConnectionClosed:
            pass
        finally:
            self._browsers.discard(browser)
            for task in tasks:
                task.cancel()

    def _take(self, browser: Browser, message: str | bytes) -> None:
        ask = checked(message)
        if ask is not None:
            self._asks.write(*ask, self._clock.now())
            return
        try:
            said = json.loads(message)
            if said["type"] == "pong":
                sent = browser.pings.pop(int(said["number"]))
                browser.round_trip_ms = (self._clock.now() - sent) * 1e-6
            elif said["type"] == "turn":
                self._view.turn(*(float(said[name]) for name in ("azimuth", "elevation", "zoom")))
        except (ValueError, TypeError, KeyError):
            log.warning("a browser said what is nothing: %.80r", message)

    async def _send(self, browser: Browser) -> None:
        """The newest that the browser has not got; a slow one misses what came between."""
        while True:
            await browser.news.wait()
            browser.news.clear()
            state, browser.state = browser.state, None
            if state is not None:
                latency = {"round_trip_ms": browser.round_trip_ms}
                await browser.socket.send(state[:-1] + "," + json.dumps(latency)[1:])
            for name in list(browser.pictures):
                await browser.socket.send(browser.pictures.pop(name))

    async def _ping(self, browser: Browser) -> None:
        number = 0
        while True:
            number += 1
            browser.pings = {number: self._clock.now()}
            await browser.socket.send(json.dumps({"type": "ping", "number": number}))
            await asyncio.sleep(PING_S)

    def _look(self) -> None:
        """Take the loop's newest step, if there is one and somebody to see it."""
        for message in self._session.poll(1000):
            if message.kind == TOLD:
                self._told = json.loads(message.data)
                self._operators.tell(self._told)
            elif message.kind == STARTS:
                self._starts = message.data
                self._hand_out(COVERAGE, self._starts)
        self._operators.look()
        message = self._steps.latest()
        if not self._browsers:
            return
        state: dict[str, Any] = {"type": "state", "session": self._told, "disk_gb": self._free_gb}
        if message is not None:
            step = decode_step(message.data)
            now, obs = self._clock.now(), step.obs
            state |= numbers_of(obs, self._rig)
            state["age_ms"] = (now - message.t_ns) * 1e-6
            since = now - message.t_ns  # of the wall; the step's own times may be a twin's
            state["cameras"] = {
                name: {"age_ms": (obs.t_ns - frame.t_ns + since) * 1e-6, "seq": frame.seq}
                for name, frame in obs.frames.items()
            }
            if self._showing is None or self._showing.done():
                self._showing = asyncio.create_task(self._show(obs, now))
        text = json.dumps(state)
        for browser in self._browsers:
            browser.state = text
            browser.news.set()

    async def _prepare(self) -> None:
        """Load what draws before any hand moves: it keeps Python busy for a while."""
        try:
            await self._paint(self._view.open)
            await self._paint(jpeg, np.zeros((2, 2, 3), np.uint8))
        except Exception as error:  # a machine without OpenGL has no view, and everything else
            log.warning("no view of the arms: %s", error)
            self._view_works = False

    async def _show(self, obs: Observation, now: int) -> None:
        for name, frame in obs.frames.items():
            seq, at = self._shown.get(name, (-1, 0))
            if frame.seq != seq and now - at >= PICTURE_NS:
                self._shown[name] = frame.seq, now
                self._hand_out(name, await self._paint(jpeg, frame.rgb))
        if self._view_works and now - self._shown.get(VIEW, (0, 0))[1] >= VIEW_NS:
            self._shown[VIEW] = 0, now
            try:
                self._hand_out(VIEW, await self._paint(self._drawn, obs))
            except Exception as error:
                log.warning("no view of the arms: %s", error)
                self._view_works = False

    async def _paint(self, work: Callable[..., T], *args: Any) -> T:
        """In a thread of its own, which is OpenGL's, too: no picture keeps a hand's word waiting."""
        return await asyncio.get_running_loop().run_in_executor(self._painter, work, *args)

    def _drawn(self, obs: Observation) -> bytes:
        return jpeg(self._view.draw(obs))

    def _hand_out(self, name: str, picture: bytes) -> None:
        data = _named(name, picture)
        for browser in self._browsers:
            browser.pictures[name] = data
            browser.news.set()

    async def _watch_disk(self) -> None:
        """In a thread: a disk that hangs delays no picture."""
        while self._root is not None:
            self._free_gb = await asyncio.to_thread(_free_gb, self._root)
            await asyncio.sleep(DISK_S)


def _free_gb(root: Path) -> float | None:
    """Free space on the disk of `root`, which need not be there yet, GB; None where nobody can tell."""
    for folder in (root, *root.parents):
        try:
            return shutil.disk_usage(folder).free * 1e-9
        except FileNotFoundError:
            continue
        except OSError:
            break
    return None


def _named(name: str, picture: bytes) -> bytes:
    """A picture as browsers get it: length of its name, name, content."""
    return bytes((len(name.encode()),)) + name.encode() + picture


def _say(folder: Path, content: dict[str, Any]) -> None:
    fresh = folder / f".{HELLO}"
    fresh.write_text(json.dumps(content))
    os.replace(fresh, folder / HELLO)


def main() -> int:
    folder = Path(sys.argv[1])
    logging.basicConfig(
        filename=folder / LOG, level=logging.WARNING, format="%(asctime)s %(levelname)s: %(message)s"
    )
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # the loop says when it is over
        signal.signal(number, signal.SIG_IGN)
    plan = json.loads((folder / PLAN).read_text())
    parent = Parent(plan["parent"])
    rig, link = parse_rig(plan["rig"], str(folder / PLAN)), cattrs.structure(plan["link"], Link)
    try:
        root = None if plan["root"] is None else Path(plan["root"])
        asyncio.run(PageServer(folder, rig, link, Path(plan["tls"]), parent, root).run())
    except (TwinloopError, OSError) as error:
        text = str(error)
        if isinstance(error, OSError):
            text = f"--port {link.port}: {os.strerror(error.errno or 0)}; --port 0 takes one that is free"
        _say(folder, {"error": text})
        return 2
    except Exception:
        log.exception("the page's process failed")
        _say(folder, {"error": f"the page's process failed; see {folder / LOG}"})
        return 1
    finally:
        if parent.gone():  # one that was killed does not
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
