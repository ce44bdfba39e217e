"""A joint's motor: its servos, how their encoders lie in the joint, and what they report there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .family import Feedback

TURN = 2.0 * math.pi  # rad


@dataclass(frozen=True, slots=True)
class Motor:
    """A joint's servo (or two, on one shaft) and how its encoder lies in the joint."""

    name: str
    ids: tuple[int, ...]  # the first one's encoder is the joint's; the others turn with it
    zero_rad: float  # joint angle (m for a prismatic one) in the middle of the encoder's range
    sign: int = 1  # -1: the encoder counts against the joint
    mirrored: tuple[bool, ...] = (False,)  # by id: mounted the other way round
    servo: str = "sts3215"  # kind
    registers: Mapping[str, int] = field(default_factory=dict)  # what its servos are set to, by register


@dataclass(frozen=True, slots=True)
class Reading:
    """One motor's last answer, in the joint's direction."""

    t_ns: int
    q: float  # rad
    dq: float  # rad/s
    tau: float  # N·m, all its servos together
    temperature_c: float
    voltage_v: float
    faults: tuple[str, ...]


def in_joint(motor: Motor, seen: Sequence[Feedback], t_ns: int, ahead_rad: float) -> Reading:
    """What the servos of `motor` report, whose encoder stands `ahead_rad`, whole turns, ahead of the joint."""
    signs = [motor.sign * (-1 if mirrored else 1) for mirrored in motor.mirrored]
    torques = [sign * each.torque_n_m for sign, each in zip(signs, seen, strict=True)]
    first = seen[0]
    return Reading(
        t_ns,
        motor.zero_rad + signs[0] * first.turns * TURN - ahead_rad,
        signs[0] * first.turns_s * TURN,
        sum(torques),
        max(each.temperature_c for each in seen),
        min(each.voltage_v for each in seen),
        tuple(
            fault if len(seen) == 1 else f"servo {id}: {fault}"
            for id, each in zip(motor.ids, seen, strict=True)
            for fault in each.faults
        ),
    )
