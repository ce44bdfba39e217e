"""Servos on a bus that may have any id and any baud rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ...robot.arms.servo_line import ServoKind
from ...robot.buses import Bus, SerialPort
from ...robot.buses.framing import BROADCAST, PING
from ...robot.interfaces import Clock

NOBODY = 0xFF  # an id that no servo has: an exchange that waits for it, too, hears everybody
IDS = range(253)
# Answers to a ping of all come one after the other, up to 3 ms for each id (dynamixel_sdk 4.0 and scservo_sdk 1.0,
# `broadcastPing`).
ALL_NS = 253 * 3_000_000
ONE_NS = 12_000_000  # longer than the 8 ms that a slow adapter keeps a byte

OpenBus = Callable[[int], Bus]  # at this baud rate, not opened yet


@dataclass(frozen=True, slots=True)
class Found:
    """A servo that answered."""

    id: int
    baud: int
    answers: int = 1  # more than 1: that many servos have this id


def port_opener(path: str, kind: ServoKind, clock: Clock) -> OpenBus:
    """Buses on the serial port `path`, whose setting-up exchanges wait as long as a real adapter needs."""
    return lambda baud: Bus(SerialPort(path, baud, clock), kind.framing, clock, baud)


@contextmanager
def opened(open_bus: OpenBus, baud: int) -> Iterator[Bus]:
    """A bus at `baud`, closed in the end. Raises `DeviceError`."""
    bus = open_bus(baud)
    bus.open()
    try:
        yield bus
    finally:
        bus.close()


def heard(bus: Bus, id: int, wait_ns: int = ONE_NS) -> int:
    """How many servos answer to a ping of `id`; at least 2 when an answer came damaged, as from two at once."""
    return _ping(bus, id, [id], wait_ns).get(id, 0)


def search(
    open_bus: OpenBus,
    kind: ServoKind,
    bauds: Iterable[int] | None = None,
    *,
    ids: Sequence[int] = IDS,
    wait_ns: int = ALL_NS,
    watch: Callable[[int], object] = lambda baud: None,
) -> list[Found]:
    """Everybody on the bus, at each of `bauds` (all that `kind` has, the factory's first).

    First all are asked at once; where their answers came damaged, one id after the other. `watch` hears the baud
    rate that is tried. Raises `DeviceError` when the port cannot be opened or goes away.
    """
    found: list[Found] = []
    for baud in kind.bauds if bauds is None else bauds:
        watch(baud)
        with opened(open_bus, baud) as bus:
            before = _noise(bus)
            answers = _ping(bus, BROADCAST, ids, wait_ns)
            if _noise(bus) > before or any(count > 1 for count in answers.values()):
                answers = {id: count for id in ids if (count := heard(bus, id))}
            found += [Found(id, baud, count) for id, count in sorted(answers.items())]
    return found


def _ping(bus: Bus, id: int, expected: Sequence[int], wait_ns: int) -> dict[int, int]:
    """Id -> answers."""
    strays, noise = bus.counters.stray, _noise(bus)
    packet = bus.framing.packet(id, PING, b"")
    answers = bus.exchange(packet, [*expected, NOBODY], 4, wait_ns)
    counts = dict.fromkeys(answers, 1)
    if id != BROADCAST:
        if _noise(bus) > noise:
            counts[id] = 2
        elif answers:
            counts[id] += bus.counters.stray - strays
    return counts


def _noise(bus: Bus) -> int:
    return bus.counters.checksum + bus.counters.garbage_bytes
