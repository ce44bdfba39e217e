"""Packets of Feetech's STS and SMS servos: `FF FF id length instruction parameters checksum`.

An answer has the error byte in the instruction's place. The checksum is the complement of the sum of all bytes
from the id on; numbers of two bytes are little endian, signed ones sign-magnitude (Feetech's scservo_sdk 1.0,
`protocol_packet_handler.py`, and the STS3215's memory table).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .framing import Answer, Noise, drop

HEADER = b"\xff\xff"
FAULTS: Mapping[int, str] = MappingProxyType(  # bits of the error byte
    {1: "voltage", 2: "angle_sensor", 4: "overheat", 8: "overcurrent", 32: "overload"}
)


class FeetechFraming:
    """Implements `Framing`."""

    overhead = 6

    def packet(self, id: int, instruction: int, parameters: bytes) -> bytes:
        body = bytes((id, len(parameters) + 2, instruction)) + parameters
        return HEADER + body + bytes((checksum(body),))

    def number(self, value: int) -> bytes:
        return bytes((value,))

    def refusal(self, error: int) -> str:
        return ""  # the error byte tells how the servo is, not that it refused

    def take(self, buffer: bytearray, size: int) -> Answer | Noise | None:
        start = buffer.find(HEADER)
        if start < 0:
            return drop(buffer, len(buffer) - buffer.endswith(b"\xff"))
        while (
            start + 2 < len(buffer) and buffer[start + 2] == 0xFF
        ):  # no servo has this id: the header is later
            start += 1
        if start:
            return drop(buffer, start)
        if len(buffer) < 4:
            return None
        length = buffer[3]
        if not 2 <= length <= size + 2:
            return drop(buffer, 2)
        if len(buffer) < length + 4:
            return None
        if buffer[length + 3] != checksum(buffer[2 : length + 3]):
            return drop(buffer, 2, "checksum")
        answer = Answer(buffer[2], buffer[4], bytes(buffer[5 : length + 3]))
        del buffer[: length + 4]
        return answer


def checksum(body: bytes | bytearray) -> int:
    """Of the bytes from the id to the last parameter."""
    return ~sum(body) & 0xFF


def signed(value: int, sign_bit: int) -> int:
    """A number of a register whose bit `sign_bit` is the sign, the bits below the magnitude."""
    magnitude = value & ((1 << sign_bit) - 1)
    return -magnitude if value >> sign_bit & 1 else magnitude


def sign_magnitude(value: int, sign_bit: int) -> int:
    """The register of `value`; raises `ValueError` for what its bits cannot hold."""
    if abs(value) >= 1 << sign_bit:
        raise ValueError(f"{value} needs more than {sign_bit} bits and a sign")
    return abs(value) | (1 << sign_bit if value < 0 else 0)
