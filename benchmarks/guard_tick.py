"""How long the guard takes: one JSON line a figure. Run: python benchmarks/guard.py

Arms are followers that cost next to nothing, the motion is a pick-and-place close to the table (where the
look-ahead has most to do). Peers, in the same run: the bare trajectory generator (ruckig), which limits
joints but knows no collisions, expiry or monitors, and the twin without a guard.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time, thread_time_ns

import numpy as np
from ruckig import InputParameter, OutputParameter, Ruckig, Synchronization
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin, TwinRobot

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "robot" / "guard"))
from _figures import emit  # noqa: E402
from guard_fakes import Bench  # noqa: E402

SECONDS = 60.0
CONTROL_HZ = 50.0


def lowered(pose: np.ndarray, gap_m: float = 0.008) -> np.ndarray:
    """`pose` with the shoulder turned down until the gripper is `gap_m` above what the guard allows."""
    pose = pose.copy()
    model = Bench().guard._collision
    while (model.distances(np.append(pose, 0.06)) - model.limit)[model.contacts :].min() > gap_m:
        pose[1] += 0.002
    return pose


HOME = np.array(load_model("so101").home_q_rad)
ABOVE = [HOME + [0.4, 0.1, 0.1, 0.0, 0.0], HOME + [-0.5, 0.2, 0.0, 0.0, 0.3]]
POSES = [HOME, ABOVE[0], lowered(ABOVE[0]), ABOVE[0], ABOVE[1], lowered(ABOVE[1]), ABOVE[1], HOME]


def motion(t: float) -> np.ndarray:
    """Pick-and-place, one pose a second, smooth between them; (5,) rad."""
    k, x = divmod(t, 1.0)
    a, b = POSES[int(k) % 7], POSES[int(k) % 7 + 1]
    return a + (b - a) * x * x * (3.0 - 2.0 * x)


def chunk_at(now_ns: int, t: float) -> ActionChunk:
    dt = 1.0 / CONTROL_HZ
    rows = np.stack([motion(t + k * dt) for k in range(8)])
    width = np.full(8, 0.04 + 0.03 * np.sin(t))
    dt_ns = round(dt * 1e9)
    return ActionChunk(now_ns, dt_ns, {"arm": rows}, {"gripper": width}, now_ns + 8 * dt_ns)


def tick_times(make: Callable[[float, int], ActionChunk | None], seconds: float) -> np.ndarray:
    """CPU time of every tick, us: what other programs on this machine do does not count."""
    bench = Bench(q=POSES[0])
    times, t = [], 0.0
    for k in range(round(seconds * 200)):
        if k % 4 == 0 and (chunk := make(t, bench.clock.now())) is not None:
            bench.guard.submit(chunk)
        bench.clock.t += bench.period
        began = thread_time_ns()
        bench.guard.tick()
        times.append((thread_time_ns() - began) * 1e-3)
        t += 0.005
    return np.array(times[50:])


def bare_ruckig(seconds: float) -> np.ndarray:
    """CPU time of the generator alone on the same motion, us."""
    n = 6
    given, out, generator = InputParameter(n), OutputParameter(n), Ruckig(n, 0.005)
    given.synchronization = Synchronization.No
    given.max_velocity, given.max_acceleration, given.max_jerk = [3.5] * n, [30.0] * n, [1500.0] * n
    given.current_position = [*motion(0.0).tolist(), 0.04]
    times = []
    for k in range(round(seconds * 200)):
        target = [*motion(k * 0.005).tolist(), 0.04]
        began = thread_time_ns()
        given.target_position = target
        generator.update(given, out)
        out.pass_to_input(given)
        times.append((thread_time_ns() - began) * 1e-3)
    return np.array(times[50:])


def episode(guarded: bool) -> float:
    """CPU time of a 60 s twin episode at 50 Hz (no cameras), s."""
    twin = Twin(build_scene(load_rig("so101")))
    twin.set_arm("arm", POSES[0], 0.04)
    robot = TwinRobot(twin)
    steps = round(SECONDS * CONTROL_HZ)
    if guarded:
        robot.open()
    began = process_time()
    for k in range(steps):
        t = k / CONTROL_HZ
        if guarded:
            robot.observe()
            robot.apply(chunk_at(robot.clock.now(), t))
        else:
            twin.arms["arm"].read()
            twin.grippers["gripper"].read()
            twin.arms["arm"].command(motion(t))
        twin.clock.sleep_until(round((k + 1) / CONTROL_HZ * 1e9))
    return process_time() - began


def main() -> None:
    rng = np.random.default_rng(0)
    peer = bare_ruckig(10.0)
    emit("ruckig alone, p50", float(np.median(peer)), "us")
    wild = POSES[0]

    def random_poses(t: float, now: int) -> ActionChunk:
        nonlocal wild
        if rng.random() < 0.05:
            wild = rng.uniform(-1.6, 1.6, 5)
        return ActionChunk(now, 20_000_000, {"arm": wild[None]}, {}, now + 100_000_000)

    for name, make in (
        ("tick, pick-and-place", lambda t, now: chunk_at(now, t)),
        ("tick, holding", lambda t, now: None),
        ("tick, random jumps into table and itself", random_poses),
    ):
        # Other programs only ever make a run slower: the best of three says most about the guard.
        runs = [tick_times(make, 10.0) for _ in range(3)]
        p50, p99 = np.min([np.percentile(times, [50, 99]) for times in runs], axis=0)
        mean = min(float(times.mean()) for times in runs)
        emit(f"{name}, mean", mean, "us", at_most=110.0 if "pick" in name else None)
        emit(f"{name}, p50", float(p50), "us", ratio_to_ruckig=round(float(p50 / np.median(peer)), 1))
        emit(f"{name}, p99", float(p99), "us", at_most=200.0)
    without, guarded = (min(episode(kind) for _ in range(2)) for kind in (False, True))
    emit("60 s twin episode, real time factor with guard", SECONDS / guarded, "x", at_least=25.0)
    emit(
        "60 s twin episode, real time factor without",
        SECONDS / without,
        "x",
        ratio=round(guarded / without, 2),
    )
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    main()
