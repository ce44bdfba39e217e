"""The fault switches of an emulated rig, as words: what `twinloop emulate` reads and `twinloop fault` is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..robot.errors import UsageError, nearest
from ..robot.rig import Rig

PUSH_MAX = 5.0  # N·m, as strong as a hand
SHARES = ("lost", "damaged", "truncated", "doubled", "garbage")
CAMERAS: Mapping[str, str] = {"freeze": "frozen", "slow": "slow", "gone": "gone"}
NOBODY: dict[str, Any] = {"silent": False, "dead": frozenset(), **dict.fromkeys(SHARES, 0.0)}
SWITCHES: Mapping[str, str] = {
    "silent": "no servo answers",
    "dead ID ...": "these servos do not",
    **{f"{name} SHARE": text for name, text in zip(
        SHARES,
        ("answers are lost", "have a wrong bit", "are cut short", "come twice", "come behind noise"),
        strict=True,
    )},
    "hot ID CELSIUS": "that servo is that hot",
    "overload ID": "its firmware finds an overload",
    "push ID NM": "its joint is pushed by hand (0 ends)",
    "unplug, plug": "the arm's cable",
    "freeze, slow, gone CAMERA": "one picture for ever, one in ten, none",
    "ok [ARM or CAMERA]": "no faults any more",
}  # fmt: skip
ALONE = ("silent", "unplug", "plug")
KNOWN = ("silent", "dead", *SHARES, "hot", "overload", "push", "unplug", "plug", *CAMERAS, "ok")


class Switchable(Protocol):
    """An emulator: one of this process, or one that runs elsewhere."""

    @property
    def rig(self) -> Rig: ...

    def ids(self, arm: str) -> tuple[int, ...]: ...
    def faults(self, arm: str, **faults: Any) -> None: ...
    def heat(self, arm: str, id: int, temperature_c: float | None) -> None: ...
    def overload(self, arm: str, id: int) -> None: ...
    def push(self, arm: str, id: int, torque_n_m: float) -> None: ...
    def unplug(self, arm: str) -> None: ...
    def plug(self, arm: str) -> None: ...
    def camera_fault(self, camera: str, fault: str) -> None: ...


def table() -> str:
    """All switches, a line each."""
    width = max(map(len, SWITCHES)) + 2
    lines = [f"  {name:<{width}}{text}" for name, text in SWITCHES.items()]
    return "\n".join(
        [*lines, "  SHARE is of the answers, 0..1; with several arms the arm's name comes first"]
    )


def switch(emulator: Switchable, words: Sequence[str], cameras: bool = True) -> str:
    """Carry out one line; returns what is so now. Without `cameras` there are none to switch.

    Raises `UsageError` for what it does not know."""
    rig = emulator.rig
    arm = next(iter(rig.arms))
    if words and words[0] in rig.arms:
        arm, *words = words
        everything = False
    else:
        everything = True
    name, *values = words or ["ok"]
    if name not in KNOWN:
        raise UsageError(f"unknown fault '{name}'{nearest(name, KNOWN)}")
    if name in CAMERAS:
        return _camera(emulator, name, values, cameras)
    if name == "ok":
        return _well(emulator, arm, values, everything, cameras)
    if name in ALONE and values:
        raise UsageError(f"{name}: takes no value; '{' '.join(values)}' is left over")
    if name == "unplug":
        emulator.unplug(arm)
    elif name == "plug":
        emulator.plug(arm)
    elif name == "hot":
        id, degrees = _servo(name, values, "hot 3 66 (servo 3 has 66 degrees)", 150.0)
        emulator.heat(arm, id, degrees)
    elif name == "overload":
        emulator.overload(arm, _servo(name, [*values, "0"], "overload 3", 0.0)[0])
    elif name == "push":
        emulator.push(arm, *_servo(name, values, f"push 1 0.5 (at most {PUSH_MAX:g} N·m)", PUSH_MAX))
    elif name == "silent":
        emulator.faults(arm, silent=True)
    elif name == "dead":
        emulator.faults(arm, dead=frozenset(_ids(values, emulator.ids(arm))))
    else:
        emulator.faults(arm, **{name: _share(name, values)})
    return f"{arm}: {' '.join([name, *values])}"


def _camera(emulator: Switchable, name: str, values: Sequence[str], cameras: bool) -> str:
    known = list(emulator.rig.cameras) if cameras else []
    if not known:
        raise UsageError(f"{name}: no camera is emulated here; start it with a task, as --task pick_place")
    if len(values) != 1 or values[0] not in known:
        raise UsageError(f"{name}: which camera?{nearest(' '.join(values), known)}")
    emulator.camera_fault(values[0], CAMERAS[name])
    return f"{values[0]}: {name}"


def _well(emulator: Switchable, arm: str, values: Sequence[str], everything: bool, cameras: bool) -> str:
    """End the faults of one arm, of one camera, or of all."""
    rig = emulator.rig
    if len(values) > 1 or (values and values[0] not in (*rig.arms, *rig.cameras)):
        raise UsageError(
            f"ok: nothing is called '{' '.join(values)}'{nearest(values[0], (*rig.arms, *rig.cameras))}"
        )
    chosen = values or (list((*rig.arms, *rig.cameras)) if everything else [arm])
    for name in chosen:
        if name in rig.arms:
            emulator.faults(name, **NOBODY)
            emulator.plug(name)
            for id in emulator.ids(name):
                emulator.heat(name, id, None)
                emulator.push(name, id, 0.0)
        elif cameras:
            emulator.camera_fault(name, "")
    return f"{values[0] if values else arm}: ok"


def _servo(name: str, values: Sequence[str], example: str, most: float) -> tuple[int, float]:
    try:
        id, value = int(values[0]), float(values[1])
    except (ValueError, IndexError):
        id, value = 0, math.nan
    if len(values) != 2 or not abs(value) <= most:
        raise UsageError(f"{name}: for example: {example}")
    return id, value


def _ids(values: Sequence[str], known: Sequence[int]) -> list[int]:
    texts = [str(id) for id in known]
    if not values or any(value not in texts for value in values):
        raise UsageError(f"dead: which servos? there are {', '.join(texts)}; for example: dead {texts[0]}")
    return [int(value) for value in values]


def _share(name: str, values: Sequence[str]) -> float:
    try:
        (value,) = (float(each) for each in values)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{name}: give a share of the answers from 0 to 1, for example: {name} 0.01")
    return value
