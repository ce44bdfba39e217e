"""How packets of a servo protocol are written, and found again in a stream of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x82, 0x83  # the same in both protocols
BROADCAST = 0xFE


@dataclass(frozen=True, slots=True)
class Answer:
    """What one servo answered."""

    id: int
    error: int  # the protocol's error byte, 0 = none
    data: bytes


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes that are no packet."""

    reason: str  # "garbage" or "checksum"
    size: int  # bytes that were dropped


class Framing(Protocol):
    """One protocol's packets."""

    @property
    def overhead(self) -> int:
        """Bytes of an answer beside its data."""
        ...

    def packet(self, id: int, instruction: int, parameters: bytes) -> bytes:
        """The packet that asks servo `id` (or `BROADCAST`) for `instruction`."""
        ...

    def number(self, value: int) -> bytes:
        """An address or a length, as the protocol writes it."""
        ...

    def refusal(self, error: int) -> str:
        """Why a servo did not do what it was asked, by an answer's error byte; "" when it did."""
        ...

    def take(self, buffer: bytearray, size: int) -> Answer | Noise | None:
        """Take the first answer, or what comes before it, out of `buffer`; None when more bytes are needed.

        Answers carry at most `size` bytes of data: a length beyond that is noise, so that one wrong byte does
        not swallow the answers after it.
        """
        ...


def drop(buffer: bytearray, count: int, reason: str = "garbage") -> Noise | None:
    """Take `count` bytes that are no packet out of `buffer`; None when there are none."""
    if count <= 0:
        return None
    del buffer[:count]
    return Noise(reason, count)
