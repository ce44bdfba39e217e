"""A gamepad as a Cartesian device, through SDL (pygame): sticks move the hand, a shoulder button is the dead-man."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..robot.errors import DeviceError
from ..robot.types import F64
from .jog import Jog

DEADZONE = 0.12  # of a stick's travel: worn sticks do not rest at 0
SPEED_M_S, SPEED_RAD_S, SPEED_GRIP_M_S = 0.18, 1.2, 0.12
RUMBLE_MS = 120
# SDL's game controller layout, which maps every known pad to that of an Xbox (SDL2, SDL_gamecontroller.h).
LEFT_X, LEFT_Y, RIGHT_X, RIGHT_Y, LEFT_TRIGGER, RIGHT_TRIGGER = range(6)
A, B, X, Y, BACK, GUIDE, START, LEFT_STICK, RIGHT_STICK, LEFT_SHOULDER, RIGHT_SHOULDER = range(11)
UP, DOWN, LEFT, RIGHT = range(11, 15)
CONTROLS = {
    START: "start",
    A: "success",
    B: "failure",
    X: "rerecord",
    Y: "takeover",
    BACK: "pause",
    GUIDE: "estop",
    DOWN: "discard",
    UP: "note",
    LEFT_STICK: "rearm",
}
HELP = (
    "hold RB to move: left stick forward and sideways, triggers down and up, right stick yaw and pitch, d-pad left and "
    "right roll, LB held: right stick opens and closes the jaw; Start start, A success, B failure, X re-record, "
    "Y take over, Back pause, LB and Back quit, Guide e-stop, left stick pressed: re-arm, "
    "d-pad down: discard last, up: note"
)


class Gamepad:
    """Implements `JogDevice` on pad number `index` of those that SDL knows."""

    name = "gamepad"

    def __init__(self, index: int = 0) -> None:
        self._index = index
        self._sdl: Any = None
        self._pad: Any = None
        self._held: set[int] = set()
        self._clamped = False

    def open(self) -> None:
        """Raises `DeviceError` without pygame, or without a pad."""
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window of its own
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
            from pygame._sdl2 import controller
        except ImportError:
            raise DeviceError("gamepad: pygame is not installed; pip install 'twinloop[gamepad]'") from None
        pygame.display.init()
        controller.init()
        pygame.event.pump()
        found = [k for k in range(controller.get_count()) if controller.is_controller(k)]
        if self._index >= len(found):
            controller.quit()
            raise DeviceError(
                f"gamepad: number {self._index} is not there, {len(found)} found; is it plugged in or paired, and may "
                "you read /dev/input/event* (group input)?"
            )
        self._sdl = pygame
        self._pad = controller.Controller(found[self._index])
        self._held = set()

    def read(self, now_ns: int) -> Jog:
        if self._pad is None:
            raise DeviceError("gamepad: not open")
        self._sdl.event.pump()
        if not self._pad.attached():
            return Jog(engaged=False)
        axes = np.array([self._pad.get_axis(axis) / 32767.0 for axis in range(6)])
        held = {button for button in range(15) if self._pad.get_button(button)}
        pressed, self._held = held - self._held, held
        stick = _live(axes[:4])
        lift = float(axes[RIGHT_TRIGGER] - axes[LEFT_TRIGGER])
        gripping = LEFT_SHOULDER in held
        roll = float(RIGHT in held) - float(LEFT in held)
        turn = np.zeros(3) if gripping else np.array([0.0, stick[RIGHT_Y], -stick[RIGHT_X]])
        turn[0] = roll
        keys = tuple(CONTROLS[button] for button in sorted(pressed) if button in CONTROLS)
        if gripping:  # two hands for what cannot be taken back
            keys = tuple("quit" if key == "pause" else key for key in keys)
        return Jog(
            engaged=RIGHT_SHOULDER in held,
            linear_m_s=SPEED_M_S * np.array([-stick[LEFT_Y], -stick[LEFT_X], lift]),
            angular_rad_s=SPEED_RAD_S * turn,
            grip_m_s=-SPEED_GRIP_M_S * float(stick[RIGHT_Y]) if gripping else 0.0,
            keys=keys,
        )

    def feel(self, clamped: bool) -> None:
        """Rumble when the guard begins to hold the motion back."""
        if clamped and not self._clamped and self._pad is not None:
            self._pad.rumble(0.6, 0.3, RUMBLE_MS)
        self._clamped = clamped

    def close(self) -> None:
        pad, self._pad = self._pad, None
        if pad is not None:
            pad.quit()


def _live(axes: F64) -> F64:
    """Axes with nothing in the dead zone and all of -1..1 outside it."""
    beyond = np.maximum(np.abs(axes) - DEADZONE, 0.0) / (1.0 - DEADZONE)
    return np.sign(axes) * np.minimum(beyond, 1.0)
