"""Replay recorded commands on the twin and compare its arm with the arm that was recorded.

The commands of a dataset pass the guard like anybody's; the twin starts each episode at the first measured
pose. Compared are joint angles in degrees, the gripper's as the angle of its jaw. A shift is positive when
the first-named signal comes later.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..robot.errors import DatasetError
from ..robot.loop import ControlLoop
from ..robot.types import F64, ActionChunk, Observation, Step
from ..sim.scene import Scene, SceneOptions, build_scene
from ..sim.twin import Twin, TwinRobot
from .recording import Recording, Source
from .zeros import Zeros, fit_zeros, overlaps

AHEAD = 4  # rows of each chunk: the guard sees this far
SHIFTS_S = np.arange(-300, 301) / 1000.0
FREE_DEG = 2.0  # a command that the guard changed by less (its smoothing does) was left as it was
STILL_DEG = 1.0  # a joint that moved less (peak to peak) has no time shift


@dataclass(slots=True)
class ReplayAgent:
    """Plays a recording row by row, `AHEAD` rows a chunk; implements `Agent`."""

    recording: Recording
    arm: str
    gripper: str | None
    expiry_ns: int
    step: int = 0

    def reset(self, seed: int) -> None:
        self.step = 0

    def act(self, obs: Observation) -> ActionChunk:
        take = slice(min(self.step, len(self.recording.asked_q) - 1), self.step + AHEAD)
        self.step += 1
        q, width = self.recording.asked_q[take], self.recording.asked_width_m
        dt_ns = round(1e9 / self.recording.fps)
        return ActionChunk(
            t0_ns=obs.t_ns,
            dt_ns=dt_ns,
            q={self.arm: q},
            width_m={} if self.gripper is None or width is None else {self.gripper: width[take]},
            expires_ns=obs.t_ns + (len(q) - 1) * dt_ns + self.expiry_ns,
            source="replay",
        )


@dataclass(slots=True)
class Trace:
    """What the twin did, row by row; implements `Observer`."""

    arm: str
    gripper: str | None
    q: list[F64] = field(default_factory=list)
    width_m: list[float] = field(default_factory=list)
    changed: list[F64] = field(default_factory=list)  # (n,) rad, sent minus asked at the guard's last tick
    limits: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)

    def on_step(self, step: Step) -> None:
        obs, applied = step.obs, step.applied
        self.q.append(obs.arms[self.arm].q)
        if self.gripper is not None:
            self.width_m.append(obs.grippers[self.gripper].width_m)
        sent = applied.sent_q.get(self.arm, obs.arms[self.arm].q)
        self.changed.append(sent - applied.asked_q.get(self.arm, sent))
        self.limits.update(applied.limits)
        self.modes[applied.mode] += 1


@dataclass(frozen=True, slots=True)
class Match:
    """How well one signal follows another. None where there is no answer (a joint that stood still)."""

    rmse_deg: float  # as it is
    shift_ms: float | None  # best shift; > 0: the first signal comes later
    shifted_rmse_deg: float  # at the best shift, over the rows that then overlap
    mean_deg: float  # first minus second
    max_deg: float  # largest absolute difference as it is


@dataclass(frozen=True, slots=True)
class JointResult:
    """One joint in one episode, or over all."""

    joint: str
    twin_real: Match  # twin against real arm
    real_command: Match  # the real arm against the command: its own tracking error
    twin_command: Match  # the twin against the command
    free_rmse_deg: float | None  # twin against real, on rows whose command the guard left as it was
    guard_rmse_deg: float | None  # sent minus asked; None for the gripper


@dataclass(frozen=True, slots=True)
class EpisodeReplay:
    """One replayed episode; arrays are (T, joints), degrees."""

    index: int
    t_s: F64
    command_deg: F64
    real_deg: F64
    twin_deg: F64
    joints: tuple[JointResult, ...]
    limits: Mapping[str, int]  # limit -> guard ticks in which it acted
    modes: Mapping[str, int]  # guard mode -> rows
    guard_deg: F64  # (T, n) sent minus asked, arm joints only

    @property
    def free(self) -> NDArray[np.bool_]:
        """(T,) rows at which no command was changed by more than `FREE_DEG`."""
        return np.abs(self.guard_deg).max(axis=1) <= FREE_DEG


@dataclass(frozen=True, slots=True)
class Replay:
    """A whole replay."""

    mapping: str
    servo: str
    fps: int
    episodes: tuple[EpisodeReplay, ...]
    overall: tuple[JointResult, ...]  # over all episodes together, with one shift
    zeros: Zeros  # how many of the measured poses are possible, and what turning the zeros changed


def replay(
    source: Source,
    episodes: Sequence[int] | None = None,
    options: SceneOptions | None = None,
    on_episode: Callable[[int], None] = lambda index: None,
    fit: bool = False,
) -> Replay:
    """Replay `episodes` (None = all) of `source` on the twin of its rig. Raises `DatasetError` for unknown ones.

    With `fit`, commands and measurements are turned by `fit_zeros` first.
    """
    options = options or SceneOptions()
    recordings = [
        source.episode(k) for k in (range(source.dataset.num_episodes) if episodes is None else episodes)
    ]
    if not recordings:
        raise DatasetError(f"{source.dataset.root}: has no episodes to replay")
    scene = build_scene(source.rig, options=options)
    zeros = (fit_zeros if fit else overlaps)(source, recordings, scene)
    if fit:
        source = replace(source, zeros_rad=zeros.offset_rad)
        recordings = [source.episode(recording.index) for recording in recordings]
    done = []
    for recording in recordings:
        done.append(_replay_one(source, recording, scene))
        on_episode(recording.index)
    fps = source.dataset.spec.fps
    servos = ", ".join(sorted({servo.name for servo in scene.servos.values()}))
    return Replay(source.mapping, servos, fps, tuple(done), compare(source.joints, fps, done), zeros)


def _replay_one(source: Source, recording: Recording, scene: Scene) -> EpisodeReplay:
    arm, gripper = source.arm, source.rig.gripper_of(source.arm)
    twin = Twin(scene)
    real_width = recording.real_width_m
    lo, hi = source.model.joint_ranges()
    start = np.clip(recording.real_q[0], lo, hi)
    twin.set_arm(arm, start, None if real_width is None else float(real_width[0]))
    robot = TwinRobot(twin)
    trace = Trace(arm, gripper)
    agent = ReplayAgent(recording, arm, gripper, round(source.rig.guard.expiry_ms * 1e6))
    rows, period_ns = len(recording.asked_q), round(1e9 / recording.fps)
    robot.open()
    try:
        # One period more, since what came of a step is seen at the next one.
        ControlLoop(robot, agent, period_ns, (trace,)).run((rows + 1) * period_ns)
    finally:
        robot.release()

    def degrees(q: F64, width_m: F64 | None) -> F64:
        jaw = () if width_m is None else (source.jaw(np.asarray(width_m)),)
        return np.degrees(np.column_stack((q, *jaw)))

    twin_width = np.array(trace.width_m) if gripper is not None else None
    command = degrees(recording.asked_q, recording.asked_width_m)
    real = degrees(recording.real_q, real_width)
    moved = degrees(np.array(trace.q), twin_width)
    changed = np.degrees(np.array(trace.changed))
    t_s = np.arange(rows) / recording.fps
    bare = EpisodeReplay(
        recording.index, t_s, command, real, moved, (), dict(trace.limits), dict(trace.modes), changed
    )
    return replace(bare, joints=compare(source.joints, recording.fps, [bare]))


def compare(names: Sequence[str], fps: int, episodes: Sequence[EpisodeReplay]) -> tuple[JointResult, ...]:
    """Compare each joint over `episodes`, all with the same shift."""
    out = []
    for k, name in enumerate(names):
        twin = [e.twin_deg[:, k] for e in episodes]
        real = [e.real_deg[:, k] for e in episodes]
        command = [e.command_deg[:, k] for e in episodes]
        free = np.concatenate([(e.twin_deg[:, k] - e.real_deg[:, k])[e.free] for e in episodes])
        guard = [e.guard_deg[:, k] for e in episodes] if k < episodes[0].guard_deg.shape[1] else None
        out.append(
            JointResult(
                joint=name,
                twin_real=match(twin, real, fps),
                real_command=match(real, command, fps),
                twin_command=match(twin, command, fps),
                free_rmse_deg=float(np.sqrt(np.mean(free**2))) if free.size else None,
                guard_rmse_deg=None if guard is None else float(np.sqrt(np.mean(np.concatenate(guard) ** 2))),
            )
        )
    return tuple(out)


def match(first: Sequence[F64], second: Sequence[F64], fps: float) -> Match:
    """Compare pairs of signals sampled at `fps`, degrees; shifts of -300..300 ms in steps of 1 ms.

    Between rows, `first` is interpolated; a shift of s compares first(t + s) with second(t).
    """
    difference = np.concatenate([a - b for a, b in zip(first, second, strict=True)])
    rmse = float(np.sqrt(np.mean(difference**2)))
    best, shift = rmse, 0.0
    for s in SHIFTS_S:
        total, count = 0.0, 0
        for a, b in zip(first, second, strict=True):
            t = np.arange(len(a)) / fps
            inside = (t + s >= -1e-9) & (t + s <= t[-1] + 1e-9)
            total += float(np.sum((np.interp(t[inside] + s, t, a) - b[inside]) ** 2))
            count += int(inside.sum())
        error = math.sqrt(total / count) if count else math.inf
        if error < best:
            best, shift = error, float(s)
    moves = max(float(np.ptp(b)) for b in second) >= STILL_DEG
    return Match(
        rmse_deg=rmse,
        shift_ms=1e3 * shift if moves else None,
        shifted_rmse_deg=best if moves else rmse,
        mean_deg=float(difference.mean()),
        max_deg=float(np.abs(difference).max()),
    )
