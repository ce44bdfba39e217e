"""A foot pedal as bytes of the kernel: its keys are controls, once a press."""

import os
from pathlib import Path

import pytest
from twinloop.launch.cli import main
from twinloop.robot.errors import DeviceError, UsageError
from twinloop.robot.stops.pedal import EV_KEY, EV_SYN, EVENT, SYN_DROPPED
from twinloop.teleop.pedal import FootPedal, parse_pedal

ROOT = Path(__file__).parents[2]
S = 1_000_000_000
A, B, C = 30, 48, 46  # codes of the letters, linux/input-event-codes.h


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "event5"
    os.mkfifo(path)
    return path


def event(kind, code, value):
    return EVENT.pack(0, 0, kind, code, value)


def press(code):
    """Down, a repeat, up."""
    return b"".join(event(EV_KEY, code, value) + event(EV_SYN, 0, 0) for value in (1, 2, 0))


def test_its_keys_are_controls_once_a_press(fifo):
    pedal = FootPedal(parse_pedal(f"{fifo}=a:start,b:success,46:failure"))
    pedal.open()
    with open(os.open(fifo, os.O_WRONLY), "wb", buffering=0) as feet:
        assert pedal.read(0) == ()
        feet.write(press(A) + press(C) + press(B))
        assert pedal.read(1) == ("start", "failure", "success") and pedal.read(2) == ()
        feet.write(press(57))
        assert pedal.read(3) == () and "key 57 has no control; add it as 57:CONTROL" in pedal.trouble
    assert pedal.read(4) == () and "unplugged" in pedal.trouble
    with open(os.open(fifo, os.O_RDWR), "wb", buffering=0) as feet:  # plugged in again
        feet.write(press(A))
        assert pedal.read(S) == ("start",) and pedal.trouble == ""
    pedal.close()


def test_one_pedal_begins_and_ends(fifo):
    pedal = FootPedal(parse_pedal(str(fifo)))
    pedal.open()
    with open(os.open(fifo, os.O_WRONLY), "wb", buffering=0) as feet:
        feet.write(press(C))
        assert pedal.read(0) == ("start", "success")
    pedal.close()


def test_where_it_may_stop_the_arm_events_that_were_lost_do(fifo):
    pedal = FootPedal(parse_pedal(f"{fifo}=a:start,b:estop"))
    pedal.open()
    with open(os.open(fifo, os.O_WRONLY), "wb", buffering=0) as feet:
        feet.write(event(EV_SYN, SYN_DROPPED, 0))
        assert pedal.read(0) == ("estop",)
    pedal.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("event5=a:start", "its device comes first"),
        ("/dev/x=a:begin", "no control 'begin'; .*valid: discard"),
        ("/dev/x=§:start", "no key '§'; valid: a letter"),
        ("/dev/x=900:start", "no key '900'"),
        ("/dev/x=a:start,a:success", "'a:success' stands where another"),
    ],
)
def test_what_no_pedal_is_is_said(text, words):
    with pytest.raises(UsageError, match=words):
        parse_pedal(text)


def test_one_that_is_not_there_and_the_stop_of_the_rig_are_said(tmp_path, capsys):
    with pytest.raises(DeviceError, match="none: No such file or directory; is it plugged in"):
        FootPedal(parse_pedal(str(tmp_path / "none"))).open()
    rig = tmp_path / "rig.yaml"
    with rig.open("w") as file:
        file.write((ROOT / "rigs" / "so101.yaml").read_text())
        file.write(f"\nestop:\n  pedal:\n    device: {tmp_path}/stop\n")
    (tmp_path / "same").symlink_to(tmp_path / "stop")
    args = ("teleop", "--device", "web", "--sim", "--rig", str(rig), "--pedal", f"{tmp_path}/same=a:pause")
    assert main(args) == 2
    assert "is the e-stop of rig" in capsys.readouterr().err
