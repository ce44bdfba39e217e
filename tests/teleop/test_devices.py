"""Devices by name, plug-ins' included, and how a session holds them."""

import os
import pty
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from twinloop import teleop
from twinloop.robot.errors import UsageError
from twinloop.robot.rig import load_rig
from twinloop.teleop import device_names, make_device
from twinloop.teleop.hand import Hand
from twinloop.teleop.jog import Jog
from twinloop.teleop.keyboard import Keyboard
from twinloop.teleop.place import Place
from twinloop.teleop.scripted import Scripted

RIG = load_rig("so101")


class Wall:
    t = 5

    def now(self):
        return self.t

    def sleep_until(self, deadline_ns): ...


def test_a_plugin_adds_a_device_with_one_entry_point(monkeypatch):
    module = type(sys)("pedals")
    module.make = lambda place: Scripted(lambda t: Jog(grip_m_s=float(place.choice)))
    monkeypatch.setitem(sys.modules, "pedals", module)
    point = EntryPoint("pedals", "pedals:make", teleop.GROUP)
    monkeypatch.setattr(teleop, "entry_points", lambda group: [point] if group == teleop.GROUP else [])
    assert "pedals" in device_names()
    assert make_device("pedals", Place(RIG, choice="0.5")).read(0).grip_m_s == 0.5


def test_unknown_names_are_told_the_valid_ones():
    with pytest.raises(UsageError, match="did you mean 'gamepad'.*valid: .*keyboard.*web"):
        make_device("gampad", Place(RIG))


@pytest.mark.parametrize("name", ["keyboard", "gamepad", "spacemouse"])
def test_making_a_device_opens_nothing(name):
    assert make_device(name, Place(RIG)).name == name


def test_keys_come_through_once_whoever_looks_first():
    jogs = iter([Jog(grip_m_s=0.1, keys=("start",)), Jog(grip_m_s=0.2), Jog(keys=("success",)), Jog()])
    asked = []

    def script(now_ns):
        asked.append(now_ns)
        return next(jogs)

    hand = Hand(Scripted(script), Wall())
    assert hand.read(1).grip_m_s == 0.1 and hand.pressed(1) == ("start",) and hand.pressed(2) == ()
    assert hand.read(2).grip_m_s == 0.2 and hand.pressed(3) == ("success",) and hand.pressed() == ()
    assert asked == [5, 5, 5, 5], "once a step, on its own clock"


def test_a_muted_hand_moves_nothing_and_keeps_its_keys():
    hand = Hand(Scripted(lambda t: Jog(linear_m_s=np.ones(3), keys=("quit",))), Wall())
    hand.muted = True
    assert not hand.read(1).engaged and hand.pressed(1) == ("quit",)


def test_a_text_is_typed_and_nothing_moves_meanwhile():
    master, slave = pty.openpty()
    keyboard = Keyboard(slave)
    keyboard.open()
    try:
        keyboard.ask()
        os.write(master, b"w Yes\x7f")
        jog = keyboard.read(0)
        assert jog.keys == () and not jog.linear_m_s.any() and keyboard.line == "w Ye"
        assert keyboard.answer() is None
        os.write(master, b"ah \n y")
        assert keyboard.read(1).keys == ("estop", "success"), "what comes after the line are keys again"
        assert keyboard.answer() == "w Yeah" and keyboard.answer() is None and keyboard.line is None
    finally:
        keyboard.close()
        os.close(master)
        os.close(slave)
