"""LeRobot's side of benchmarks/data.py; runs in its own environment (lerobot_env.sh), prints one JSON line.

lerobot_data.py record ROOT MODE FRAMES [CAMERAS]    MODE: default (PNG, then AV1) or streaming (h264 veryfast)
lerobot_data.py load ROOT SECONDS          random samples of the dataset at ROOT by its DataLoader
"""

import json
import resource
import sys
import time

import numpy as np
import scene
import torch
from lerobot.configs.video import RGBEncoderConfig
from lerobot.datasets import LeRobotDataset


def cpu_s() -> float:
    """CPU seconds of this process and the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(r.ru_utime + r.ru_stime for r in used)


def record(root: str, mode: str, frames: int, cameras: int = len(scene.CAMERAS)) -> dict:
    names = scene.names(cameras)
    features = {
        key: {"dtype": "float32", "shape": (6,), "names": list(scene.JOINTS)}
        for key in ("observation.state", "action")
    }
    for camera in names:
        features[f"observation.images.{camera}"] = {
            "dtype": "video",
            "shape": (scene.HEIGHT, scene.WIDTH, 3),
            "names": ["height", "width", "channels"],
        }
    options = {"image_writer_threads": 4 * len(names)}  # what lerobot-record sets
    if mode == "streaming":
        options = {
            "streaming_encoding": True,
            "rgb_encoder": RGBEncoderConfig(vcodec="h264", preset="veryfast"),
        }
    count = 60 if cameras == len(scene.CAMERAS) else scene.FPS
    pool = {camera: scene.pictures(seed, count) for seed, camera in enumerate(names)}
    dataset = LeRobotDataset.create("peer/bench", fps=scene.FPS, features=features, root=root, **options)
    adds = []
    start_cpu, start = cpu_s(), time.perf_counter()
    for k in range(frames):
        row = {"observation.state": scene.state(k), "action": scene.state(k + 1), "task": "bench"}
        row |= {f"observation.images.{camera}": pool[camera][k % len(pool[camera])] for camera in pool}
        before = time.perf_counter()
        dataset.add_frame(row)
        adds.append(time.perf_counter() - before)
        time.sleep(max(0.0, start + (k + 1) / scene.FPS - time.perf_counter()))
    recorded = time.perf_counter()
    dataset.save_episode()
    saved = time.perf_counter()
    dataset.finalize()
    return {
        "seconds": recorded - start,
        "cpu_s": cpu_s() - start_cpu,
        "save_s": saved - recorded,
        "add_p50_ms": 1e3 * float(np.median(adds)),
        "add_max_ms": 1e3 * max(adds),
        "adds_ms": [1e3 * add for add in adds],
    }


def load(root: str, seconds: float) -> dict:
    torch.set_num_threads(1)
    dataset = LeRobotDataset(
        "peer/bench",
        root=root,
        video_backend="pyav",
        delta_timestamps={"action": [k / scene.FPS for k in range(100)]},
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True, drop_last=True)
    batches = iter(loader)
    next(batches)
    start_cpu, start, samples = cpu_s(), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        try:
            batch = next(batches)
        except StopIteration:
            batches = iter(loader)
            continue
        samples += len(batch["action"])
    return {"samples": samples, "cpu_s": cpu_s() - start_cpu, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    what, root, *rest = sys.argv[1:]
    result = record(root, rest[0], *map(int, rest[1:])) if what == "record" else load(root, float(rest[0]))
    print(json.dumps(result))
