"""The terminal as a device, on a real pseudo-terminal."""

import os
import pty

import numpy as np
import pytest
from twinloop.robot.errors import DeviceError
from twinloop.teleop.keyboard import PULSE_NS, Keyboard


@pytest.fixture
def terminal():
    master, slave = pty.openpty()
    device = Keyboard(slave)
    device.open()
    yield master, device
    device.close()
    for end in (master, slave):
        os.close(end)


def test_a_held_key_moves_and_a_released_one_stops(terminal):
    master, device = terminal
    os.write(master, b"w")
    assert device.read(0).linear_m_s[0] > 0
    os.write(master, b"w")  # the terminal repeats it
    assert device.read(PULSE_NS // 2).linear_m_s[0] > 0
    assert not np.any(device.read(2 * PULSE_NS).linear_m_s)


def test_two_keys_at_once_and_the_speeds(terminal):
    master, device = terminal
    os.write(master, b"wx")
    jog = device.read(0)
    os.write(master, b"1w")
    slow = device.read(1)
    assert jog.grip_m_s > 0 and slow.linear_m_s[0] == pytest.approx(0.25 * jog.linear_m_s[0])


def test_controls_are_told_once_and_arrows_are_no_letters(terminal):
    master, device = terminal
    os.write(master, b"y\x1b[A\x1b[1;5D")
    jog = device.read(0)
    assert jog.keys == ("success",) and not jog.linear_m_s.any()
    assert device.read(1).keys == ()


def test_a_terminal_that_hangs_up_disengages(terminal):
    master, device = terminal
    twin = os.dup(master)
    os.close(master)
    os.close(twin)
    assert not device.read(0).engaged
    os.open("/dev/null", os.O_RDONLY)  # takes the number that the fixture closes


def test_without_a_terminal_it_says_so(tmp_path):
    with (tmp_path / "file").open("w") as file, pytest.raises(DeviceError, match="no terminal"):
        Keyboard(file.fileno()).open()
