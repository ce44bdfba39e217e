"""`twinloop emulate`: ports that answer, faults that are typed, and an end by Ctrl-C."""

import os
import signal
import subprocess
import sys

import pytest
from twinloop.robot.buses import Bus, FeetechFraming, SerialPort
from twinloop.robot.clock import RealClock

PATIENT_NS = 200_000_000


@pytest.mark.slow
def test_an_emulated_arm_answers_until_it_is_stopped():
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "twinloop.launch.cli", "emulate", "--rig", "so101"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    arm, path = process.stdout.readline().split()
    assert arm == "arm:" and "dead ID" in process.stdout.readline()

    def say(line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    clock = RealClock()
    bus = Bus(SerialPort(path, 1_000_000, clock), FeetechFraming(), clock, 1_000_000, deadline_ns=PATIENT_NS)
    bus.open()
    assert len(bus.sync_read(range(1, 7), 56, 8)) == 6
    assert say("dead 3 4") == "arm: dead 3 4"
    assert set(bus.sync_read(range(1, 7), 56, 8)) == {1, 2, 5, 6}
    assert say("arm ok") == "arm: ok"
    assert len(bus.sync_read(range(1, 7), 56, 8)) == 6
    assert "did you mean 'silent'" in say("silence")
    assert "give a share" in say("lost 3") and "which servos" in say("dead")
    assert say("hot 3 66") == "arm: hot 3 66" and say("overload 2") == "arm: overload 2"
    seen = bus.sync_read(range(1, 7), 56, 8)
    assert seen[3].data[7] == 66 and seen[2].error & 32
    assert "the servos 1, 2, 3, 4, 5, 6" in say("hot 9 66") and "for example: overload 3" in say("overload")
    assert say("ok") == "arm: ok" and bus.sync_read([3], 56, 8)[3].data[7] < 40
    bus.close()
    process.stdin.close()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert "Traceback" not in process.stdout.read()
    assert not os.path.lexists(path)
