"""`twinloop emulate`: ports that answer, faults that are typed, and an end by Ctrl-C."""

import os
import signal
import subprocess
import sys

import cv2
import pytest
from twinloop.launch.cli import main
from twinloop.launch.faults import KNOWN, switch, table
from twinloop.robot.buses import Bus, FeetechFraming, SerialPort
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError, UsageError
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.door import RunningEmulator
from twinloop.sim.emulate.process import EmulatorProcess
from twinloop.sim.emulate.stage import Stage

PATIENT_NS = 200_000_000
LAST = table().splitlines()[-1] + "\n"


@pytest.mark.slow
def test_an_emulated_arm_answers_until_it_is_stopped():
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "twinloop.launch.cli", "emulate", "--rig", "so101"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    arm, path = process.stdout.readline().split()
    assert arm == "arm:"
    told = iter(process.stdout.readline, "")
    assert "dead ID" in "".join(line for line in iter(lambda: next(told), LAST))

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


class Seen:
    """What the words asked of an emulator."""

    rig = load_rig("so101_bimanual")

    def __init__(self):
        self.asked = []

    def ids(self, arm):
        return (1, 2, 3, 4)

    def __getattr__(self, name):
        return lambda *args, **values: self.asked.append((name, *args, *values.items()))


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("silent", ("faults", "left", ("silent", True))),
        ("right dead 3 4", ("faults", "right", ("dead", frozenset({3, 4})))),
        ("lost 0.1", ("faults", "left", ("lost", 0.1))),
        ("right hot 3 66", ("heat", "right", 3, 66.0)),
        ("overload 2", ("overload", "left", 2)),
        ("push 1 -0.5", ("push", "left", 1, -0.5)),
        ("right unplug", ("unplug", "right")),
        ("plug", ("plug", "left")),
        ("freeze front", ("camera_fault", "front", "frozen")),
        ("slow left_wrist", ("camera_fault", "left_wrist", "slow")),
        ("gone front", ("camera_fault", "front", "gone")),
        ("ok front", ("camera_fault", "front", "")),
    ],
)
def test_words_and_what_they_switch(line, asked):
    seen = Seen()
    switch(seen, line.split())
    assert seen.asked == [asked]


def test_ok_ends_everything():
    seen = Seen()
    switch(seen, ["ok"])
    assert {a[1] for a in seen.asked} == {"left", "right", "front", "left_wrist", "right_wrist"}
    assert ("plug", "right") in seen.asked and ("heat", "left", 1, None) in seen.asked


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("frez front", "did you mean 'freeze'"),
        ("freeze", "which camera"),
        ("gone side", "valid: front"),
        ("push 1 9", "at most 5"),
        ("push 1 nan", "for example"),
        ("hot 1 nan", "for example"),
        ("lost 3", "from 0 to 1"),
        ("dead 9", "which servos. there are 1, 2, 3, 4"),
        ("unplug 1", "takes no value"),
        ("ok there", "nothing is called 'there'"),
    ],
)
def test_words_that_are_none_say_what_would_be(line, told):
    with pytest.raises(UsageError, match=told):
        switch(Seen(), line.split())
    with pytest.raises(UsageError, match="--task"):
        switch(Seen(), ["freeze", "front"], cameras=False)


@pytest.mark.slow
def test_the_emulator_of_another_program_is_switched_from_here(capsys):
    """`twinloop fault` beside `deploy --emulated`; every switch is taken."""
    with EmulatorProcess(load_rig("so101"), Stage("reach", size=(64, 48))) as emulator:
        pid = ["fault", "--pid", str(os.getpid())]
        clock = RealClock()
        bus = Bus(
            SerialPort(emulator.paths["arm"], 1_000_000, clock), FeetechFraming(), clock, 1_000_000,
            deadline_ns=PATIENT_NS,
        )  # fmt: skip
        bus.open()
        assert main([*pid, "dead", "3", "4"]) == 0 and "arm: dead 3 4" in capsys.readouterr().out
        assert set(bus.sync_read(range(1, 7), 56, 8)) == {1, 2, 5, 6}
        assert main([*pid, "ok"]) == 0 and main([*pid, "hot", "3", "66"]) == 0
        assert bus.sync_read(range(1, 7), 56, 8)[3].data[7] == 66
        bus.close()
        values = {"dead": ["1"], "hot": ["1", "40"], "overload": ["1"], "push": ["1", "0.1"]}
        for name in KNOWN:
            shares = ["0.1"] if name in ("lost", "damaged", "truncated", "doubled", "garbage") else []
            cameras = ["front"] if name in ("freeze", "slow", "gone") else []
            assert main([*pid, name, *values.get(name, []), *shares, *cameras]) == 0, name
        bus.open()
        assert len(bus.sync_read(range(1, 7), 56, 8)) == 6
        bus.close()
        assert main([*pid, "hot", "9", "66"]) == 2 and "the servos 1, 2" in capsys.readouterr().err
        running = RunningEmulator(emulator.folder)
        with pytest.raises(DeviceError, match="KeyError"):
            running.faults("elbow", silent=True)
        with pytest.raises(DeviceError, match="no fault"):
            running.faults("arm", sielnt=True)
    assert main([*pid, "ok"]) == 2
    with pytest.raises(DeviceError):
        RunningEmulator(running._folder)


@pytest.mark.slow
def test_emulated_cameras_are_streams_that_freeze_when_they_are_told_to():
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "twinloop.launch.cli", "emulate", "--task", "reach", "--size", "64", "48"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        urls = dict(process.stdout.readline().strip().split(": ", 1) for _ in range(3))
        assert {"arm", "front", "wrist"} == set(urls)
        stream = cv2.VideoCapture(urls["front"])
        pictures = [stream.read() for _ in range(5)]
        assert all(found and picture.shape == (48, 64, 3) for found, picture in pictures)
        assert len({picture.tobytes() for _, picture in pictures}) > 1  # its noise is another each time
        process.stdin.write("freeze front\n")
        process.stdin.flush()
        assert "front: freeze\n" in iter(process.stdout.readline, "")
        same, before = 0, b""
        for _ in range(200):
            picture = stream.read()[1].tobytes()
            same, before = (same + 1 if picture == before else 0), picture
            if same == 10:
                break
        assert same == 10
        stream.release()
    finally:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 130


def test_an_arm_that_cannot_be_emulated_says_so_in_one_line(capfd):
    from twinloop.robot.errors import DeviceError
    from twinloop.robot.rig import load_rig
    from twinloop.sim.emulate.process import EmulatorProcess

    with pytest.raises(DeviceError, match="does not tell its servos"):
        EmulatorProcess(load_rig("ur5e")).open()
    assert "Traceback" not in capfd.readouterr().err
