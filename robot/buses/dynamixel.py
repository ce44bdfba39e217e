"""Packets of Dynamixel protocol 2.0: `FF FF FD 00 id length(2) instruction parameters crc(2)`.

An answer has 0x55 in the instruction's place, then its error byte. `FF FF FD` inside is written `FF FF FD FD`;
the CRC is CRC-16/UMTS (polynomial 0x8005, start 0, not reflected) over all before it (Robotis e-manual,
"DYNAMIXEL Protocol 2.0"). Numbers are little endian, signed ones two's complement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from .bus import Bus
from .framing import BROADCAST, Answer, Noise, drop

HEADER = b"\xff\xff\xfd\x00"
STATUS = 0x55
REBOOT, FAST_SYNC_READ = 0x08, 0x8A
ALERT = 0x80  # bit of the error byte: see the register "hardware error status"
ERRORS: Mapping[int, str] = MappingProxyType(  # the other bits of the error byte, as a number
    {
        1: "result_failed",
        2: "unknown_instruction",
        3: "crc",
        4: "data_range",
        5: "data_length",
        6: "data_limit",
        7: "access",
    }
)
STUFFED, PLAIN = b"\xff\xff\xfd\xfd", b"\xff\xff\xfd"


class DynamixelFraming:
    """Implements `Framing`."""

    overhead = 11

    def packet(self, id: int, instruction: int, parameters: bytes) -> bytes:
        body = (bytes((instruction,)) + parameters).replace(PLAIN, STUFFED)
        head = HEADER + bytes((id,)) + (len(body) + 2).to_bytes(2, "little") + body
        return head + crc16(head).to_bytes(2, "little")

    def number(self, value: int) -> bytes:
        return value.to_bytes(2, "little")

    def refusal(self, error: int) -> str:
        return ERRORS.get(error & ~ALERT, f"error {error}") if error & ~ALERT else ""

    def take(self, buffer: bytearray, size: int) -> Answer | Noise | None:
        start = buffer.find(HEADER)
        if start < 0:
            kept = next(k for k in (3, 2, 1, 0) if buffer.endswith(HEADER[:k]))
            return drop(buffer, len(buffer) - kept)
        if start:
            return drop(buffer, start)
        if len(buffer) < 9:
            return None
        length = buffer[5] | buffer[6] << 8
        if not 4 <= length <= size + size // 3 + 4 or buffer[7] != STATUS:  # every third byte may be stuffed
            return drop(buffer, 4)
        if len(buffer) < length + 7:
            return None
        if crc16(buffer[: length + 5]) != buffer[length + 5] | buffer[length + 6] << 8:
            return drop(buffer, 4, "checksum")
        body = bytes(buffer[8 : length + 5])
        if buffer[4] != BROADCAST:  # the shared answer to a fast sync read is not stuffed
            body = body.replace(STUFFED, PLAIN)
        answer = Answer(buffer[4], body[0], body[1:])
        del buffer[: length + 7]
        return answer


def fast_sync_read(bus: Bus, ids: Sequence[int], address: int, size: int) -> dict[int, Answer]:
    """`Bus.sync_read` in which all servos share one packet: half the bytes, but one damaged bit costs all.

    For `DynamixelFraming`. In the packet each servo has error, id, data and a CRC of all before it; the last CRC
    is the packet's own. Servos whose firmware does not know it leave the packet without an end.
    """
    number = bus.framing.number
    asked = bus.framing.packet(BROADCAST, FAST_SYNC_READ, number(address) + number(size) + bytes(ids))
    step = size + 4
    whole = bus.collect(asked, [BROADCAST], len(ids) * step - 3).get(BROADCAST)
    answers: dict[int, Answer] = {}
    if whole is not None and len(whole.data) == len(ids) * step - 3:
        blob = bytes((whole.error,)) + whole.data
        for k in range(0, len(ids) * step, step):
            answers[blob[k + 1]] = Answer(blob[k + 1], blob[k], blob[k + 2 : k + 2 + size])
    bus.count(ids, answers)
    return answers


def crc16(data: bytes | bytearray) -> int:
    """CRC-16 with the polynomial 0x8005, most significant bit first, start 0."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFF00) ^ _TABLE[crc >> 8 ^ byte]
    return crc


def _table_entry(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


_TABLE = tuple(_table_entry(byte) for byte in range(256))
