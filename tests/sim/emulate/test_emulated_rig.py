"""A rig's twin behind its buses, in a process of its own, in real time."""

import time

import pytest
from twinloop.robot.buses import Bus, FeetechFraming, SerialPort
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.process import EmulatorProcess

IDS = (1, 2, 3, 4, 5, 6)
SHARE_S = 0.25  # of a second; these machines are shared


@pytest.fixture(scope="module")
def emulator():
    with EmulatorProcess(load_rig("so101")) as made:
        yield made


def bus_on(path):
    clock = RealClock()
    bus = Bus(SerialPort(path, 1_000_000, clock), FeetechFraming(), clock, 1_000_000, deadline_ns=200_000_000)
    bus.open()
    return bus


def positions(bus):
    return [int.from_bytes(a.data[:2], "little") for _, a in sorted(bus.sync_read(IDS, 56, 8).items())]


def goals(bus, values):
    bus.sync_write(42, {id: value.to_bytes(2, "little") for id, value in zip(IDS, values, strict=True)})


@pytest.mark.slow
def test_the_twin_moves_as_its_registers_say(emulator):
    bus = bus_on(emulator.paths["arm"])
    start = positions(bus)
    assert start[0] == 2048 and abs(start[1] - 1005) < 5  # folded: shoulder_lift at -1.6 rad
    for id in IDS:
        bus.write(id, 55, b"\0")
        bus.write(id, 21, b"\x10")  # the gain that LeRobot sets
    goals(bus, start)
    for id in IDS:
        bus.write(id, 40, b"\1")
    goals(bus, [2248, 2048, 2048, 2048, 2048, 2048])
    for _ in range(80):
        time.sleep(SHARE_S / 4)
        now = positions(bus)
        if abs(now[0] - 2248) <= 6 and max(abs(p - 2048) for p in now[1:]) < 80:  # the rest is gravity's sag
            break
    else:
        pytest.fail(f"stood at {now}")
    for id in IDS:
        bus.write(id, 40, b"\0")
    time.sleep(SHARE_S)
    assert positions(bus)[1] != now[1]  # without torque the arm sinks
    bus.close()


@pytest.mark.slow
def test_a_pulled_plug_hangs_up_and_comes_back(emulator):
    bus = bus_on(emulator.paths["arm"])
    assert bus.ping(3)
    emulator.unplug("arm")
    with pytest.raises(DeviceError, match="gone"):
        bus.sync_read(IDS, 56, 8)
    emulator.plug("arm")
    bus.open()
    assert bus.ping(3)
    bus.close()
