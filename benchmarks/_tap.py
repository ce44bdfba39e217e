"""Emulated arms with a witness on the line: what was on the wire when, whoever the host is; and a scripted hand.

The witness is in the emulator's process and knows nothing of the host's code: it notes when a request came in, when the
last byte of its answers left, and the position or goal of one joint in it. Times are of the monotonic clock, ns.
"""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from twinloop.robot.clock import RealClock
from twinloop.robot.models import load_model
from twinloop.robot.rig import Rig
from twinloop.sim.emulate.line import BITS, Line
from twinloop.sim.emulate.rig import EmulatedRig
from twinloop.sim.scene import prefix

SERVO = 1  # the led joint's id: the first one, which turns about the vertical
GOAL, POSITION = 42, 56  # registers of an STS3215
SYNC_READ, SYNC_WRITE = 0x82, 0x83
SLICE_NS = 1_000_000
COUNT_RAD = 2.0 * np.pi / 4096
STEP_S = (0.5, 0.8)  # a hand's steps: the time from one to the next


@dataclass(frozen=True, slots=True)
class Motion:
    """What the hand does with the led joint: to and fro, then steps between the two ends; the others it holds."""

    pose: Mapping[str, float]  # rad
    begin_ns: int
    sway_s: float
    steps_s: float
    sway_rad: float = 0.25
    sway_rad_s: float = 2.5  # of the phase
    step_rad: float = 0.12

    def steps_ns(self) -> np.ndarray:
        """Times of the steps; no loop runs in step with them."""
        gaps = np.random.default_rng(0).uniform(*STEP_S, 1000)
        times = self.sway_s + 0.5 + np.cumsum(gaps)
        return self.begin_ns + (times[times < self.sway_s + self.steps_s] * 1e9).astype(np.int64)

    def at(self, now_ns: int, steps_ns: np.ndarray) -> float:
        """How far the led joint is to be from the pose, rad."""
        t = (now_ns - self.begin_ns) * 1e-9
        if 0.0 < t < self.sway_s:
            return self.sway_rad * float(np.sin(self.sway_rad_s * t))
        return self.step_rad * (int(np.searchsorted(steps_ns, now_ns)) % 2)


@dataclass(slots=True)
class Seen:
    """What was on one line; rows of the led joint, counts as the servo has them."""

    reads: list[tuple[int, int, int]] = field(
        default_factory=list
    )  # asked, last byte of the answers, position
    writes: list[tuple[int, int, int]] = field(default_factory=list)  # came in, bytes, goal
    moved: list[tuple[int, int]] = field(default_factory=list)  # since when the joint stands at this count


class Witness(Line):
    """In the place of `line`; implements what a `Terminal` asks of it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.faults = line.faults
        self.seen = Seen()

    def receive(self, data: bytes, now_ns: int, baud: int | None = None) -> list[tuple[int, bytes]]:
        out = self._line.receive(data, now_ns, baud)
        start = data.find(b"\xff\xff\xfe")
        while start >= 0 and len(data) >= start + 8:
            size, kind, address, width = data[start + 3], *data[start + 4 : start + 7]
            body = data[start + 7 : start + 3 + size]
            if kind == SYNC_READ and address <= POSITION < address + width and out:
                at = POSITION - address + 5
                answers = [reply for _, reply in out if len(reply) > at + 1 and reply[2] == SERVO]
                if answers:
                    self.seen.reads.append((now_ns, out[-1][0], _word(answers[0], at)))
            elif kind == SYNC_WRITE and address <= GOAL < address + width:
                for k in range(0, len(body), width + 1):
                    if body[k] == SERVO:
                        self.seen.writes.append((now_ns, size + 4, _word(body, k + 1 + GOAL - address)))
            start = data.find(b"\xff\xff\xfe", start + 4 + size)
        return out


class TappedArm:
    """`rig`, of one arm, emulated in a process of its own; `path` is its port while it is open."""

    def __init__(self, rig: Rig) -> None:
        context = mp.get_context("spawn")
        self.path = ""
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(rig, theirs), daemon=True)

    def start(self) -> None:
        """Begin to come up; `__enter__` waits for it."""
        self._process.start()

    def __enter__(self) -> TappedArm:
        self.path = self._orders.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.close()
        self._process.join()

    def move(self, motion: Motion | None) -> None:
        """A hand takes the arm; None lets go of it. Does not wait."""
        self._orders.send(motion)

    def seen(self) -> Seen:
        """What was on the line since the last call."""
        self._orders.send("seen")
        return self._orders.recv()


def wire_ms(size: int, baud: int = 1_000_000) -> float:
    return 1e3 * size * BITS / baud


def pose_of(model: str) -> dict[str, float]:
    """The home pose, rad; the jaw a little open."""
    arm = load_model(model)
    pose = dict(zip(arm.joints, map(float, arm.home_q_rad), strict=True))
    if arm.gripper_joint is not None:
        pose[arm.gripper_joint] = float(arm.width_to_angle(0.3 * arm.gripper_width_max_m))
    return pose


def _word(data: bytes, at: int) -> int:
    value = int.from_bytes(data[at : at + 2], "little")
    return -(value & 0x7FFF) if value & 0x8000 else value


def _serve(rig: Rig, orders: Connection) -> None:
    clock = RealClock()
    emulated = EmulatedRig(rig, clock)
    emulated.open()
    (arm,) = rig.arms
    terminal, servo = emulated.terminals[arm], emulated.servo(arm, SERVO)
    witness = terminal.line = Witness(terminal.line)
    led = load_model(rig.arms[arm].model).joints[0]
    orders.send(terminal.path)
    motion: Motion | None = None
    steps = np.zeros(0)
    parent, stands = os.getppid(), -1
    while os.getppid() == parent:
        now = clock.now()
        if motion is not None:
            pull = dict(motion.pose)
            pull[led] += motion.at(now, steps)
            emulated.hand.take({prefix(arm) + joint: q for joint, q in pull.items()})
        emulated.serve(now + SLICE_NS)
        position = _word(servo.read(POSITION, 2), 0)
        if position != stands:
            stands = position
            witness.seen.moved.append((clock.now(), position))
        if not orders.poll():
            continue
        try:
            order: Any = orders.recv()
        except EOFError:
            break
        if order == "seen":
            orders.send(witness.seen)
            witness.seen = Seen()
            continue
        motion = order
        if motion is None:
            emulated.hand.take({})
        else:
            steps = motion.steps_ns()
    emulated.close()
