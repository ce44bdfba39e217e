"""The emulated Dynamixel line: Robotis' own SDK, unmodified, and our bus talk to it through a pseudo-terminal."""

import json
import subprocess
import sys
import time
from pathlib import Path

import dynamixel_sdk as sdk
import pytest
from twinloop.robot.buses import Bus, DynamixelFraming, SerialPort
from twinloop.robot.buses.dynamixel import fast_sync_read
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError

IDS = (1, 2, 3, 4, 5, 6)
MODEL, FIRMWARE = 1060, 46
PATIENT_NS = 100_000_000
DRIVE_MODE, MODE, OFFSET, TORQUE, LEVEL, P, GOAL, PRESENT, FEEDBACK = 10, 11, 20, 64, 68, 84, 116, 126, 21
POSITION = 132
ACCESS, INSTRUCTION, LENGTH, LIMIT = 7, 2, 5, 6


class Device:
    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("line_process.py")), "dynamixel"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.path = self.process.stdout.readline().strip()

    def faults(self, **faults):
        self.process.stdin.write(json.dumps(faults) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "done"

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture(scope="module")
def device():
    made = Device()
    yield made
    made.close()


class PatientPort(sdk.PortHandler):
    """The SDK's port that waits 1 s for an answer: a busy machine may not run the emulator for longer than it does.
    Asking again instead would take a late answer to the first question for the one to the second."""

    def setPacketTimeout(self, packet_length):
        self.setPacketTimeoutMillis(1000.0)


@pytest.fixture
def vendor(device):
    port = PatientPort(device.path)
    assert port.setBaudRate(1_000_000)
    packets = sdk.PacketHandler(2.0)
    yield port, packets
    for id in IDS:
        packets.write1ByteTxRx(port, id, TORQUE, 0)
    port.closePort()


@pytest.fixture
def bus(device):
    clock = RealClock()
    port = SerialPort(device.path, 1_000_000, clock)
    made = Bus(port, DynamixelFraming(), clock, 1_000_000, deadline_ns=PATIENT_NS)
    made.open()
    yield made
    made.close()


def test_robotis_sdk_finds_the_servos(vendor):
    port, packets = vendor
    for id in IDS:
        assert packets.ping(port, id) == (MODEL, 0, 0)
    assert packets.ping(port, 9)[1] == sdk.COMM_RX_TIMEOUT
    found, result = packets.broadcastPing(port)
    assert result == 0 and found == {id: [MODEL, FIRMWARE] for id in IDS} and list(found) == list(IDS)


def test_robotis_sdk_reads_and_writes_registers_of_every_size(vendor):
    port, packets = vendor
    for write, read, address, value in (
        (packets.write1ByteTxRx, packets.read1ByteTxRx, 65, 1),
        (packets.write2ByteTxRx, packets.read2ByteTxRx, P, 700),
        (packets.write4ByteTxRx, packets.read4ByteTxRx, GOAL, 1234),
    ):
        assert write(port, 3, address, value) == (0, 0)
        assert read(port, 3, address) == (value, 0, 0)
    assert packets.write4ByteTxRx(port, 3, GOAL, 5000) == (0, LIMIT)
    assert packets.write2ByteTxRx(port, 3, GOAL, 1) == (0, LENGTH)
    assert packets.write1ByteTxRx(port, 3, POSITION, 1) == (0, ACCESS)
    assert packets.write2ByteTxRx(port, 3, 102, 1) == (0, ACCESS)  # an XL430 has no current to limit


def test_bytes_that_look_like_a_header_travel_stuffed(vendor):
    port, packets = vendor
    value = 0xFFFDFFFF  # FF FF FD FF on the wire
    assert packets.write1ByteTxRx(port, 2, MODE, 4) == (0, 0)
    assert packets.write4ByteTxRx(port, 2, OFFSET, value) == (0, 0)  # -131,073
    assert packets.read4ByteTxRx(port, 2, OFFSET) == (value, 0, 0)
    assert packets.write4ByteTxRx(port, 2, OFFSET, 0) == (0, 0)
    assert packets.write1ByteTxRx(port, 2, MODE, 3) == (0, 0)


def test_the_eeprom_is_refused_while_the_torque_is_on(vendor):
    port, packets = vendor
    assert packets.write1ByteTxRx(port, 4, TORQUE, 1) == (0, 0)
    assert packets.write1ByteTxRx(port, 4, DRIVE_MODE, 1) == (0, ACCESS)
    assert packets.read1ByteTxRx(port, 4, DRIVE_MODE) == (0, 0, 0)


@pytest.mark.parametrize("fast", [False, True])
def test_robotis_sdk_moves_and_reads_all_at_once(vendor, fast):
    port, packets = vendor
    for id in IDS:
        assert packets.write1ByteTxRx(port, id, TORQUE, 1) == (0, 0)
    goals = sdk.GroupSyncWrite(port, packets, GOAL, 4)
    wanted = {id: 1500 + 100 * id + 300 * fast for id in IDS}
    for id, value in wanted.items():
        assert goals.addParam(id, list(value.to_bytes(4, "little")))
    assert goals.txPacket() == 0
    time.sleep(0.6)
    states = sdk.GroupSyncRead(port, packets, PRESENT, FEEDBACK)
    for id in IDS:
        assert states.addParam(id)
    assert (states.fastSyncRead() if fast else states.txRxPacket()) == 0
    for id in IDS:
        assert abs(states.getData(id, POSITION, 4) - wanted[id]) <= 1
        assert states.getData(id, 144, 2) == 74 and states.getData(id, 146, 1) == 30


def test_robotis_sdk_reads_and_writes_in_bulk(vendor):
    port, packets = vendor
    writes = sdk.GroupBulkWrite(port, packets)
    assert writes.addParam(1, P, 2, [1, 2]) and writes.addParam(2, 65, 1, [1])
    assert writes.txPacket() == 0
    reads = sdk.GroupBulkRead(port, packets)
    assert reads.addParam(1, P, 2) and reads.addParam(2, 65, 1)
    assert reads.txRxPacket() == 0
    assert reads.getData(1, P, 2) == 513 and reads.getData(2, 65, 1) == 1


def test_what_is_registered_waits_for_the_action(vendor):
    port, packets = vendor
    assert packets.regWriteTxRx(port, 5, 65, 1, [1]) == (0, 0)
    assert packets.read1ByteTxRx(port, 5, 65) == (0, 0, 0)
    assert packets.action(port, 5) == 0
    time.sleep(0.05)
    port.clearPort()  # an action is answered, which the SDK does not wait for
    assert packets.read1ByteTxRx(port, 5, 65) == (1, 0, 0)


def test_a_reboot_forgets_the_ram_and_takes_its_time(vendor):
    port, packets = vendor
    packets.write2ByteTxRx(port, 6, P, 100)
    packets.write1ByteTxRx(port, 6, TORQUE, 1)
    assert packets.reboot(port, 6) == (0, 0)
    time.sleep(0.3)
    assert packets.read1ByteTxRx(port, 6, TORQUE) == (0, 0, 0)
    assert packets.read2ByteTxRx(port, 6, P) == (640, 0, 0)
    assert packets.factoryReset(port, 6, 0x02) == (0, 0)
    time.sleep(0.3)
    assert packets.ping(port, 6) == (MODEL, 0, 0)
    assert packets.factoryReset(port, 6, 0x07) == (0, 4)


def test_the_status_return_level_and_secondary_ids(vendor):
    port, packets = vendor
    assert packets.write1ByteTxRx(port, 1, LEVEL, 1) == (0, 0)
    assert packets.write1ByteTxRx(port, 1, 65, 1)[0] == sdk.COMM_RX_TIMEOUT  # written, not answered
    assert packets.read1ByteTxRx(port, 1, 65) == (1, 0, 0)
    assert packets.write1ByteTxRx(port, 1, LEVEL, 2)[0] == sdk.COMM_RX_TIMEOUT
    assert packets.write1ByteTxRx(port, 3, 12, 2) == (0, 0)
    assert packets.write2ByteTxRx(port, 2, P, 321) == (0, 0)
    assert packets.read2ByteTxRx(port, 3, P) == (321, 0, 0)  # obeyed the second id, which 2 answered for
    assert packets.write1ByteTxRx(port, 3, 12, 255) == (0, 0)


def test_our_bus_reads_and_moves_them(bus):
    assert all(bus.ping(id) for id in IDS) and not bus.ping(9)
    assert bus.read(3, 0, 2) == MODEL.to_bytes(2, "little")
    for id in IDS:
        bus.write(id, TORQUE, b"\1")
    with pytest.raises(DeviceError, match="servo 3: refused instruction 0x03 \\(access\\)"):
        bus.write(3, MODE, b"\4")
    bus.sync_write(GOAL, {id: (2000 + 100 * id).to_bytes(4, "little") for id in IDS})
    time.sleep(0.6)
    for answers in (bus.sync_read(IDS, PRESENT, FEEDBACK), fast_sync_read(bus, IDS, PRESENT, FEEDBACK)):
        assert set(answers) == set(IDS)
        for id, answer in answers.items():
            assert abs(int.from_bytes(answer.data[6:10], "little") - (2000 + 100 * id)) <= 1
    for id in IDS:
        bus.write(id, TORQUE, b"\0")


def test_faults_of_the_line_are_survived_and_counted(device, bus):
    device.faults(dead=[4])
    assert set(bus.sync_read(IDS, PRESENT, FEEDBACK)) == set(IDS) - {4}
    assert fast_sync_read(bus, IDS, PRESENT, FEEDBACK) == {}  # its part of the common packet is missing
    assert bus.counters.missing == {1: 1, 2: 1, 3: 1, 4: 2, 5: 1, 6: 1}
    device.faults(dead=[], lost=0.05, damaged=0.05, truncated=0.02, doubled=0.02, garbage=0.1)
    for read in (bus.sync_read, lambda *span: fast_sync_read(bus, *span)):
        before = bus.counters.answered
        came = [read(IDS, PRESENT, FEEDBACK) for _ in range(30)]
        answered = sum(len(answers) for answers in came)
        assert (
            bus.counters.answered - before == answered and 0 < answered < 180
        )  # of a common packet, all or none
        for answers in came:  # whatever came is whole
            for answer in answers.values():
                assert answer.data[18:] == bytes((74, 0, 30))
    assert bus.counters.checksum and bus.counters.garbage_bytes
    device.faults(lost=0.0, damaged=0.0, truncated=0.0, doubled=0.0, garbage=0.0, silent=True)
    with pytest.raises(DeviceError, match="servo 2: no answer"):
        bus.read(2, 0, 2)
    device.faults(silent=False)
    assert bus.read(2, 0, 2) == MODEL.to_bytes(2, "little")
