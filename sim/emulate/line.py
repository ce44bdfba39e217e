"""A half-duplex line as its far end sees it: requests in, answers out when the wire would have carried them.

And what goes wrong on real lines, to be switched on at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

BITS = 10  # a byte on the wire


@dataclass(frozen=True, slots=True)
class Reply:
    """One servo's answer."""

    id: int
    delay_ns: int  # the servo's own delay before it answers
    data: bytes


class Servos(Protocol):
    """All servos of a line, speaking one protocol."""

    baud: (
        int | None
    )  # the rate at which the host speaks now: who is set to another hears nothing. None: all hear

    def take(self, buffer: bytearray) -> tuple[int, Sequence[Reply]] | None:
        """Take the first request out of `buffer`: its bytes, and who answers what. None: it is not whole yet."""
        ...


@dataclass(slots=True)
class Faults:
    """What is wrong with the line now; shares are of the answers."""

    silent: bool = False  # nobody answers: the plug is out at the far end
    dead: set[int] = field(default_factory=set)  # ids that do not answer
    lost: float = 0.0
    damaged: float = 0.0  # one byte is another
    truncated: float = 0.0
    doubled: float = 0.0
    garbage: float = 0.0  # bytes of nobody before the answer


class Line:
    """Requests in by `receive`, bytes and the times at which they have arrived out of it; `baud` is the rate where
    `receive` is not told one."""

    def __init__(self, servos: Servos, baud: int, seed: int = 0, *, wire_time: bool = True) -> None:
        self.faults = Faults()
        self._servos = servos
        self._baud = baud
        self._wire_time = wire_time
        self._random = np.random.default_rng(seed)
        self._buffer = bytearray()
        self._free_ns = 0  # when the wire is free again

    def receive(self, data: bytes, now_ns: int, baud: int | None = None) -> list[tuple[int, bytes]]:
        """Bytes that the host wrote at `now_ns`; returns (time of arrival in ns, bytes) in order of time."""
        if baud != self._servos.baud:
            self._buffer.clear()  # half a request at one rate is none at another
            self._servos.baud = baud
        ns_per_byte = round(BITS * 1e9 / (baud or self._baud)) if self._wire_time else 0
        self._buffer += data
        out: list[tuple[int, bytes]] = []
        while (taken := self._servos.take(self._buffer)) is not None:
            size, replies = taken
            at = max(now_ns, self._free_ns) + size * ns_per_byte
            for reply in replies:
                answer = self._spoil(reply)
                if self._wire_time:
                    at += reply.delay_ns + len(answer) * ns_per_byte
                if answer:
                    out.append((at, answer))
            self._free_ns = at
        return out

    def _spoil(self, reply: Reply) -> bytes:
        faults, random, data = self.faults, self._random, reply.data
        if faults.silent or reply.id in faults.dead or random.random() < faults.lost:
            return b""
        if random.random() < faults.damaged:
            at = int(random.integers(len(data)))
            data = data[:at] + bytes((data[at] ^ int(random.integers(1, 256)),)) + data[at + 1 :]
        if random.random() < faults.truncated:
            data = data[: int(random.integers(len(data)))]
        if random.random() < faults.doubled:
            data += data
        if random.random() < faults.garbage:
            data = random.bytes(int(random.integers(1, 12))) + data
        return data
