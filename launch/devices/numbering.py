"""Ids and baud rate of new servos: one at a time on the bus, found wherever it is, set, and asked again."""

from __future__ import annotations

from ...robot.arms.servo_line import ServoLine
from ...robot.errors import DeviceError
from ..progress import say
from .arm_checks import shown
from .dialogue import Dialogue
from .search import ALL_NS, Found, OpenBus, heard, opened, search


def number_servos(
    name: str, line: ServoLine, open_bus: OpenBus, dialogue: Dialogue, wait_ns: int = ALL_NS
) -> list[int]:
    """Guide through all servos of arm `name`, the last joint first; returns the ids that are right now.

    Nothing is written while more than one servo answers, at whatever rate.
    """
    done: list[int] = []
    say(f"numbering the {len(line.joints)} servos of {name}; unplug all of them from the bus board first")
    for id, joint in reversed(list(line.joints.items())):
        while True:
            answer = dialogue.choose(
                f"\nconnect the servo of '{joint}' alone, its power on; it becomes id {id} at {line.baud} baud",
                {"go": "it is connected", "s": "skip this one", "q": "end here"},
                "go",
            )
            if answer == "q":
                return done
            if answer == "s":
                break
            try:
                one = the_only_one(line, open_bus, wait_ns)
                say(number(one, id, line, open_bus))
            except DeviceError as error:
                say(f"nothing done: {error}")
                if dialogue.yes:
                    raise
                continue
            done.append(id)
            break
    return done


def the_only_one(line: ServoLine, open_bus: OpenBus, wait_ns: int = ALL_NS) -> Found:
    """The servo on the bus. Raises `DeviceError` when there is none, or more than one at any id and baud rate."""
    say(f"looking for it at {', '.join(map(str, line.kind.bauds))} baud")
    found = search(open_bus, line.kind, wait_ns=wait_ns)
    if not found:
        raise DeviceError(
            "no servo answers, at any baud rate; is its power on, and the cable in the right way?"
        )
    if len(found) > 1 or found[0].answers > 1:
        listed = ", ".join(
            f"id {one.id} at {one.baud} baud{' (several)' if one.answers > 1 else ''}" for one in found
        )
        raise DeviceError(f"more than one servo answers: {listed}; connect one alone")
    return found[0]


def number(one: Found, id: int, line: ServoLine, open_bus: OpenBus) -> str:
    """Give it `id` and the line's baud rate, and ask it there; returns what was done.

    Raises `DeviceError` for another kind of servo, one whose torque is on, and when it does not answer afterwards.
    """
    with opened(open_bus, one.baud) as bus:
        seen = line.kind.health(bus, one.id)
        if seen.model != line.servos[id]:
            raise DeviceError(f"this is a {shown(seen.model)}; {shown(line.servos[id])} is needed")
        if (one.id, one.baud) == (id, line.baud):
            return f"it is id {id} at {line.baud} baud already"
        line.kind.renumber(bus, one.id, id, line.baud)
    with opened(open_bus, line.baud) as bus:
        if heard(bus, id) != 1:
            raise DeviceError(
                f"it was id {one.id} at {one.baud} baud and does not answer as id {id} at {line.baud}; "
                "switch its power off and on, and look again"
            )
        line.kind.settle(bus, id)
        seen = line.kind.health(bus, id)
    what = f"{shown(seen.model)} firmware {seen.firmware}"
    return f"id {one.id} at {one.baud} baud is now id {id} at {line.baud} ({what})"
