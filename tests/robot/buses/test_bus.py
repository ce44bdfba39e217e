"""Servo buses: packets as the vendors' SDKs write them, answers found in damaged streams, waits that end."""

import fcntl
import os
import pty
import subprocess
import sys
import termios
import tty

import dynamixel_sdk
import numpy as np
import pytest
import scservo_sdk
from hypothesis import given
from hypothesis import strategies as st
from twinloop.robot.buses import Bus, DynamixelFraming, FeetechFraming, SerialPort
from twinloop.robot.buses.dynamixel import crc16, fast_sync_read
from twinloop.robot.buses.feetech import checksum, sign_magnitude, signed
from twinloop.robot.buses.framing import BROADCAST, PING, READ, SYNC_READ, SYNC_WRITE, WRITE
from twinloop.robot.buses.port import EMULATED
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError

IDS = (1, 2, 3, 4, 5, 6)
MS = 1_000_000


def feetech_answer(id, data, error=0):
    body = bytes((id, len(data) + 2, error)) + data
    return b"\xff\xff" + body + bytes((checksum(body),))


def dynamixel_answer(id, data, error=0):
    body = (bytes((0x55, error)) + data).replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
    head = b"\xff\xff\xfd\x00" + bytes((id,)) + (len(body) + 2).to_bytes(2, "little") + body
    return head + crc16(head).to_bytes(2, "little")


PROTOCOLS = pytest.mark.parametrize(
    ("framing", "answer"),
    [(FeetechFraming(), feetech_answer), (DynamixelFraming(), dynamixel_answer)],
    ids=["feetech", "dynamixel"],
)


class HandClock:
    """Time that passes when somebody waits."""

    def __init__(self):
        self.t_ns = 0

    def now(self):
        return self.t_ns

    def sleep_until(self, deadline_ns):
        self.t_ns = max(self.t_ns, deadline_ns)


class ScriptedPort:
    """Answers each request with the pieces of bytes that the script holds, `gap_ns` after one another."""

    def __init__(self, clock, gap_ns=10_000):
        self.clock, self.gap_ns = clock, gap_ns
        self.pieces, self.late, self.sent = [], [], []
        self.babbles = False

    def open(self):
        pass

    def close(self):
        pass

    def send(self, data):
        self.sent.append(data)

    def receive(self, deadline_ns):
        if self.babbles:
            self.clock.t_ns += self.gap_ns
            return b"\x00" * 20
        if self.late:  # it lies there already
            return self.late.pop(0)
        if not self.sent or not self.pieces or self.clock.t_ns + self.gap_ns > deadline_ns:
            self.clock.sleep_until(deadline_ns)
            return b""
        self.clock.t_ns += self.gap_ns
        return self.pieces.pop(0)


def bus_of(framing, pieces=()):
    clock = HandClock()
    port = ScriptedPort(clock)
    port.pieces = list(pieces)
    bus = Bus(port, framing, clock, 1_000_000)
    bus.open()
    return bus, port


@pytest.fixture
def line():
    """A pty: what is written to the path can be read from the descriptor."""
    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


@pytest.mark.parametrize("vendor", ["feetech", "dynamixel"])
def test_packets_are_those_of_the_vendors_sdk(line, vendor):
    master, path = line
    sdk, version, framing = {
        "feetech": (scservo_sdk, 0, FeetechFraming()),
        "dynamixel": (dynamixel_sdk, 2.0, DynamixelFraming()),
    }[vendor]
    port, packets = sdk.PortHandler(path), sdk.PacketHandler(version)
    assert port.setBaudRate(1_000_000)
    number = framing.number
    size = 2 if vendor == "feetech" else 4
    goals = {1: bytes((0xFF, 0xFF, 0xFE, 0x00)[:size]), 5: bytes(range(size))}

    def sync_read():
        group = sdk.GroupSyncRead(port, packets, 56, 8)
        for id in IDS:
            group.addParam(id)
        group.txPacket()

    def sync_write():
        group = sdk.GroupSyncWrite(port, packets, 42, size)
        for id, goal in goals.items():
            group.addParam(id, list(goal))
        group.txPacket()

    asked = [
        (lambda: packets.ping(port, 3), framing.packet(3, PING, b"")),
        (lambda: packets.readTx(port, 2, 56, 8), framing.packet(2, READ, number(56) + number(8))),
        (lambda: packets.writeTxOnly(port, 4, 40, 1, [1]), framing.packet(4, WRITE, number(40) + b"\1")),
        (sync_read, framing.packet(BROADCAST, SYNC_READ, number(56) + number(8) + bytes(IDS))),
        (
            sync_write,
            framing.packet(
                BROADCAST,
                SYNC_WRITE,
                number(42) + number(size) + b"".join(bytes((id,)) + g for id, g in goals.items()),
            ),
        ),
    ]
    for ask, ours in asked:
        ask()
        port.is_using = False
        assert os.read(master, 4096) == ours
    port.closePort()


def test_a_header_in_the_data_is_stuffed():
    """As the protocol wants it; dynamixel_sdk 4.1 forgets it in what it sends."""
    framing = DynamixelFraming()
    packet = framing.packet(1, WRITE, framing.number(116) + b"\xff\xff\xfd\x00")
    assert packet[8:-2] == b"\x74\x00\xff\xff\xfd\xfd\x00" and packet[5] == 10
    buffer = bytearray(dynamixel_answer(1, b"\xff\xff\xfd\xfd"))
    taken = framing.take(buffer, 4)
    assert taken is not None and taken.data == b"\xff\xff\xfd\xfd" and not buffer


@PROTOCOLS
@given(data=st.data())
def test_answers_are_found_however_the_stream_is_cut(framing, answer, data):
    """Split anywhere, with noise before, between and after: every answer, and nothing else."""
    noise = st.binary(max_size=12).map(lambda b: b.replace(b"\xff", b"\x7f"))
    values = data.draw(st.lists(st.tuples(st.integers(1, 20), st.binary(max_size=8)), max_size=6))
    stream = data.draw(noise)
    for id, value in values:
        stream += answer(id, value) + data.draw(noise)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    buffer, found = bytearray(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer += stream[start:end]
        while (taken := framing.take(buffer, 8)) is not None:
            if hasattr(taken, "id"):
                found.append((taken.id, taken.data))
    assert found == values


@PROTOCOLS
def test_one_damaged_byte_costs_one_answer(framing, answer):
    rng = np.random.default_rng(0)
    whole = [answer(id, bytes((id, 2, 3, 4, 5, 6, 7, 8))) for id in IDS]
    for k in range(len(IDS)):
        for at in range(len(whole[k])):
            bad = bytearray(whole[k])
            bad[at] ^= int(rng.integers(1, 256))
            bus, _ = bus_of(framing, [b"".join([*whole[:k], bytes(bad), *whole[k + 1 :]])])
            answers = bus.sync_read(IDS, 56, 8)
            assert set(IDS) - {IDS[k]} <= set(answers), (k, at)
            assert all(a.data == bytes((id, 2, 3, 4, 5, 6, 7, 8)) for id, a in answers.items())
            assert bus.counters.missing == {IDS[k]: 1} and bus.counters.answered == 5


@PROTOCOLS
def test_a_truncated_answer_costs_one_answer(framing, answer):
    whole = [answer(id, bytes(range(8))) for id in IDS]
    for cut in range(len(whole[0])):
        bus, _ = bus_of(framing, [b"".join([whole[0], whole[1][:cut], *whole[2:]])])
        assert set(bus.sync_read(IDS, 56, 8)) == {1, 3, 4, 5, 6}


@PROTOCOLS
def test_who_does_not_answer_is_left_out_by_the_deadline(framing, answer):
    bus, port = bus_of(framing, [answer(id, bytes(8)) for id in IDS if id != 4])
    assert set(bus.sync_read(IDS, 56, 8)) == set(IDS) - {4}
    assert 3 * MS <= port.clock.now() <= 5 * MS
    assert bus.counters.missing == {4: 1}


@PROTOCOLS
def test_a_line_that_babbles_ends_by_the_deadline_too(framing, answer):
    bus, port = bus_of(framing)
    port.babbles = True
    assert bus.sync_read(IDS, 56, 8) == {}
    assert port.clock.now() <= 6 * MS
    assert bus.counters.garbage_bytes > 100


@PROTOCOLS
def test_an_answer_that_is_late_is_not_taken_for_the_next_one(framing, answer):
    bus, port = bus_of(framing, [])
    assert bus.sync_read((1,), 56, 2) == {}
    port.late, port.pieces = [answer(1, b"\1\1")], [answer(1, b"\2\2")]
    assert bus.sync_read((1,), 56, 2)[1].data == b"\2\2"
    assert bus.counters.late_bytes == len(answer(1, b"\1\1"))


@PROTOCOLS
def test_strays_and_duplicates_change_nothing(framing, answer):
    stream = answer(9, b"\7\7") + answer(1, b"\1\1") + answer(1, b"\3\3") + answer(2, b"\2\2")
    bus, _ = bus_of(framing, [stream])
    assert {id: a.data for id, a in bus.sync_read((1, 2), 56, 2).items()} == {1: b"\1\1", 2: b"\2\2"}
    assert bus.counters.stray == 2


@PROTOCOLS
def test_setting_up_insists_and_then_says_what_to_look_at(framing, answer):
    bus, port = bus_of(framing, [answer(3, b"\5\5")])
    port.gap_ns = 15 * MS
    assert bus.read(3, 5, 2) == b"\5\5"
    with pytest.raises(DeviceError, match="servo 3: no answer in 6 attempts.*power"):
        bus.write(3, 40, b"\1")
    assert len(port.sent) == 7


def test_a_dynamixel_that_refuses_is_one_error():
    bus, _ = bus_of(DynamixelFraming(), [dynamixel_answer(3, b"", error=7)])
    with pytest.raises(DeviceError, match=r"servo 3: refused.*access"):
        bus.write(3, 11, b"\4")


def test_a_feetech_error_byte_is_kept_beside_the_data():
    bus, _ = bus_of(FeetechFraming(), [feetech_answer(3, b"\1\2", error=32 + 4)])
    answer = bus.sync_read((3,), 56, 2)[3]
    assert answer.error == 36 and answer.data == b"\1\2"
    assert bus.counters.errors == {(3, 36): 1}


def test_fast_sync_read_splits_the_shared_packet():
    """Built as dynamixel_sdk reads it: error, id, data, CRC for each servo."""
    packet = b"\xff\xff\xfd\x00\xfe" + (1 + 3 * 8).to_bytes(2, "little") + b"\x55"
    for id in (1, 2, 3):
        packet += bytes((0x80 if id == 2 else 0, id)) + bytes((id, 0, 0, 0))
        packet += crc16(packet).to_bytes(2, "little")
    bus, port = bus_of(DynamixelFraming(), [packet])
    answers = fast_sync_read(bus, (1, 2, 3), 132, 4)
    assert {id: (a.error, a.data) for id, a in answers.items()} == {
        id: (0x80 if id == 2 else 0, bytes((id, 0, 0, 0))) for id in (1, 2, 3)
    }
    assert port.sent[0][7] == 0x8A


@pytest.mark.parametrize(("value", "bit"), [(0, 15), (-1, 15), (2047, 11), (-2047, 11), (32767, 15)])
def test_sign_magnitude_there_and_back(value, bit):
    assert signed(sign_magnitude(value, bit), bit) == value
    with pytest.raises(ValueError, match="needs more"):
        sign_magnitude(1 << bit, bit)


OWNER = "import sys, serial; s = serial.Serial(sys.argv[1], exclusive=True); print(1, flush=True); input()"


def test_the_port_says_who_holds_it(line):
    _, path = line
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, path], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert owner.stdout.readline()
    with pytest.raises(DeviceError, match=f"{path}: in use by process {owner.pid};"):
        SerialPort(path, 1_000_000, RealClock()).open()
    owner.communicate(b"\n")
    port = SerialPort(path, 1_000_000, RealClock())
    port.open()
    port.close()


def test_a_port_that_is_not_there_or_goes_away_is_one_line():
    with pytest.raises(DeviceError, match="port /dev/nowhere: not there"):
        SerialPort("/dev/nowhere", 1_000_000, RealClock()).open()
    master, slave = pty.openpty()
    tty.setraw(slave)
    port = SerialPort(os.ttyname(slave), 1_000_000, RealClock())
    port.open()
    os.close(slave)
    os.write(master, b"hello")
    assert port.receive(RealClock().now() + 100 * MS) == b"hello"
    assert port.receive(RealClock().now() + MS) == b""
    os.close(master)
    with pytest.raises(DeviceError, match="gone"):
        port.receive(RealClock().now() + 100 * MS)
    with pytest.raises(DeviceError, match="not open"):
        port.send(b"x")


def test_a_terminal_that_took_the_number_of_a_dead_emulators_is_left_alone(tmp_path):
    """Its number is free as soon as it is killed, and its path still names it."""
    link = tmp_path / "arm"
    ends = pty.openpty()
    fcntl.ioctl(ends[0], termios.TIOCSWINSZ, EMULATED)
    link.symlink_to(os.ttyname(ends[1]))
    port = SerialPort(str(link), 1_000_000, RealClock())
    port.open()
    port.close()
    somebodys = pty.openpty()
    link.unlink()
    link.symlink_to(os.ttyname(somebodys[1]))
    before = termios.tcgetattr(somebodys[1])
    with pytest.raises(DeviceError, match="the emulator behind it is gone"):
        port.open()
    assert termios.tcgetattr(somebodys[1]) == before
    for end in (*ends, *somebodys):
        os.close(end)
