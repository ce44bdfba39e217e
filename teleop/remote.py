"""A hand on another machine: what its operator's device asks for, as it comes over the page's link.

twinloop operate ── looks ─▶ page's process (remote_server) ── ring ─▶ `Remote` ─▶ the loop
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..robot.clock import RealClock
from ..robot.interfaces import Clock
from ..robot.process.ring import RingReader, RingWriter
from .jog import Jog
from .page import PageProcess
from .page.link import own_address
from .remote_words import FELT, HAND, RoundTrips, jog_of

SILENT_NS = 100_000_000  # without a look for that long the link is lost
SHOWN_NS = 3_000_000_000  # over which the shown round trips are taken


class Remote:
    """Implements `JogDevice` on the operator's connection to `page`, which is open before and closed after it.

    After the link was lost nothing moves until the hand has let go once: clutch open, or nothing asked for. Only an
    arm that is led goes on at once, since taking hold of it moves nothing.
    """

    name = "remote"

    def __init__(self, page: PageProcess, clock: Clock | None = None) -> None:
        self._page = page
        self._clock: Clock = clock or RealClock()
        self._ring: RingReader | None = None
        self._felt: RingWriter | None = None
        self._told = ""
        self._newest: tuple[int, dict[str, Any]] | None = None  # when it was meant, ns, and the look
        self._waits = True  # for the hand to let go
        self._keys: list[str] = []
        self._trips = RoundTrips(SHOWN_NS)
        self._peer, self._link = "", 0  # from where, by which connection

    @property
    def how(self) -> str:
        """The command for the operator's machine."""
        link = self._page.link
        host = link.host if link.host not in ("0.0.0.0", "::") else own_address()
        parts = [f"twinloop operate {f'[{host}]' if ':' in host else host}:{self._page.port}"]
        if link.token:
            parts.append(f"--token {link.token}")
        if link.tls:
            parts.append(f"--pin {self._page.pin}")
        return " ".join([*parts, "--device keyboard"])

    @property
    def link_text(self) -> str:
        """How the link is, for the line: round trips of the last seconds."""
        if not self._peer:
            return "no operator yet"
        if self._lost(self._clock.now()):
            return f"link to {self._peer} lost"
        return f"link {self._trips.text()}" + (", let go once to go on" if self._waits else "")

    def open(self) -> None:
        folder: Path = self._page.folder
        felt = RingWriter(folder / FELT, 1 << 16)
        felt.open()
        self._felt = felt
        RingWriter(folder / HAND).open()  # its being there lets an operator in
        self._ring = RingReader(folder / HAND)
        self._ring.open()
        self._tell()

    def read(self, now_ns: int) -> Jog:
        """The newest look; not engaged when the link is lost."""
        self._listen()
        keys, self._keys = tuple(self._keys), []
        if self._newest is None or self._lost(now_ns):
            self._wait(True)
            return Jog(engaged=False, keys=keys)
        jog = jog_of(self._newest[1], keys)
        if self._waits and _lets_go(jog):
            self._wait(False)
        return Jog(engaged=False, keys=keys) if self._waits else jog

    def beat_ns(self) -> int | None:
        """When the hand was last heard of, by its own time as near as that is known; None before it ever was."""
        self._listen()
        return None if self._newest is None else self._newest[0]

    def feel(self, clamped: bool) -> None:
        self._tell(clamped)

    def close(self) -> None:
        for part in (self._ring, self._felt):
            if part is not None:
                part.close()
        self._ring = self._felt = None

    def _lost(self, now_ns: int) -> bool:
        return self._newest is None or now_ns - self._newest[0] > SILENT_NS

    def _wait(self, waits: bool) -> None:
        if waits != self._waits:
            self._waits = waits
            self._tell()

    def _tell(self, clamped: bool = False) -> None:
        """Let the operator's side know, where it changed."""
        text = json.dumps({"clamped": clamped, "waits": self._waits})
        if self._felt is not None and text != self._told:
            self._told = text
            self._felt.write(1, text.encode(), self._clock.now())

    def _listen(self) -> None:
        for message in () if self._ring is None else self._ring.poll(1000):
            said = json.loads(message.data)
            self._keys += said["keys"]
            if said["jog"] is None:
                continue
            if self._lost(message.t_ns) or said["link"] != self._link:
                self._waits = True
                self._trips.clear()
            self._newest, self._link, self._peer = (message.t_ns, said["jog"]), said["link"], said["peer"]
            self._trips.add(message.t_ns, said["trip_ns"])


def _lets_go(jog: Jog) -> bool:
    """The clutch is open, or the hand asks for nothing."""
    if not jog.engaged or jog.q_rad is not None:
        return True
    posed = jog.moved_m is not None or jog.turned_rad is not None
    return not (posed or jog.linear_m_s.any() or jog.angular_rad_s.any() or jog.grip_m_s)
