"""What the guard's process tells after every tick, as bytes: whole numbers, then float64, then texts."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

import numpy as np

from ..guard.limits import LIMIT_NAMES
from ..guard.modes import MODES
from ..rig import Rig
from ..types import F64, ArmState, GripperState, frozen

STATUS = 1  # kind of its messages
_COUNTS = struct.Struct("<II")  # whole numbers, floats
FIXED = 11  # whole numbers before the limits'


@dataclass(frozen=True, slots=True)
class Status:
    """One tick of the guard."""

    t_ns: int  # of the tick
    mode: str
    reason: str
    parked: bool
    is_open: bool
    source: str  # of the chunk that is followed
    asked: F64  # (M,) as the guard's layout has it: arms first, then grippers; rad, m
    sent: F64  # (M,)
    arms: dict[str, ArmState]
    grippers: dict[str, GripperState]
    limits: dict[str, int]  # limit -> ticks in which it acted, since the process started
    answered: int = -1  # position of the last order that asked for an answer
    answer: str = ""  # what was wrong with it, "" = nothing
    epoch: int = 0  # how often the guard was started anew
    ticks: int = 0
    missed: int = 0  # periods in which there was no tick, because one was late
    late_ns: int = 0  # of this tick
    latest_ns: int = 0  # the largest so far


@dataclass(frozen=True, slots=True)
class StatusCodec:
    """Packs and unpacks the status of a rig's guard; both sides know the rig."""

    rig: Rig

    def pack(self, status: Status) -> bytes:
        """The bytes of `status`."""
        whole = [
            status.t_ns,
            MODES.index(status.mode),
            status.parked,
            status.is_open,
            status.answered,
            status.epoch,
            status.ticks,
            status.missed,
            status.late_ns,
            status.latest_ns,
            sum(1 << k for k, name in enumerate((*self.rig.arms, *self.rig.grippers)) if _has(status, name)),
            *(status.limits.get(name, 0) for name in LIMIT_NAMES),
        ]
        parts: list[F64] = [status.asked, status.sent]
        for name in self.rig.arms:
            state = status.arms.get(name)
            whole.append(0 if state is None else state.t_ns)
            if state is not None:
                parts += [state.q, state.dq, state.tau, state.temperature_c, state.voltage_v]
        for name in self.rig.grippers:
            grip = status.grippers.get(name)
            whole.append(0 if grip is None else grip.t_ns)
            if grip is not None:
                parts.append(np.array([grip.width_m, grip.force_n]))
        numbers = np.concatenate(parts)
        faults = {name: state.faults for name, state in status.arms.items() if state.faults}
        texts = json.dumps([status.reason, status.source, status.answer, faults]).encode()
        return b"".join(
            [
                _COUNTS.pack(len(whole), numbers.size),
                np.array(whole, "<i8").tobytes(),
                numbers.tobytes(),
                texts,
            ]
        )

    def unpack(self, data: bytes) -> Status:
        """The status in the bytes of a message."""
        n_whole, n_floats = _COUNTS.unpack_from(data)
        whole = np.frombuffer(data, "<i8", n_whole, _COUNTS.size).tolist()
        at = _COUNTS.size + 8 * n_whole
        numbers = np.frombuffer(data, "<f8", n_floats, at)
        reason, source, answer, faults = json.loads(data[at + 8 * n_floats :])
        sizes = {name: self.rig.joint_spec(name).n for name in self.rig.arms}
        total = sum(sizes.values()) + len(self.rig.grippers)
        times = iter(whole[FIXED + len(LIMIT_NAMES) :])
        known, place = whole[10], 2 * total
        arms: dict[str, ArmState] = {}
        grippers: dict[str, GripperState] = {}
        for k, name in enumerate((*self.rig.arms, *self.rig.grippers)):
            t_ns = next(times)
            if not known >> k & 1:
                continue
            if name in sizes and k < len(sizes):
                n = sizes[name]
                columns = [frozen(numbers[place + c * n : place + (c + 1) * n]) for c in range(5)]
                arms[name] = ArmState(t_ns, *columns, faults=tuple(faults.get(name, ())))
                place += 5 * n
            else:
                grippers[name] = GripperState(t_ns, float(numbers[place]), float(numbers[place + 1]))
                place += 2
        return Status(
            t_ns=whole[0],
            mode=MODES[whole[1]],
            reason=reason,
            parked=bool(whole[2]),
            is_open=bool(whole[3]),
            source=source,
            asked=numbers[:total],
            sent=numbers[total : 2 * total],
            arms=arms,
            grippers=grippers,
            limits={name: n for name, n in zip(LIMIT_NAMES, whole[FIXED:], strict=False) if n},
            answered=whole[4],
            answer=answer,
            epoch=whole[5],
            ticks=whole[6],
            missed=whole[7],
            late_ns=whole[8],
            latest_ns=whole[9],
        )


def _has(status: Status, name: str) -> bool:
    return name in status.arms or name in status.grippers
