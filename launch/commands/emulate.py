"""`twinloop emulate`: a rig's arms as serial ports, with the twin behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...sim.emulate.process import EmulatorProcess

PUSH_MAX = 5.0  # N·m, as strong as a hand
SHARES = ("lost", "damaged", "truncated", "doubled", "garbage")
NOBODY: dict[str, Any] = {"silent": False, "dead": frozenset(), **dict.fromkeys(SHARES, 0.0)}
HELP = (
    "faults, a line each: silent, dead ID ..., " + ", ".join(f"{name} SHARE" for name in SHARES)
    + ", hot ID CELSIUS, overload ID, push ID NM (0 ends), unplug, plug, ok; with several arms the arm's name comes "
    "first"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Command:
    """Emulate the arms of a rig in real time: each is a serial port that answers as its servos do, until Ctrl-C.

    Any program that drives the real arm can open the port. Faults of the line are switched by typing them.

    Example:
        twinloop emulate --rig so101
        echo "dead 3" | twinloop emulate
    """

    rig: str = "so101"
    """Rig name or path of a rig file."""

    def run(self) -> int:
        import sys

        from ...robot.errors import UsageError
        from ...robot.rig import load_rig
        from ...sim.emulate.process import EmulatorProcess
        from ..progress import say

        with EmulatorProcess(load_rig(self.rig)) as emulator:
            for arm, path in emulator.paths.items():
                say(f"{arm}: {path}")
            say(HELP)
            for line in sys.stdin:
                try:
                    if line.strip():
                        say(switch(emulator, line.split()))
                except UsageError as error:
                    say(f"twinloop: {error}")
            emulator.join()  # nobody types: until Ctrl-C
        return 1


def switch(emulator: EmulatorProcess, words: list[str]) -> str:
    """Carry out one line that was typed; returns what is so now. Raises `UsageError` for what it does not know."""
    from ...robot.errors import UsageError, nearest

    arm = next(iter(emulator.paths))
    if words[0] in emulator.paths:
        arm, *words = words
    name, *values = words or ["ok"]
    known = ("silent", "dead", *SHARES, "hot", "overload", "push", "unplug", "plug", "ok")
    if name not in known:
        raise UsageError(f"unknown fault '{name}'{nearest(name, known)}")
    if name == "unplug":
        emulator.unplug(arm)
    elif name == "plug":
        emulator.plug(arm)
    elif name in ("hot", "overload"):
        (id, *degrees) = _servo(name, values)
        if name == "hot":
            emulator.heat(arm, id, float(degrees[0]))
        else:
            emulator.overload(arm, id)
    elif name == "push":
        emulator.push(arm, *_push(values))
    elif name == "ok":
        emulator.faults(arm, **NOBODY)
        for id in emulator.ids(arm):
            emulator.heat(arm, id, None)
            emulator.push(arm, id, 0.0)
    elif name == "silent":
        emulator.faults(arm, silent=True)
    elif name == "dead":
        emulator.faults(arm, dead=frozenset(_ids(values)))
    else:
        emulator.faults(arm, **{name: _share(name, values)})
    return f"{arm}: {' '.join([name, *values])}"


def _servo(name: str, values: list[str]) -> list[int]:
    from ...robot.errors import UsageError

    wanted = 2 if name == "hot" else 1
    if len(values) != wanted or not all(value.isdecimal() for value in values):
        raise UsageError(
            f"{name}: for example: {'hot 3 66 (servo 3 has 66 degrees)' if wanted == 2 else 'overload 3'}"
        )
    return [int(value) for value in values]


def _push(values: list[str]) -> tuple[int, float]:
    from ...robot.errors import UsageError

    try:
        id, torque_n_m = int(values[0]), float(values[1])
    except (ValueError, IndexError):
        id, torque_n_m = 0, math.nan
    if len(values) != 2 or not abs(torque_n_m) <= PUSH_MAX:
        raise UsageError(f"push: a servo and a torque of at most {PUSH_MAX:g} N·m, for example: push 1 0.5")
    return id, torque_n_m


def _ids(values: list[str]) -> list[int]:
    from ...robot.errors import UsageError

    if not values or not all(value.isdecimal() for value in values):
        raise UsageError("dead: which servos? for example: dead 3 4")
    return [int(value) for value in values]


def _share(name: str, values: list[str]) -> float:
    from ...robot.errors import UsageError

    try:
        (value,) = (float(each) for each in values)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{name}: give a share of the answers from 0 to 1, for example: {name} 0.01")
    return value
