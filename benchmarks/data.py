"""Recording and loading: one JSON line a figure. Run: python benchmarks/data.py [--quick]

Two 480x640 cameras at 30 fps for 10 s, each side in a process of its own; CPU seconds cover everything from
the first row to the saved episode. Peer: LeRobot 0.6.1 in its own environment
(benchmarks/peers/lerobot_env.sh); without it the figures come alone. `--quick` leaves out LeRobot's
default mode, whose save takes a minute. CPU seconds hardly depend on what else runs; wall times do.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
PEER = Path(os.environ.get("TWINLOOP_LEROBOT_PYTHON", HERE / "peers/.venv-lerobot/bin/python"))
sys.path.insert(0, str(HERE / "peers"))
import scene  # noqa: E402
from _figures import emit  # noqa: E402

FRAMES = 300
LOAD_S = 8.0
PEER_NAME = "LeRobot 0.6.1"
BATCH, CHUNK = 8, 100  # samples a batch, actions a sample


def cpu_s() -> float:
    """CPU seconds of this process and the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(r.ru_utime + r.ru_stime for r in used)


def record(root: str) -> dict:
    """Record 300 rows in real time, as a robot session would, and save."""
    from twinloop.data import DatasetSpec, DatasetWriter

    vectors = ("observation.state", "observation.velocity", "action", "action.asked", "action.sent")
    spec = DatasetSpec(
        fps=scene.FPS,
        robot_type="bench",
        vectors=dict.fromkeys(vectors, scene.JOINTS),
        scalars={f"time.camera.{camera}": "float64" for camera in scene.CAMERAS},
        cameras=dict.fromkeys(scene.CAMERAS, (scene.HEIGHT, scene.WIDTH)),
    )
    pool = {camera: scene.pictures(seed) for seed, camera in enumerate(scene.CAMERAS)}
    adds: list[float] = []
    with DatasetWriter(root, spec) as writer:
        start_cpu, start = cpu_s(), time.perf_counter()
        writer.start("bench")
        for k in range(FRAMES):
            row = {key: scene.state(k) for key in vectors} | dict.fromkeys(spec.scalars, k / scene.FPS)
            frames = {camera: pool[camera][k % len(pool[camera])] for camera in pool}
            before = time.perf_counter()
            writer.add(row, frames)
            adds.append(time.perf_counter() - before)
            time.sleep(max(0.0, start + (k + 1) / scene.FPS - time.perf_counter()))
        recorded = time.perf_counter()
        dropped = sum(writer.dropped.values())
        writer.save()
        saved = time.perf_counter()
        return {
            "seconds": recorded - start,
            "cpu_s": cpu_s() - start_cpu,
            "save_s": saved - recorded,
            "add_p50_ms": 1e3 * float(np.median(adds)),
            "add_max_ms": 1e3 * max(adds),
            "dropped": dropped,
        }


def load(root: str) -> dict:
    """Random samples as a training loader takes them: two pictures as float32, state, 100 actions."""
    from twinloop.data import Dataset

    before = cpu_s()
    dataset = Dataset(root).open()
    caches = [dataset.cache(camera) for camera in dataset.spec.cameras]
    cache_cpu_s = cpu_s() - before
    state, action = dataset.column("observation.state"), dataset.column("action")
    ends = np.cumsum(dataset.lengths)[dataset.column("episode_index")]
    rng = np.random.default_rng(0)
    start_cpu, start, samples = cpu_s(), time.perf_counter(), 0
    while time.perf_counter() - start < LOAD_S:
        rows = rng.choice(dataset.num_frames, BATCH, replace=False)
        ahead = np.minimum(rows[:, None] + np.arange(CHUNK), ends[rows, None] - 1)
        batch = {"observation.state": state[rows], "action": action[ahead]}
        for camera, cache in zip(dataset.spec.cameras, caches, strict=True):
            pictures = np.stack([cache[k] for k in rows]).transpose(0, 3, 1, 2)
            batch[camera] = np.multiply(pictures, np.float32(1 / 255), dtype=np.float32)
        samples += len(batch["action"])
    found = {"samples": samples, "cpu_s": cpu_s() - start_cpu, "cache_cpu_s": cache_cpu_s}
    start_cpu, decoded = cpu_s(), 0
    for k in rng.integers(0, dataset.lengths[0], 40).tolist():
        for camera in dataset.spec.cameras:
            dataset.frame(0, camera, k)
            decoded += 1
    return found | {"decode_cpu_ms": 1e3 * (cpu_s() - start_cpu) / decoded}


def child(*command: str) -> dict:
    """Run one side in its own process; its last line is its result."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(arguments: list[str]) -> None:
    peers = ["streaming", "default"] if "--quick" not in arguments else ["streaming"]
    peers = peers if PEER.exists() else []
    script = str(HERE / "peers/lerobot_data.py")
    with tempfile.TemporaryDirectory() as folder:
        ours = child(sys.executable, __file__, "record", f"{folder}/ours")
        emit("two 480x640 cameras at 30 fps", ours["cpu_s"] / ours["seconds"], "cores", at_most=0.25)
        emit(f"saving {FRAMES} frames", ours["save_s"], "s", at_most=1.0)
        emit("adding a row, worst", ours["add_max_ms"], "ms")
        emit("adding a row, median", ours["add_p50_ms"], "ms")
        emit("dropped frames", ours["dropped"], "frames", at_most=0)
        for mode in peers:
            theirs = child(str(PEER), script, "record", f"{folder}/{mode}", mode, str(FRAMES))
            peer = f"{PEER_NAME} ({mode})"
            emit(f"{peer}: its cores over ours", theirs["cpu_s"] / ours["cpu_s"], "ratio")
            emit(
                f"{peer}: its saving over ours",
                theirs["save_s"] / ours["save_s"],
                "ratio",
                s=theirs["save_s"],
            )
            emit(f"{peer}: its adding over ours, worst", theirs["add_max_ms"] / ours["add_max_ms"], "ratio")
        loaded = child(sys.executable, __file__, "load", f"{folder}/ours")
        rate = loaded["samples"] / loaded["cpu_s"]
        emit("random training samples", rate, "per CPU s")
        if peers:
            seen = child(str(PEER), script, "load", f"{folder}/ours", str(LOAD_S))
            theirs = seen["samples"] / seen["cpu_s"]
            emit(
                f"random training samples over {PEER_NAME}", rate / theirs, "ratio", at_least=5.0, peer=theirs
            )
        emit("building the cache of 600 pictures", loaded["cache_cpu_s"], "CPU s")
        emit("decoding one picture", loaded["decode_cpu_ms"], "CPU ms")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps({"record": record, "load": load}[sys.argv[1]](sys.argv[2])))
    else:
        main(sys.argv[1:])
