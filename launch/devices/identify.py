"""Which of several ports is an arm's: the one that vanishes with its plug, or whose servos turn by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ...robot.arms.servo_line import ServoLine
from ...robot.buses import Bus
from ...robot.errors import DeviceError
from ...robot.interfaces import Clock
from ..progress import say

T = TypeVar("T")

LONGEST_S = 60.0  # of waiting for a person
LOOK_NS = 100_000_000
MOVED_TURNS = 0.02  # 7 degrees; a servo that stands reads the same within 2 counts of 4096
CLEARLY = 2.0  # times more than any other


def unplugged(
    what: str, listed: Callable[[], Sequence[str]], clock: Clock, longest_s: float = LONGEST_S
) -> str | None:
    """Ask for the plug of `what` to be pulled, and in again; the name that went away and came back.

    `listed()` are the names that are there now. None: nothing went, or several did.
    """
    before = set(listed())
    say(f"pull the plug of {what} now (the USB cable at this machine); {longest_s:.0f} s")
    gone = _until(lambda: before - set(listed()), clock, longest_s)
    if not gone:
        say("nothing was unplugged")
        return None
    clock.sleep_until(clock.now() + 3 * LOOK_NS)  # a hub takes several along
    gone = before - set(listed())
    if len(gone) != 1:
        say(
            f"{len(gone)} went away: {', '.join(sorted(gone)) or 'none any more'}; one plug at a time, please"
        )
        return None
    (name,) = gone
    say(f"{name} went away: that is {what}; plug it in again")
    left = set(listed())
    back = _until(lambda: set(listed()) - left, clock, longest_s)
    if not back:
        say(f"it did not come back within {longest_s:.0f} s; plug it in before you use it")
        return name
    if name in back:
        say("it is back")
        return name
    fresh = sorted(back)[0]
    say(f"it is back as {fresh}: it has no name that stays, so leave it in that socket")
    return fresh


def wiggled(
    what: str,
    buses: Mapping[str, Bus],
    line: ServoLine,
    clock: Clock,
    longest_s: float = LONGEST_S,
) -> str | None:
    """Ask for `what` to be moved by hand; the name in `buses` whose servos turned. Reads alone; torque stays as it is.

    None: none turned, or several did. The buses are opened and closed here.
    """
    watched: dict[str, Bus] = {}
    starts: dict[str, dict[int, float]] = {}
    try:
        for name, bus in buses.items():
            try:
                bus.open()
                watched[name] = bus
                starts[name] = _stand(name, bus, line)
            except DeviceError as error:
                say(f"left out: {error}")
        starts = {name: turns for name, turns in starts.items() if turns}
        if not starts:
            say("nothing to watch: is the arm's power on?")
            return None
        say(f"move a joint of {what} by hand, 20 degrees and more; its torque is off; {longest_s:.0f} s")
        moved: dict[str, float] = {}

        def look() -> bool:
            for name, start in starts.items():
                moved[name] = max(moved.get(name, 0.0), _way(watched[name], start, line))
            return max(moved.values()) > MOVED_TURNS

        if not _until(look, clock, longest_s):
            say("no servo turned")
            return None
        clock.sleep_until(clock.now() + 5 * LOOK_NS)
        look()
        first, *others = sorted(moved, key=lambda name: -moved[name])
        if others and moved[others[0]] * CLEARLY > moved[first]:
            say(f"{first} and {others[0]} both turned; move one arm alone")
            return None
        say(f"the servos at {first} turned: that is {what}")
        return first
    finally:
        for bus in watched.values():
            bus.close()


def _stand(name: str, bus: Bus, line: ServoLine) -> dict[int, float]:
    """Servo -> turns; empty, and said why, where nothing may or can be watched."""
    turns: dict[int, float] = {}
    for id in line.joints:
        if not bus.ping(id):
            continue
        health = line.kind.health(bus, id)
        if health.torque_on:
            say(
                f"left out: {name}: servo {id} has its torque on; hold the arm and switch its power off and on"
            )
            return {}
        turns[id] = health.turns
    if not turns:
        say(f"left out: {name}: no servo answers there")
    return turns


def _way(bus: Bus, start: Mapping[int, float], line: ServoLine) -> float:
    """The largest way of any servo since `start`, turns; encoders wrap."""
    ways = [0.0]
    for id, turns in start.items():
        try:
            ways.append(abs((line.kind.health(bus, id).turns - turns + 0.5) % 1.0 - 0.5))
        except DeviceError:
            continue  # a loose cable is what moving it by hand may cause
    return max(ways)


def _until(look: Callable[[], T], clock: Clock, longest_s: float) -> T:
    """The first true answer of `look`, or the last one when the time is over."""
    end = clock.now() + round(longest_s * 1e9)
    while not (answer := look()) and clock.now() < end:
        clock.sleep_until(clock.now() + LOOK_NS)
    return answer
