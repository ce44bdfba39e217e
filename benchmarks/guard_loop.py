"""How late the guard's loop is, beside a policy that saturates the machine. One JSON line a figure.

Run: python benchmarks/guard_loop.py [--quick] [--device cpu|cuda] [--seconds N]

The agent's loop (50 Hz) runs in this process; the guard (200 and 500 Hz) in its own, on the emulated SO-101, whose
process takes part of the machine too, but is delayed by nobody where the system allows it, as servos are not: it has a
real-time priority above the guard's. Beside them, in turn: nothing; one Python thread in the agent's process; torch
there, a policy of 12.6 M parameters that infers and another that trains, on the GPU where there is one; the same in
another process as well. Under each of these loads, in the same run:
  a bare loop that only sleeps to absolute deadlines, in a process of its own: the floor of this machine;
  LeRobot 0.6.1's own `record_loop` with its own SO101Follower at 50 Hz on the same emulated arm, the load in its
  process (benchmarks/peers/lerobot_env.sh makes its environment, or TWINLOOP_LEROBOT_PYTHON names its interpreter).
Error of the period: between two goals written, against nominal. Shared machines are noisy: look at ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
from _cell import CONTROL_HZ, Session
from _device import as_hardware
from _figures import emit
from _load import LOADS, beside, busy, describe, pick_device
from twinloop.robot.rig import Rig, load_rig
from twinloop.sim.emulate.process import EmulatorProcess

HERE = Path(__file__).parent
PEER = Path(os.environ.get("TWINLOOP_LEROBOT_PYTHON", HERE / "peers/.venv-lerobot/bin/python"))
WARM_S = 2.0  # from where the arm lay folded to its home pose
ENOUGH = 50  # goals
QUICK = ("nothing", "a Python thread", "torch there and in another")
FLOOR = """
import os, sys, time
hz, seconds, real_time = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "1"
if real_time: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
period, late, missed = round(1e9 / hz), [], 0
due = time.monotonic_ns()
end = due + seconds * 1e9
while due < end:
    due += period
    while (left := due - time.monotonic_ns()) > 0:
        time.sleep(left * 1e-9)
    late.append(time.monotonic_ns() - due)
    if late[-1] > 3 * period:
        missed += late[-1] // period
        due += late[-1] // period * period
print(missed, *late)
"""


class LeRobot(AbstractContextManager["LeRobot"]):
    """LeRobot's process; there from the first measurement on."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> LeRobot:
        if PEER.exists():
            self._process = subprocess.Popen(
                [str(PEER), str(HERE / "peers/lerobot_loop.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
            self._answer()
        else:
            print(f"no {PEER}: LeRobot's loop is not measured", file=sys.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()

    def sent(
        self, port: str, seconds: float, kinds: tuple[str, ...], device: str
    ) -> tuple[np.ndarray, str] | None:
        """Times at which it had written its goals, s, and what ended it early; None without it."""
        if self._process is None:
            return None
        assert self._process.stdin is not None
        order = {"port": port, "fps": int(CONTROL_HZ), "seconds": seconds, "kinds": kinds, "device": device}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer = self._answer()
        return np.array(answer["sent_ns"][1:]) * 1e-9, answer["error"]

    def _answer(self) -> dict:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("LeRobot's process ended")
        return json.loads(line)


def percentiles(values: np.ndarray) -> dict[str, float]:
    p50, p99, p999 = np.percentile(values, [50, 99, 99.9])
    return {"p50": round(p50, 4), "p99": round(p99, 4), "p999": round(p999, 3), "max": round(values.max(), 2)}


def floor(hz: float, seconds: float, real_time: bool) -> tuple[np.ndarray, int]:
    """Lateness of the bare loop, ms, and periods that it missed."""
    command = [sys.executable, "-c", FLOOR, str(hz), str(seconds), str(int(real_time))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    missed, *late = map(int, done.stdout.split())
    return np.array(late) * 1e-6, missed


def guard_at(rig: Rig, hz: float, paths: dict[str, str], load: str, seconds: float, device: str) -> float:
    """Figures of the guard at `hz` and of the floor; returns p99 of the error of its period, ms."""
    inside, _ = LOADS[load]
    name = f"{hz:g} Hz beside {load}"
    fast = replace(rig, guard=replace(rig.guard, rate_hz=hz))
    with Session(fast, paths) as session:
        real_time = session.real_time
        first, _ = session.run(WARM_S)
        with busy(inside, device) as rounds:
            before = rounds.copy()
            seen, report = session.run(seconds)
            rounds = {kind: round((n - before[kind]) / seconds, 1) for kind, n in rounds.items()}
            bare, bare_missed = floor(hz, seconds, real_time)
    late = np.array([status.late_ns for status in seen]) * 1e-6
    missed, ticks = seen[-1].missed - seen[0].missed, len(seen)
    written = np.unique([status.t_ns for status in seen])  # a tick that comes too early does nothing
    error = np.abs(np.diff(written) * 1e-6 - 1e3 / hz)
    limit = {200.0: 0.15 if real_time else 5.0, 500.0: 0.15 if real_time else None}.get(hz)
    p99, bare_p99 = float(np.percentile(late, 99)), float(np.percentile(bare, 99))
    if load == "nothing":
        began = next(k for k, status in enumerate(first) if status.mode == "run")
        emit(
            f"guard, {name}: lateness after its very first chunk",
            max(status.late_ns for status in first[began : began + 4]) * 1e-6,
            "ms",
        )
    emit(f"bare loop, {name}: lateness p99", bare_p99, "ms", **percentiles(bare), missed=bare_missed)
    emit(
        f"guard, {name}: lateness p99",
        p99,
        "ms",
        at_most=limit,
        **percentiles(late),
        ratio_to_bare=round(p99 / bare_p99, 2),
        real_time=real_time,
        load_rounds_per_s=rounds,
    )
    emit(
        f"guard, {name}: periods missed",
        100.0 * missed / (ticks + missed),
        "%",
        at_most=0.5,
        bare=round(100.0 * bare_missed / (len(bare) + bare_missed), 3),
        running_percent=round(100.0 * np.mean([status.mode == "run" for status in seen]), 2),
    )
    agent = report.lateness_ns * 1e-6
    emit(
        f"agent's loop (50 Hz), guard at {name}: rate kept",
        100.0 * report.steps / (seconds * CONTROL_HZ),
        "%",
        lateness_ms=percentiles(agent),
    )
    return float(np.percentile(error, 99))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", help="cpu or cuda; default: a GPU where there is one")
    parser.add_argument("--seconds", type=float, help="a measurement")
    options = parser.parse_args()
    rig, device = load_rig("so101"), options.device or pick_device()
    seconds = options.seconds or (2.5 if options.quick else 20.0)
    machine = {"device": describe(device), "cores": os.cpu_count()}
    with LeRobot() as lerobot, EmulatorProcess(rig) as emulator:
        machine["servos_undelayed"] = as_hardware(emulator._process)
        for load in QUICK if options.quick else LOADS:
            inside, outside = LOADS[load]
            with beside(outside, device):
                errors = {
                    hz: guard_at(rig, hz, emulator.paths, load, seconds, device)
                    for hz in ((200.0,) if options.quick else (200.0, 500.0))
                }
                peer = lerobot.sent(emulator.paths["arm"], seconds, inside, device)
            ours = errors[200.0]
            emit(f"guard, 200 Hz beside {load}: error of its period, p99", ours, "ms", **machine)
            if peer is None:
                continue
            sent, error = peer
            if error:
                emit(
                    f"LeRobot's loop beside {load}: ended early, goals written", len(sent), "goals", why=error
                )
            if len(sent) < ENOUGH:
                continue
            theirs = np.abs(np.diff(sent) - 1.0 / CONTROL_HZ) * 1e3
            rate = (len(sent) - 1) / (sent[-1] - sent[0])
            emit(f"LeRobot's loop beside {load}: rate", rate, "Hz", asked=CONTROL_HZ)
            emit(
                f"LeRobot's loop beside {load}: error of its period p99 over ours",
                float(np.percentile(theirs, 99)) / ours,
                "ratio",
                at_least=5.0 if "Python" in load else None,
                period_error_ms=percentiles(theirs),
                ours_ms=round(ours, 4),
            )
    emit("load average while measuring", os.getloadavg()[0], "programs", **machine)


if __name__ == "__main__":
    main()
