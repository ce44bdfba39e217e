"""What a device may need to be made, and the factories of those that ship."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..robot.errors import UsageError
from ..robot.rig import Rig
from .jog import Jog, JogDevice

if TYPE_CHECKING:
    from .page import PageProcess


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device will be used."""

    rig: Rig
    choice: str = ""  # what stood behind the name, as in "gamepad:1"
    page: PageProcess | None = None  # the operator's page, where one is open
    script: Callable[[int], Jog] | None = None  # time ns -> what a scripted hand asks for then


def keyboard(place: Place) -> JogDevice:
    from .keyboard import Keyboard

    _plain("keyboard", place)
    return Keyboard()


def gamepad(place: Place) -> JogDevice:
    """`gamepad:1` is the second one."""
    from .gamepad import Gamepad

    if place.choice and not place.choice.isdecimal():
        raise UsageError(
            f"--device gamepad:{place.choice}: behind the colon stands its number, from 0; as in gamepad:1"
        )
    return Gamepad(int(place.choice or 0))


def spacemouse(place: Place) -> JogDevice:
    from .spacemouse import SpaceMouse

    _plain("spacemouse", place)
    return SpaceMouse()


def web(place: Place) -> JogDevice:
    """The hand on the operator's page."""
    _plain("web", place)
    if place.page is None:
        raise UsageError("--device web: is the hand on the operator's page; give the `Place` an open one")
    return place.page


def remote(place: Place) -> JogDevice:
    """Whatever device `twinloop operate` has on another machine."""
    from .remote import Remote

    _plain("remote", place)
    if place.page is None:
        raise UsageError("--device remote: comes over the operator's page; give the `Place` an open one")
    return Remote(place.page)


def scripted(place: Place) -> JogDevice:
    from .scripted import Scripted

    _plain("scripted", place)
    if place.script is None:
        raise UsageError("--device scripted: sees where things truly are, as only the twin knows; add --sim")
    return Scripted(place.script)


def _plain(name: str, place: Place) -> None:
    if place.choice:
        raise UsageError(f"--device {name}:{place.choice}: there is one only; write --device {name}")
