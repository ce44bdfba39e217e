"""Dynamixel servos on one line: instructions of protocol 2.0, answered from their control tables.

Instructions, error numbers and the order of answers: Robotis e-manual, "DYNAMIXEL Protocol 2.0".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...robot.buses.dynamixel import ALERT, HEADER, PLAIN, STATUS, STUFFED, crc16
from .line import Reply
from .xseries import ACCESS, DATA_LENGTH, FAST_FIRMWARE, INSTRUCTION, XServo

BROADCAST = 0xFE
PING, READ, WRITE, REG_WRITE, ACTION, FACTORY_RESET, REBOOT, CLEAR = 1, 2, 3, 4, 5, 6, 8, 0x10
SYNC_READ, SYNC_WRITE, FAST_SYNC_READ, BULK_READ, BULK_WRITE = 0x82, 0x83, 0x8A, 0x92, 0x93
CLEAR_TURNS = b"\x01\x44\x58\x4c\x22"  # parameters of the instruction: a kind, and a fixed word
RETURN_DELAY_NS = 2_000  # a unit of the register
LONGEST = 1_024  # bytes after the header that a request may have


class DynamixelServos:
    """Implements `Servos` for the X series."""

    def __init__(self, servos: Sequence[XServo]) -> None:
        self.servos = list(servos)
        self.baud: int | None = None
        self._kept: dict[XServo, tuple[int, bytes]] = {}  # REG_WRITE, until ACTION

    def step(self, dt_ns: int) -> None:
        """Let the time of all firmwares pass."""
        for servo in self.servos:
            servo.step(dt_ns)

    def take(self, buffer: bytearray) -> tuple[int, Sequence[Reply]] | None:
        start = buffer.find(HEADER)
        if start < 0:
            kept = next(k for k in (3, 2, 1, 0) if buffer.endswith(HEADER[:k]))
            del buffer[: len(buffer) - kept]
            return None
        del buffer[:start]
        if len(buffer) < 7:
            return None
        length = buffer[5] | buffer[6] << 8
        if not 3 <= length <= LONGEST:
            del buffer[:4]
            return 0, ()
        if len(buffer) < length + 7:
            return None
        packet = bytes(buffer[: length + 7])
        if crc16(packet[:-2]) != packet[-2] | packet[-1] << 8:  # nobody answers what came damaged
            del buffer[:4]
            return 0, ()
        del buffer[: length + 7]
        body = packet[7:-2].replace(STUFFED, PLAIN)
        return len(packet), self._obey(packet[4], body[0], body[1:])

    def _obey(self, id: int, instruction: int, parameters: bytes) -> list[Reply]:
        hearing = [servo for servo in self.servos if servo.awake and self.baud in (None, servo.baud)]
        if instruction in (SYNC_READ, FAST_SYNC_READ, BULK_READ):
            return self._read_many(hearing, instruction, parameters)
        if instruction in (SYNC_WRITE, BULK_WRITE):
            for wanted, address, data in _written(instruction, parameters):
                for servo in hearing:
                    if wanted in (servo.id, servo.secondary_id):
                        servo.heard()
                        servo.write(address, data, by_secondary_id=wanted != servo.id)
            return []
        if instruction == STATUS:  # an answer: its own echo, or another line's
            return []
        replies: list[Reply] = []
        for servo in sorted(hearing, key=lambda servo: servo.id):
            if id not in (servo.id, servo.secondary_id, BROADCAST):
                continue
            servo.heard()
            level = servo.get("return_level")  # as it was before the instruction
            error, data = self._one(servo, id, instruction, parameters)
            silent = id == servo.secondary_id or id == BROADCAST and instruction != PING
            if not silent and level >= {PING: 0, READ: 1}.get(instruction, 2):
                replies.append(_answer(servo, error, data))
        return _collided(replies)

    def _read_many(self, hearing: list[XServo], instruction: int, parameters: bytes) -> list[Reply]:
        if instruction == BULK_READ:
            asked = [
                (parameters[at], _number(parameters, at + 1), _number(parameters, at + 3))
                for at in range(0, len(parameters) - 4, 5)
            ]
        else:
            address, size = _number(parameters, 0), _number(parameters, 2)
            asked = [(id, address, size) for id in parameters[4:]]
        by_id = {servo.id: servo for servo in hearing}
        for id, _, _ in asked:
            if id in by_id:
                by_id[id].heard()
        if instruction == FAST_SYNC_READ:
            return self._share(by_id, asked)
        found = [(by_id[id], *by_id[id].read(at, size)) for id, at, size in asked if id in by_id]
        return [_answer(servo, error, data) for servo, error, data in found if servo.get("return_level")]

    def _share(self, by_id: dict[int, XServo], asked: list[tuple[int, int, int]]) -> list[Reply]:
        """One packet, to which each adds its part when it has heard the part before it."""
        sent = HEADER + bytes((BROADCAST,))
        sent += (1 + sum(size + 4 for _, _, size in asked)).to_bytes(2, "little") + bytes((STATUS,))
        replies: list[Reply] = []
        before = 0
        for id, address, size in asked:
            servo = by_id.get(id)
            if servo is None or servo.get("firmware") < FAST_FIRMWARE:
                break
            error, data = servo.read(address, size)
            sent += bytes((_error(servo, error), id)) + data.ljust(size, b"\0")
            sent += crc16(sent).to_bytes(2, "little")
            delay = servo.get("return_delay") * RETURN_DELAY_NS if not replies else 0
            replies.append(Reply(id, delay, sent[before:]))
            before = len(sent)
        return replies

    def _one(self, servo: XServo, id: int, instruction: int, parameters: bytes) -> tuple[int, bytes]:
        """What `servo` does: error number and data of its answer."""
        if instruction == PING:
            return 0, servo.read(0, 2)[1] + servo.read(6, 1)[1]
        if instruction == READ:
            if len(parameters) != 4:
                return DATA_LENGTH, b""
            return servo.read(_number(parameters, 0), _number(parameters, 2))
        if instruction in (WRITE, REG_WRITE):
            if len(parameters) < 3:
                return DATA_LENGTH, b""
            address, data = _number(parameters, 0), parameters[2:]
            if instruction == REG_WRITE:
                self._kept[servo] = address, data
                return 0, b""
            return servo.write(address, data, by_secondary_id=id == servo.secondary_id), b""
        if instruction == ACTION:
            return (servo.write(*self._kept.pop(servo)) if servo in self._kept else 0), b""
        if instruction == REBOOT:
            servo.reboot()
            return 0, b""
        if instruction == FACTORY_RESET:
            return self._reset(servo, id, parameters), b""
        if instruction == CLEAR:
            return (servo.clear_turns() if parameters == CLEAR_TURNS else DATA_LENGTH), b""
        return INSTRUCTION, b""

    def _reset(self, servo: XServo, id: int, parameters: bytes) -> int:
        if len(parameters) != 1:
            return DATA_LENGTH
        if id == BROADCAST and parameters[0] == 0xFF:  # all would have one id then
            return ACCESS
        return servo.factory_reset(parameters[0])


def _written(instruction: int, parameters: bytes) -> list[tuple[int, int, bytes]]:
    """(id, address, data) of a sync or bulk write, up to where its parameters make sense."""
    out: list[tuple[int, int, bytes]] = []
    if instruction == SYNC_WRITE:
        address, size = _number(parameters, 0), _number(parameters, 2)
        for at in range(4, len(parameters) - size, size + 1):
            out.append((parameters[at], address, parameters[at + 1 : at + 1 + size]))
        return out
    at = 0
    while at + 5 <= len(parameters):
        size = _number(parameters, at + 3)
        data = parameters[at + 5 : at + 5 + size]
        if len(data) < size:
            break
        out.append((parameters[at], _number(parameters, at + 1), data))
        at += 5 + size
    return out


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _error(servo: XServo, error: int) -> int:
    return error | (ALERT if servo.alert else 0)


def _answer(servo: XServo, error: int, data: bytes) -> Reply:
    body = (bytes((STATUS, _error(servo, error))) + data).replace(PLAIN, STUFFED)
    head = HEADER + bytes((servo.id,)) + (len(body) + 2).to_bytes(2, "little") + body
    whole = head + crc16(head).to_bytes(2, "little")
    return Reply(servo.id, servo.get("return_delay") * RETURN_DELAY_NS, whole)


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
