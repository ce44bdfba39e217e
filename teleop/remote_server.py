"""The operator's connection, in the page's process: looks come in, are checked and dated, and go into a ring.

Of looks the newest counts: one that was under way for longer than others (a link that hung and caught up) is dropped
as old, and gives no word to the dead-man. Keys are taken once each, however often they come.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from ..robot.interfaces import Clock
from ..robot.process.ring import RingReader, RingWriter
from .remote_words import FELT, HAND, Look, NoLook, RoundTrips, look_of

PATH = "/hand"
OLD_NS = 100_000_000  # by how much a look may be later than the quickest of late
QUICKEST_NS = 10_000_000_000  # over which the quickest is known: a link may become slower for good
AWAY_NS = 1_000_000_000  # an operator who was silent for that long makes room for another
NAMES_MAX = 8  # operators whose keys are remembered
NAME_MAX = 40


class Operators:
    """Lets one operator at a time in, where the session in `folder` is moved from afar."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._ring = RingWriter(folder / HAND)
        self._felt = RingReader(folder / FELT, from_start=True)
        self._open = False
        self._now: Operator | None = None
        self._links = 0  # connections so far
        self._taken: dict[str, int] = {}  # operator -> number of the newest key
        self._session: Mapping[str, Any] = {}
        self._feels: Mapping[str, Any] = {}

    def refusal(self, target: str) -> Response | None:
        """Why a connection for `target` may not come in; None lets it."""
        name = name_in(target)
        if not name:
            return _no(HTTPStatus.BAD_REQUEST, "an operator says who it is: id=...")
        if not (self._folder / HAND).exists():
            return _no(
                HTTPStatus.CONFLICT, "its session is not moved from afar; start it with --device remote"
            )
        here = self._now
        if here is not None and here.name != name and self._clock.now() - here.heard_ns < AWAY_NS:
            return _no(HTTPStatus.CONFLICT, f"another operator is at work, from {here.peer}")
        return None

    async def meet(self, socket: ServerConnection) -> None:
        """Serve one connection until it ends; it takes the place of an older one."""
        if not self._open:
            self._ring.open()
            self._felt.open()
            self._open = True
        before = self._now
        self._links += 1
        name = name_in("" if socket.request is None else socket.request.path)
        operator = self._now = Operator(socket, name, self._links, self._clock)
        for message in self._felt.poll(1000):
            self._feels = json.loads(message.data)
        operator.tell(session=self._session, felt=self._feels)
        if before is not None:
            before.leave()
        sender = asyncio.create_task(operator.send())
        try:
            async for message in socket:
                if self._now is not operator:
                    break
                self._take(operator, message)
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            if self._now is operator:
                self._now = None

    def tell(self, session: Mapping[str, Any]) -> None:
        """How the session stands now."""
        self._session = session
        if self._now is not None:
            self._now.tell(session=session)

    def look(self) -> None:
        """Pass on what the hand is to feel, one thing after the other."""
        if self._now is None:
            return
        for message in self._felt.poll(1):
            self._feels = json.loads(message.data)
            self._now.tell(felt=self._feels)

    def _take(self, operator: Operator, message: str | bytes) -> None:
        now = self._clock.now()
        try:
            look = look_of(message)
            late_ns = operator.take(look, now)
        except NoLook as error:
            operator.ignore(str(error))
            return
        newest = self._taken.pop(operator.name, 0)
        keys = [control for number, control in look.keys if number > newest]
        newest = max([newest, *(number for number, _ in look.keys)])
        self._taken[operator.name] = operator.keys = newest
        while len(self._taken) > NAMES_MAX:
            del self._taken[next(iter(self._taken))]
        fresh = late_ns is not None and late_ns <= OLD_NS
        said = {
            "link": operator.number,
            "peer": operator.peer,
            "trip_ns": operator.trip_ns,
            "jog": look.jog if fresh else None,
            "keys": keys,
        }
        if fresh or keys:
            self._ring.write(1, json.dumps(said).encode(), now - (late_ns or 0))


class Operator:
    """One connection: the newest word for it, and what is known of its link."""

    def __init__(self, socket: ServerConnection, name: str, number: int, clock: Clock) -> None:
        self.name = name
        self.number = number
        self.peer = str((socket.remote_address or ("?",))[0])
        self.heard_ns = clock.now()
        self.trip_ns: int | None = None
        self.keys = 0  # number of the newest that was taken
        self._socket = socket
        self._clock = clock
        self._trips = RoundTrips(QUICKEST_NS)
        self._newest: Look | None = None
        self._ignored, self._why = 0, ""
        self._word: dict[str, Any] = {}  # beside the answer
        self._news = asyncio.Event()
        self._leaving: asyncio.Task[None] | None = None

    def take(self, look: Look, now: int) -> int | None:
        """Note a look: by how much it is later than the quickest of late, ns; None while that is not known.
        Raises `NoLook` for one out of order, or with an answer to what was never said."""
        if self._newest is not None and look.n <= self._newest.n:
            raise NoLook(f"n: {look.n} after {self._newest.n}")
        late_ns = None
        if look.echo_ns is not None:
            self.trip_ns = now - look.echo_ns - look.held_ns
            if self.trip_ns < 0:
                raise NoLook("echo: of a time to come")
            self._trips.add(now, self.trip_ns)
            late_ns = self.trip_ns - (self._trips.least_ns or 0)
        self._newest, self.heard_ns = look, now
        self._news.set()
        return late_ns

    def ignore(self, why: str) -> None:
        self._ignored, self._why = self._ignored + 1, why
        self._news.set()

    def tell(self, **parts: Any) -> None:
        self._word |= parts
        self._news.set()

    def leave(self) -> None:
        """Another one of the same name has come, or this one was silent for long."""
        self._leaving = asyncio.create_task(self._socket.close(1008, "another operator has taken over"))

    async def send(self) -> None:
        """The newest word, whenever there is one; a slow link misses what came between."""
        while True:
            await self._news.wait()
            self._news.clear()
            now, look = self._clock.now(), self._newest
            word, self._word = self._word, {}
            word |= {"t": now, "keys": self.keys, "ignored": self._ignored, "why": self._why}
            if look is not None:
                word |= {"n": look.n, "echo": look.t_ns, "held": now - self.heard_ns}
            try:
                await self._socket.send(json.dumps(word))
            except ConnectionClosed:
                return


def name_in(target: str) -> str:
    """Who an operator says it is, in the address that it asks for."""
    return parse_qs(urlsplit(target).query).get("id", [""])[0][:NAME_MAX]


def _no(status: HTTPStatus, why: str) -> Response:
    return Response(status, status.phrase, Headers(), f"{why}\n".encode())
