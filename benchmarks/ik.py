"""A solve of the hand's inverse kinematics, and where it ends, beside mink and placo. One JSON line a figure.

Run: python benchmarks/ik.py [--quick]

The same cases for all, on the SO-101 (five joints): from one pose towards that of other joint angles, in steps of 20 ms
of at most 0.25 m/s and 1.5 rad/s, closed loop. "near" goals are 0.4 rad off in every joint at most; "far" ones anywhere
in the range, so that ends of joints and singular poses lie on the way. Errors are those after the last step, of the
end's joint angles through one and the same forward kinematics. mink is our `MinkIk` (extra `mink`, its DAQP solver,
limits as constraints); placo is in its own environment (benchmarks/peers/placo_env.sh, or TWINLOOP_PLACO_PYTHON names
its interpreter) with the URDF of the same links and limits. Both have the weights and the damping of `MinkIk`. Sides
take turns; times are of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _figures import emit
from _urdf import urdf_of
from twinloop.robot.errors import UsageError
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.robot.types import F64
from twinloop.teleop.ik import DAMPING, Ik, make_ik, rotation_vector

HERE = Path(__file__).parent
PLACO = Path(os.environ.get("TWINLOOP_PLACO_PYTHON", HERE / "peers/.venv-placo/bin/python"))
RIG = load_rig("so101")
MODEL, SPEC = load_model("so101"), RIG.joint_spec("arm")
DT_S, SPEEDS = 0.02, (0.25, 1.5)  # m/s, rad/s
TURN_COST = 0.05  # of MinkIk
TARGET_US = 30.0
NEAR_RAD = 0.4
SIDES = ("dls", "mink", "placo")


@dataclass(frozen=True, slots=True)
class Case:
    start: F64  # (n,) rad
    at: F64  # (3,) m, the goal
    facing: F64  # (3, 3)


def cases(ik: Ik, kind: str, count: int) -> list[Case]:
    rng = np.random.default_rng(1)
    middle, half = (SPEC.q_min + SPEC.q_max) / 2.0, (SPEC.q_max - SPEC.q_min) / 2.0
    found = []
    for _ in range(count):
        start = middle + rng.uniform(-0.7, 0.7, SPEC.n) * half
        end = middle + rng.uniform(-0.9, 0.9, SPEC.n) * half
        if kind == "near":
            end = np.clip(start + rng.uniform(-NEAR_RAD, NEAR_RAD, SPEC.n), SPEC.q_min, SPEC.q_max)
        found.append(Case(start, *ik.pose(end)))
    return found


def followed(ik: Ik, todo: list[Case], steps: int) -> tuple[list[float], list[F64]]:
    """Time of every solve, us, and where each case ended, rad."""
    spent, ends = [], []
    for case in todo:
        q = case.start
        for _ in range(steps):
            at, facing = ik.pose(q)
            linear, angular = (case.at - at) / DT_S, rotation_vector(case.facing @ facing.T) / DT_S
            linear = linear * min(1.0, SPEEDS[0] / max(1e-12, float(np.linalg.norm(linear))))
            angular = angular * min(1.0, SPEEDS[1] / max(1e-12, float(np.linalg.norm(angular))))
            begin = time.perf_counter_ns()
            q = ik.step(q, linear, angular, DT_S)
            spent.append((time.perf_counter_ns() - begin) * 1e-3)
        ends.append(q)
    return spent, ends


def followed_by_placo(todo: list[Case], steps: int) -> tuple[list[float], list[F64]]:
    site = MODEL.grasp_site
    asked = {
        "urdf": urdf_of(MODEL, SPEC, site), "site": site, "joints": SPEC.names, "dq_max": SPEC.dq_max.tolist(),
        "damping": DAMPING, "turn_cost": TURN_COST, "dt_s": DT_S, "speeds": SPEEDS, "steps": steps,
        "cases": [{"start": c.start.tolist(), "goal": [c.at.tolist(), c.facing.tolist()]} for c in todo],
    }  # fmt: skip
    done = subprocess.run(
        [str(PLACO), str(HERE / "peers/placo_ik.py")], input=json.dumps(asked), capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"placo: {done.stderr[-1500:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["us"], [np.array(q) for q in answer["q"]]


def errors(ik: Ik, todo: list[Case], ends: list[F64]) -> tuple[F64, F64]:
    """Position, mm, and orientation, degrees, each (K,)."""
    mm, deg = [], []
    for case, q in zip(todo, ends, strict=True):
        at, facing = ik.pose(q)
        mm.append(1e3 * np.linalg.norm(case.at - at))
        deg.append(np.degrees(np.linalg.norm(rotation_vector(case.facing @ facing.T))))
    return np.array(mm), np.array(deg)


def compare(kind: str, count: int, steps: int, rounds: int) -> dict[str, list[float]]:
    """Figures of one kind of goals; times of the solves, us."""
    judge = make_ik("dls", MODEL, SPEC)
    todo = cases(judge, kind, count)
    spent: dict[str, list[float]] = {}
    ends: dict[str, list[F64]] = {}
    for _ in range(rounds):
        for side in SIDES:
            try:
                if side == "placo":
                    if not PLACO.exists():
                        continue
                    times, at = followed_by_placo(todo, steps)
                else:
                    times, at = followed(make_ik(side, MODEL, SPEC), todo, steps)
            except UsageError as error:
                print(error, file=sys.stderr)
                continue
            spent.setdefault(side, []).extend(times)
            ends[side] = at
    for side, at in ends.items():
        mm, deg = errors(judge, todo, at)
        within = 100.0 * float(np.mean((mm < 2.0) & (deg < 2.0)))
        emit(
            f"{side}, {kind}: cases that end within 2 mm and 2 degrees, after {steps} steps", within, "%",
            mm_p50=round(float(np.median(mm)), 3), mm_p95=round(float(np.percentile(mm, 95)), 2),
            deg_p50=round(float(np.median(deg)), 3), deg_p95=round(float(np.percentile(deg, 95)), 2), cases=count,
        )  # fmt: skip
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    if not PLACO.exists():
        print(f"no {PLACO}: placo is not measured", file=sys.stderr)
    spent: dict[str, list[float]] = {}
    for kind in ("near", "far"):
        found = compare(kind, 20 if quick else 100, 150 if kind == "near" else 300, 2 if quick else 3)
        for side, times in found.items():
            spent.setdefault(side, []).extend(times)
    medians = {side: float(np.median(times)) for side, times in spent.items()}
    for side, times in spent.items():
        emit(
            f"{side}: a solve, p50", medians[side], "us", at_most=TARGET_US if side == "dls" else None,
            p99=round(float(np.percentile(times, 99)), 1), solves=len(times),
        )  # fmt: skip
    for side in SIDES[1:]:
        if side in medians:
            emit(f"{side}: its solve over ours, p50", medians[side] / medians["dls"], "ratio")
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    main()
