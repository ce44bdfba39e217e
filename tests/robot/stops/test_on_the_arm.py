"""The sources on the emulated SO-101: whoever presses, the guard's process stands and names it."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from twinloop.launch.cli import main
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.sessions import guard_pid
from twinloop.robot.rig import load_rig
from twinloop.robot.stops.config import EStops, PedalStop, SocketStop
from twinloop.robot.stops.pedal import EV_KEY, EVENT
from twinloop.sim.emulate.process import EmulatorProcess

pytestmark = pytest.mark.slow


def until(true, seconds=30.0):
    due = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < due
        time.sleep(0.02)


@pytest.fixture(scope="module")
def emulator():
    with EmulatorProcess(load_rig("so101")) as made:
        yield made


@pytest.fixture
def cell(emulator, tmp_path):
    """A guard on a rig with a port and a pedal that must be there; the pedal's writing end."""
    pedal = tmp_path / "event7"
    os.mkfifo(pedal)
    writer = os.open(pedal, os.O_RDWR)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    stops = EStops(SocketStop(port), PedalStop(str(pedal), key=57))
    guard = GuardProcess(replace(load_rig("so101"), estop=stops), emulator.paths)
    guard.open()
    yield guard, port, writer
    if guard.is_open:
        guard.close(unparked=True)


def rearm(guard):
    until(lambda: guard.status.mode == "estop")
    guard.rearm()
    until(lambda: guard.mode == "hold")


def acting(guard):
    return {p.name: p.active for p in guard.protections() if p.name.startswith("estop_")}


def children(pid):
    out = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return {line.split()[0]: line for line in out.stdout.splitlines()}


def source_pid(guard):
    found = [pid for pid, line in children(guard._process.pid).items() if "stops.server" in line]
    return int(found[0]) if found else None


def test_every_source_presses_and_is_named_and_a_guard_started_anew_still_has_them(cell, capsys):
    guard, port, pedal = cell
    assert guard.mode == "hold" and acting(guard) == {"estop_socket": True, "estop_pedal": True}

    assert main(["estop", "--host", "127.0.0.1", "--port", str(port), "--reason", "hand"]) == 0
    until(lambda: guard.mode == "estop")
    assert guard.reason == "e-stop socket: 127.0.0.1: hand"
    rearm(guard)

    os.write(pedal, EVENT.pack(0, 0, EV_KEY, 57, 1))
    until(lambda: guard.mode == "estop")
    assert guard.reason == "e-stop pedal, key 57"
    guard.rearm()
    until(lambda: guard.mode == "estop" and "held down" in guard.reason)  # somebody stands on it
    os.write(pedal, EVENT.pack(0, 0, EV_KEY, 57, 0))
    time.sleep(0.2)  # seen by the sources' process: nothing tells that from here
    rearm(guard)

    os.kill(guard_pid(guard._folder), signal.SIGKILL)
    for value in (1, 0):  # while there is no guard
        os.write(pedal, EVENT.pack(0, 0, EV_KEY, 57, value))
    until(lambda: guard.status.epoch == 1 and guard.mode == "estop")
    assert guard.reason == "e-stop pedal, key 57"
    rearm(guard)

    box = subprocess.Popen(
        [sys.executable, "-m", "twinloop.launch.cli", "estop"]
        + ["--host", "127.0.0.1", "--port", str(port), "--box"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "clear" in box.stdout.readline()
    box.kill()
    until(lambda: guard.mode == "estop")
    assert guard.reason == "e-stop socket: 127.0.0.1 is gone"
    rearm(guard)

    os.close(pedal)  # pulled out
    until(lambda: guard.mode == "estop" and not acting(guard)["estop_pedal"])
    assert "pedal" in guard.reason and acting(guard)["estop_socket"]
    guard.rearm()
    until(lambda: guard.mode == "estop")  # what is still wrong latches again


def test_the_end_of_the_sources_process_is_said_and_stops(cell):
    guard, _, pedal = cell
    os.kill(source_pid(guard), signal.SIGSTOP)
    until(lambda: guard.mode == "estop" and not any(acting(guard).values()))
    assert "not looked at" in guard.reason
    os.kill(source_pid(guard), signal.SIGKILL)
    until(lambda: all(acting(guard).values()) and len(acting(guard)) == 2)  # started anew
    rearm(guard)
    os.write(pedal, EVENT.pack(0, 0, EV_KEY, 57, 1))
    until(lambda: guard.mode == "estop")


def test_a_required_pedal_that_is_not_there_stands_the_arm_from_the_start(emulator, tmp_path):
    stops = EStops(pedal=PedalStop(str(tmp_path / "none")))
    guard = GuardProcess(replace(load_rig("so101"), estop=stops), emulator.paths)
    guard.open()
    try:
        until(lambda: guard.mode == "estop")
        assert "is it plugged in" in guard.reason and acting(guard) == {"estop_pedal": False}
    finally:
        guard.close(unparked=True)
