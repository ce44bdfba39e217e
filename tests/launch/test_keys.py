"""Single keys of a terminal."""

import os
import pty
import termios
import time

from twinloop.launch.keys import Keys


def test_keys_act_at_once_and_the_terminal_is_as_before():
    master, slave = pty.openpty()
    before, seen = termios.tcgetattr(slave), []
    with Keys({" ": lambda: seen.append("space"), "r": lambda: seen.append("r")}, slave) as keys:
        assert keys.active
        os.write(master, b"x r")
        end = time.monotonic() + 10
        while len(seen) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    assert seen == ["space", "r"] and termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_without_a_terminal_there_are_none():
    read, write = os.pipe()
    with Keys({}, read) as keys:
        assert not keys.active
    os.close(read)
    os.close(write)
