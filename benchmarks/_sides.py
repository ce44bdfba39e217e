"""The cycle of a servo bus, asked by the drivers' own bus and by the vendors' SDKs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dynamixel_sdk
import scservo_sdk
from _line import IDS
from twinloop.robot.buses import Bus, DynamixelFraming, FeetechFraming, SerialPort
from twinloop.robot.buses.dynamixel import fast_sync_read
from twinloop.robot.buses.framing import Framing
from twinloop.robot.clock import RealClock

BITS = 10  # a byte on the wire: start, 8 data, stop
CLOCK = RealClock()
SETTLE_S = 0.1  # until a line is silent
Cycle = Callable[[], bool]  # whether all answered


@dataclass(frozen=True, slots=True)
class Protocol:
    """A vendor's line, and which registers a cycle reads and writes."""

    name: str
    vendor: str
    baud: int
    framing: Framing
    sdk: Any
    version: float
    feedback: tuple[int, int]  # address, bytes
    goal: tuple[int, int]
    fast: bool = False  # the servos answer with one packet

    def wire_ms(self) -> float:
        """The bytes of a cycle, at `baud`, and nothing else."""
        number, n = self.framing.number, len(IDS)
        read = self.framing.packet(254, 0x82, number(0) + number(0) + bytes(n))
        write = self.framing.packet(254, 0x83, number(0) + number(0) + bytes(n * (1 + self.goal[1])))
        each = self.feedback[1] + self.framing.overhead
        answers = n * (self.feedback[1] + 4) + 8 if self.fast else n * each
        return (len(read) + len(write) + answers) * BITS * 1e3 / self.baud


def ours(protocol: Protocol, path: str) -> tuple[Cycle, Callable[[], None]]:
    """One cycle of the drivers' bus, and what ends it."""
    bus = Bus(SerialPort(path, protocol.baud, CLOCK), protocol.framing, CLOCK, protocol.baud)
    bus.open()
    address, size = protocol.feedback
    present, goals = protocol.goal[0] + 16 if protocol.fast else protocol.feedback[0], {}
    for id in IDS:
        goals[id] = bus.read(id, present, protocol.goal[1])  # where it stands

    def cycle() -> bool:
        read = fast_sync_read(bus, IDS, address, size) if protocol.fast else bus.sync_read(IDS, address, size)
        bus.sync_write(protocol.goal[0], goals)
        return len(read) == len(IDS)

    return cycle, bus.close


def theirs(protocol: Protocol, path: str) -> tuple[Cycle, Callable[[], None]]:
    """The same with the vendor's SDK."""
    sdk = protocol.sdk
    port, packets = sdk.PortHandler(path), sdk.PacketHandler(protocol.version)
    if not (port.openPort() and port.setBaudRate(protocol.baud)):
        raise RuntimeError(f"{protocol.name}: the SDK cannot open {path}")
    address, size = protocol.feedback
    reader = sdk.GroupSyncRead(port, packets, address, size)
    writer = sdk.GroupSyncWrite(port, packets, *protocol.goal)
    present = protocol.goal[0] + 16 if protocol.fast else address
    for id in IDS:
        reader.addParam(id)
        value, result, _ = (packets.read4ByteTxRx if protocol.fast else packets.read2ByteTxRx)(
            port, id, present
        )
        if result:
            raise RuntimeError(f"{protocol.name}: servo {id} does not answer the SDK")
        writer.addParam(id, list(value.to_bytes(protocol.goal[1], "little")))
    ask = reader.fastSyncRead if protocol.fast else reader.txRxPacket

    def cycle() -> bool:
        failed = ask()
        if failed:  # it takes what came too late for the next answer, and would go on so
            port.ser.reset_input_buffer()
        for id in IDS:
            reader.getData(id, address, 2)
        writer.txPacket()
        return not failed

    return cycle, port.closePort


FEETECH = Protocol(
    "six STS3215", "feetech", 1_000_000, FeetechFraming(), scservo_sdk, 0, feedback=(56, 8), goal=(42, 2)
)
DYNAMIXEL = Protocol(
    "six Dynamixel X, fast sync read",
    "dynamixel",
    1_000_000,
    DynamixelFraming(),
    dynamixel_sdk,
    2.0,
    feedback=(126, 21),
    goal=(116, 4),
    fast=True,
)
