"""Feetech servos on one line: their instructions, answered from their memory tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .line import Reply
from .sts3215 import Sts3215

HEADER = b"\xff\xff"
BROADCAST = 0xFE
PING, READ, WRITE, REG_WRITE, ACTION = 1, 2, 3, 4, 5
SYNC_READ, SYNC_WRITE = 0x82, 0x83
RETURN_DELAY_NS = 2_000  # a unit of the register
ALWAYS = (PING, READ)  # answered at every response level


class FeetechServos:
    """Implements `Servos` for STS3215s."""

    def __init__(self, servos: Sequence[Sts3215]) -> None:
        self.servos = list(servos)
        self.baud: int | None = None
        self._kept: dict[Sts3215, tuple[int, bytes]] = {}  # REG_WRITE, until ACTION

    def step(self, dt_ns: int) -> None:
        """Let the time of all firmwares pass."""
        for servo in self.servos:
            servo.step(dt_ns)

    def take(self, buffer: bytearray) -> tuple[int, Sequence[Reply]] | None:
        start = buffer.find(HEADER)
        if start < 0:
            del buffer[: len(buffer) - buffer.endswith(b"\xff")]
            return None
        while start + 2 < len(buffer) and buffer[start + 2] == 0xFF:
            start += 1
        del buffer[:start]
        if len(buffer) < 4 or len(buffer) < buffer[3] + 4:
            return None
        size = buffer[3] + 4
        body, sent = bytes(buffer[2 : size - 1]), buffer[size - 1]
        if len(body) < 3 or ~sum(body) & 0xFF != sent:  # nobody answers what came damaged
            del buffer[:2]
            return 0, ()
        del buffer[:size]
        return size, self._obey(body[0], body[2], body[3:])

    def _obey(self, id: int, instruction: int, parameters: bytes) -> list[Reply]:
        hearing = [servo for servo in self.servos if self.baud in (None, servo.baud)]
        if instruction == SYNC_READ and len(parameters) >= 2:
            address, size = parameters[:2]
            asked = [servo for wanted in parameters[2:] for servo in hearing if servo.id == wanted]
            return _collided([_answer(servo, servo.read(address, size)) for servo in asked])
        if instruction == SYNC_WRITE and len(parameters) >= 2:
            address, size = parameters[:2]
            for at in range(2, len(parameters) - size, size + 1):
                for servo in hearing:
                    if servo.id == parameters[at]:
                        servo.write(address, parameters[at + 1 : at + 1 + size])
            return []
        replies: list[Reply] = []
        for servo in [s for s in hearing if id in (s.id, BROADCAST)]:
            data = self._one(servo, instruction, parameters)
            if data is None or id == BROADCAST and instruction != PING:
                continue
            if instruction in ALWAYS or servo.get("response_level"):
                replies.append(_answer(servo, data))
        return _collided(replies)

    def _one(self, servo: Sts3215, instruction: int, parameters: bytes) -> bytes | None:
        """What `servo` answers; None for what it does not know."""
        if instruction == PING:
            return b""
        if instruction == READ and len(parameters) == 2:
            return servo.read(*parameters)
        if instruction == WRITE and parameters:
            servo.write(parameters[0], parameters[1:])
            return b""
        if instruction == REG_WRITE and parameters:
            self._kept[servo] = parameters[0], parameters[1:]
            return b""
        if instruction == ACTION:
            if servo in self._kept:
                servo.write(*self._kept.pop(servo))
            return b""
        return None


def _collided(replies: list[Reply]) -> list[Reply]:
    """Servos with one id answer at once: a line that any of them pulls down is down."""
    out: dict[int, Reply] = {}
    for reply in replies:
        other = out.get(reply.id)
        if other is not None:
            size = max(len(reply.data), len(other.data))
            pairs = zip(reply.data.ljust(size, b"\xff"), other.data.ljust(size, b"\xff"), strict=True)
            reply = replace(reply, data=bytes(a & b for a, b in pairs))
        out[reply.id] = reply
    return list(out.values())


def _answer(servo: Sts3215, data: bytes) -> Reply:
    body = bytes((servo.id, len(data) + 2, servo.status)) + data
    return Reply(
        servo.id, servo.get("return_delay") * RETURN_DELAY_NS, HEADER + body + bytes((~sum(body) & 0xFF,))
    )
