"""The exchanges of a servo bus: one side asks, and every answer has come, or is missed, by a deadline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import DeviceError
from ..interfaces import Clock
from .framing import BROADCAST, PING, READ, SYNC_READ, SYNC_WRITE, WRITE, Answer, Framing, Noise
from .port import Port

DEADLINE_NS = 3_000_000  # for the answers of one cycle, beyond their time on the wire
SETUP_NS = 20_000_000  # for one answer while setting up, where waiting costs nothing
ATTEMPTS = 6  # while setting up
DRAIN = 8  # reads that empty a port at most; more come from a line that babbles
BITS = 10  # a byte on the wire: start, 8 data, stop


@dataclass(slots=True)
class Counters:
    """What went over a bus and what went wrong, since it was opened."""

    asked: int = 0  # answers that were due
    answered: int = 0
    missing: Counter[int] = field(default_factory=Counter)  # id -> answers that did not come in time
    errors: Counter[tuple[int, int]] = field(default_factory=Counter)  # (id, error byte) -> answers
    checksum: int = 0  # packets that came damaged
    garbage_bytes: int = 0  # bytes that belonged to no packet
    late_bytes: int = 0  # bytes that came after their exchange was over
    stray: int = 0  # answers of servos that were not asked

    def line(self) -> str:
        """One line for a log."""
        lost = sum(self.missing.values())
        return (
            f"{self.answered} of {self.asked} answers ({lost} missing), {self.checksum} damaged, "
            f"{self.garbage_bytes} bytes of garbage, {self.late_bytes} late, {self.stray} strays, "
            f"{sum(self.errors.values())} with an error"
        )


class Bus:
    """Asks the servos on one port. Not for two threads at once.

    `deadline_ns` is what an exchange may take beyond the time that its bytes need on the wire at `baud`.
    """

    def __init__(
        self, port: Port, framing: Framing, clock: Clock, baud: int, *, deadline_ns: int = DEADLINE_NS
    ) -> None:
        self.port = port
        self.counters = Counters()
        self.framing = framing
        self._clock = clock
        self._ns_per_byte = round(BITS * 1e9 / baud)
        self._deadline_ns = deadline_ns
        self._buffer = bytearray()

    def open(self) -> None:
        """Open the port. Raises `DeviceError`."""
        self.port.open()
        self._buffer.clear()

    def close(self) -> None:
        self.port.close()

    def ping(self, id: int) -> bool:
        """Whether servo `id` answers."""
        return id in self.exchange(self.framing.packet(id, PING, b""), [id], 4, SETUP_NS)

    def read(self, id: int, address: int, size: int, attempts: int = ATTEMPTS) -> bytes:
        """`size` bytes of a servo's table from `address`, for setting up.

        Raises `DeviceError` when it does not answer `attempts` times, or answers with an error.
        """
        what = self.framing.number(address) + self.framing.number(size)
        return self._insist(id, READ, what, size, attempts).data

    def write(self, id: int, address: int, data: bytes, attempts: int = ATTEMPTS) -> None:
        """Write into a servo's table and wait for its answer, for setting up; raises like `read`."""
        self._insist(id, WRITE, self.framing.number(address) + data, 0, attempts)

    def sync_read(self, ids: Sequence[int], address: int, size: int) -> dict[int, Answer]:
        """The same `size` bytes of many servos; who did not answer in time is left out, and counted."""
        number = self.framing.number
        packet = self.framing.packet(BROADCAST, SYNC_READ, number(address) + number(size) + bytes(ids))
        answers = self.exchange(packet, ids, size)
        return {id: answer for id, answer in answers.items() if len(answer.data) == size}

    def sync_write(self, address: int, values: Mapping[int, bytes]) -> None:
        """Write values of one length into many servos; nobody answers."""
        number, size = self.framing.number, len(next(iter(values.values())))
        body = b"".join(bytes((id,)) + data for id, data in values.items())
        self.port.send(self.framing.packet(BROADCAST, SYNC_WRITE, number(address) + number(size) + body))

    def exchange(
        self, packet: bytes, ids: Iterable[int], size: int, deadline_ns: int | None = None
    ) -> dict[int, Answer]:
        """Send `packet` and collect an answer of at most `size` bytes of data from each of `ids`."""
        ids = list(ids)
        answers = self.collect(packet, ids, size, deadline_ns)
        self.count(ids, answers)
        return answers

    def collect(
        self, packet: bytes, ids: Iterable[int], size: int, deadline_ns: int | None = None
    ) -> dict[int, Answer]:
        """`exchange` that leaves it to the caller to `count` what came; what came damaged is counted here."""
        waiting = set(ids)
        counters, answers = self.counters, dict[int, Answer]()
        self._discard()
        on_wire = len(packet) + len(waiting) * (size + self.framing.overhead)
        until = self._clock.now() + on_wire * self._ns_per_byte
        until += self._deadline_ns if deadline_ns is None else deadline_ns
        self.port.send(packet)
        over = False
        while waiting:
            found = self.framing.take(self._buffer, size)
            if found is None:
                if over:
                    break
                data = self.port.receive(until)
                self._buffer += data
                over = not data or self._clock.now() > until  # else a line that babbles would go on for ever
            elif isinstance(found, Noise):
                self._count(found)
            elif found.id in waiting:
                waiting.discard(found.id)
                answers[found.id] = found
            else:
                counters.stray += 1
        return answers

    def count(self, ids: Sequence[int], answers: Mapping[int, Answer]) -> None:
        """Count who of those asked answered, and with which error."""
        counters = self.counters
        counters.asked += len(ids)
        counters.answered += len(answers)
        counters.missing.update(id for id in ids if id not in answers)
        counters.errors.update((id, answer.error) for id, answer in answers.items() if answer.error)

    def _insist(self, id: int, instruction: int, parameters: bytes, size: int, attempts: int) -> Answer:
        packet = self.framing.packet(id, instruction, parameters)
        for _ in range(attempts):
            answer = self.exchange(packet, [id], size, SETUP_NS).get(id)
            if answer is None:
                continue
            if refusal := self.framing.refusal(answer.error):
                raise DeviceError(f"servo {id}: refused instruction {instruction:#04x} ({refusal})")
            if len(answer.data) == size:
                return answer
        raise DeviceError(
            f"servo {id}: no answer in {attempts} attempts ({self.counters.line()}); check its power, its cable, "
            "its id and the baud rate"
        )

    def _discard(self) -> None:
        """Drop what came after the last exchange was over; an echo of it would pass for the next answer."""
        late = len(self._buffer)
        self._buffer.clear()
        for _ in range(DRAIN):
            data = self.port.receive(0)
            if not data:
                break
            late += len(data)
        self.counters.late_bytes += late

    def _count(self, noise: Noise) -> None:
        if noise.reason == "checksum":
            self.counters.checksum += 1
        else:
            self.counters.garbage_bytes += noise.size
