"""Property test of the whole guard: 100,000 hostile, broken and fine commands, and no limit is exceeded.

The tolerances are those of docs/safety.md.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from guard_fakes import HOME, MS, Bench, assert_limits
from twinloop.robot.errors import GuardFault
from twinloop.robot.guard import LIMIT_NAMES, CollisionModel
from twinloop.robot.types import ActionChunk

COMMANDS = 25_000  # in each of the four runs
CLEARANCE = 1.0e-3  # m, tolerance of docs/safety.md on table, workspace and distances
BAD = ("names", "dtype", "shape", "nonfinite", "range", "times", "future", "expired")


def flip_bit(rng: np.random.Generator, value: float) -> float:
    bits = struct.unpack("<Q", struct.pack("<d", value))[0] ^ (1 << int(rng.integers(64)))
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


class Sender:
    """Makes commands of every kind, seeded."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench, self.rng = bench, np.random.default_rng(seed)
        spec = bench.arm.spec
        self.low, self.high = spec.q_min, spec.q_max
        self.aim = HOME.copy()

    def sound(self) -> ActionChunk:
        rng, now = self.rng, self.bench.clock.now()
        kind = rng.integers(6)
        if kind == 0:  # far jump
            self.aim = rng.uniform(self.low - 0.5, self.high + 0.5)
            rows = self.aim[None]
        elif kind == 1:  # random chunk
            rows = rng.uniform(self.low, self.high, (rng.integers(2, 30), 5))
        elif kind == 2:  # smooth way somewhere
            end = rng.uniform(self.low, self.high)
            rows = self.aim + (end - self.aim) * np.linspace(0, 1, 25)[:, None]
            self.aim = end
        elif kind == 3:  # down onto the table, or onto itself
            end = np.array([rng.uniform(-1.9, 1.9), rng.uniform(0, 1.7), rng.uniform(-1.6, 1.6), 1.2, 0.0])
            rows = np.linspace(self.aim, end, 12)
            self.aim = end
        elif kind == 4:  # corners
            rows = np.where(rng.random((3, 5)) < 0.5, self.low, self.high)
        else:  # small jitter
            rows = self.aim + rng.normal(size=(1, 5)) * 0.01
        width = rng.uniform(-0.05, 0.15, len(rows))
        t0 = now + int(rng.integers(-60, 60)) * MS
        dt = int(rng.integers(1, 60)) * MS
        valid = int(rng.integers(1, 250)) * MS
        return ActionChunk(t0, dt, {"arm": rows}, {"gripper": width}, t0 + (len(rows) - 1) * dt + valid)

    def broken(self) -> ActionChunk:
        rng, chunk = self.rng, self.sound()
        rows, width = np.array(chunk.q["arm"]), np.array(chunk.width_m["gripper"])
        cell = int(rng.integers(len(rows))), int(rng.integers(5))
        kind = rng.integers(12)
        if kind == 0:
            rows[cell] = np.nan
        elif kind == 1:
            rows[cell] = np.inf * rng.choice([-1, 1])
        elif kind == 2:
            rows = rows[:, :4]
        elif kind == 3:
            width = width[:-1]
        elif kind == 4:
            return replace(chunk, q={"arn": rows})
        elif kind == 5:
            return replace(chunk, q={"arm": rows.astype(object)})
        elif kind == 6:
            return replace(chunk, expires_ns=self.bench.clock.now() - int(rng.integers(0, 500)) * MS)
        elif kind == 7:
            return replace(chunk, dt_ns=-1)
        elif kind == 8:
            return replace(chunk, t0_ns=self.bench.clock.now() + 10**10)
        elif kind == 9:
            width[0] = -np.inf
        elif kind == 10:
            rows[cell] = 1e300
        else:
            rows[cell] = flip_bit(rng, rows[cell])
        return replace(chunk, q={"arm": rows}, width_m={"gripper": width})


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 2, 3))])
def test_no_limit_is_ever_exceeded(seed):
    bench = Bench()
    guard, arm, rng = bench.guard, bench.arm, np.random.default_rng(100 + seed)
    layout = guard._layout
    judge = CollisionModel(bench.rig, layout, guard._parking.rest_poses(layout))
    sender = Sender(bench, seed)
    sent: list[np.ndarray] = []
    pieces: list[np.ndarray] = []
    rejected = accepted = differs = counted = 0
    worst = np.inf
    seen: dict[str, int] = {}
    for k in range(COMMANDS):
        good = guard.submit(sender.sound() if rng.random() < 0.7 else sender.broken())
        accepted, rejected = accepted + good, rejected + (not good)
        for _ in range(1 if rng.random() < 0.96 else int(rng.integers(2, 20))):
            bench.tick()
            pose = np.append(arm.commands[-1][1], bench.gripper.commands[-1][1])
            sent.append(pose)
            if len(sent) % 4 == 0:
                worst = min(worst, float((judge.distances(pose) - judge.limit).min()))
        applied = guard.collect()
        assert set(applied.limits) <= set(LIMIT_NAMES)
        for name, count in applied.limits.items():
            seen[name] = seen.get(name, 0) + count
        if not good:
            assert any(name.startswith("rejected_") for name in applied.limits)
        if applied.mode == "run":
            gap = np.abs(applied.asked_q["arm"] - applied.sent_q["arm"]).max()
            if gap > 1e-4:  # a clamp: it must have been counted, by name
                differs += 1
                counted += bool(set(applied.limits) - {f"rejected_{r}" for r in BAD})
        chance = rng.random()
        if chance < 0.002:
            guard.estop("test")
        elif chance < 0.004:
            guard.hold()
        if guard.mode in ("estop", "fault"):
            bench.tick(80)
            sent += [
                np.append(q, w)
                for (_, q), (_, w) in zip(arm.commands[-80:], bench.gripper.commands[-80:], strict=True)
            ]
            with pytest.raises(GuardFault) if not guard._mover.at_rest else _nothing():
                guard.rearm()
            pieces.append(np.array(sent))  # re-arming anchors on the measured pose: a new beginning
            sent = []
        if k % 50 == 0:
            arm.commands.clear()
            bench.gripper.commands.clear()
            bench.tick()
            sent.append(np.append(arm.commands[-1][1], bench.gripper.commands[-1][1]))
    pieces.append(np.array(sent))
    devices = guard._devices
    spec = SimpleNamespace(
        q_min=layout.low,
        q_max=layout.high,
        dq_max=devices.v_max,
        ddq_max=devices.a_max,
        dddq_max=devices.j_max,
    )
    for piece in pieces:
        assert_limits(piece, spec, bench.period * 1e-9)
    assert worst > -CLEARANCE
    assert differs > 1000 and counted == differs
    assert accepted > 0.5 * COMMANDS and rejected > 0.1 * COMMANDS
    for name in ("position", "velocity", "acceleration", "jerk", "table", "self_collision", "expired"):
        assert seen.get(name, 0) > 10, name
    for reason in BAD:
        assert seen.get(f"rejected_{reason}", 0) > 10, reason


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
