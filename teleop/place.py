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
    arm: str | None = None  # of the rig, that the device moves; None: its first
    led: Callable[[Rig], JogDevice] | None = None  # makes a leader that is not real, of this rig
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


def leader(place: Place) -> JogDevice:
    """`leader:RIG` is that rig; by default the one of the arm's model, as so101_leader."""
    from ..robot.clock import RealClock
    from ..robot.machine import load_local_rig
    from ..robot.process import GuardProcess
    from .leader import Leader, check_leader, leader_ports

    arm = next(iter(place.rig.arms)) if place.arm is None else place.arm
    rig = load_local_rig(place.choice or f"{place.rig.arms[arm].model}_leader").rig
    check_leader(rig, place.rig, arm)
    if place.led is not None:
        return place.led(rig)
    clock = RealClock()
    return Leader(rig, GuardProcess(rig, leader_ports(rig), clock), clock)


def scripted(place: Place) -> JogDevice:
    """`scripted:leader` leads a leader of the twin, instead of a device of Cartesian velocities."""
    from dataclasses import replace

    from .scripted import Scripted

    if place.choice == "leader" and place.led is not None:
        return leader(replace(place, choice=""))
    _plain("scripted", place)
    if place.script is None:
        raise UsageError("--device scripted: sees where things truly are, as only the twin knows; add --sim")
    return Scripted(place.script)


def _plain(name: str, place: Place) -> None:
    if place.choice:
        raise UsageError(f"--device {name}:{place.choice}: there is one only; write --device {name}")
