"""The gamepad on a virtual pad of the SDL that pygame brings: real events, no hardware, no uinput."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from twinloop.robot.errors import DeviceError
from twinloop.teleop import gamepad
from twinloop.teleop.controls import CONTROLS
from twinloop.teleop.gamepad import Gamepad

pygame = pytest.importorskip("pygame")


class VirtualPad:
    """A pad in SDL whose sticks and buttons are set from here."""

    def __init__(self):
        library = next(Path(pygame.__file__).parents[1].joinpath("pygame.libs").glob("libSDL2-2*"))
        self.sdl = ctypes.CDLL(str(library))
        self.sdl.SDL_JoystickFromInstanceID.restype = ctypes.c_void_p
        self.sdl.SDL_JoystickGetDeviceInstanceID.restype = ctypes.c_int
        self.index = self.sdl.SDL_JoystickAttachVirtual(1, 6, 16, 0)
        self.instance = self.sdl.SDL_JoystickGetDeviceInstanceID(self.index)

    @property
    def handle(self):
        return ctypes.c_void_p(self.sdl.SDL_JoystickFromInstanceID(self.instance))

    def axis(self, axis, share):
        self.sdl.SDL_JoystickSetVirtualAxis(self.handle, axis, ctypes.c_int16(round(32767 * share)))

    def button(self, button, down=True):
        self.sdl.SDL_JoystickSetVirtualButton(self.handle, button, int(down))

    def detach(self):
        self.sdl.SDL_JoystickDetachVirtual(self.index)


@pytest.fixture
def pad(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
    pygame.display.init()
    pygame.joystick.init()
    virtual, device = VirtualPad(), Gamepad()
    device.open()
    yield virtual, device
    device.close()
    virtual.detach()


def test_only_the_held_shoulder_button_moves(pad):
    virtual, device = pad
    virtual.axis(gamepad.LEFT_Y, -1.0)
    assert not device.read(0).engaged
    virtual.button(gamepad.RIGHT_SHOULDER)
    jog = device.read(1)
    assert jog.engaged and np.allclose(jog.linear_m_s, [gamepad.SPEED_M_S, 0, 0])


def test_a_worn_stick_at_rest_moves_nothing(pad):
    virtual, device = pad
    virtual.button(gamepad.RIGHT_SHOULDER)
    virtual.axis(gamepad.LEFT_X, 0.1)
    assert not device.read(0).linear_m_s.any()


def test_buttons_are_controls_once_a_press(pad):
    virtual, device = pad
    virtual.button(gamepad.A)
    assert device.read(0).keys == ("success",)
    assert device.read(1).keys == ()
    virtual.button(gamepad.A, False)
    device.read(2)
    virtual.button(gamepad.A)
    assert device.read(3).keys == ("success",)


def test_quitting_takes_two_hands_and_every_control_has_a_button(pad):
    virtual, device = pad
    virtual.button(gamepad.BACK)
    assert device.read(0).keys == ("pause",)
    virtual.button(gamepad.BACK, False)
    virtual.button(gamepad.LEFT_SHOULDER)
    device.read(1)
    virtual.button(gamepad.BACK)
    assert device.read(2).keys == ("quit",)
    assert {*gamepad.CONTROLS.values(), "quit"} == set(CONTROLS)


def test_the_jaw_opens_with_the_left_shoulder_held(pad):
    virtual, device = pad
    for button in (gamepad.RIGHT_SHOULDER, gamepad.LEFT_SHOULDER):
        virtual.button(button)
    virtual.axis(gamepad.RIGHT_Y, -1.0)
    jog = device.read(0)
    assert jog.grip_m_s > 0 and not jog.angular_rad_s.any()


def test_a_pad_that_is_gone_disengages(pad):
    virtual, device = pad
    virtual.button(gamepad.RIGHT_SHOULDER)
    assert device.read(0).engaged
    virtual.detach()
    assert not device.read(1).engaged


def test_it_rumbles_when_the_guard_begins_to_clamp(pad):
    _, device = pad
    felt = []

    class Pad:
        def rumble(self, low, high, ms):
            felt.append(ms)

        def quit(self): ...

    real, device._pad = device._pad, Pad()
    for clamped in (False, True, True, False, True):
        device.feel(clamped)
    device._pad = real
    assert len(felt) == 2


def test_no_pad_is_said_with_the_way_out(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with pytest.raises(DeviceError, match="is it plugged in"):
        Gamepad(7).open()
