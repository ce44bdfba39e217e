"""Runs inside LeRobot's own environment (see benchmarks/peers/lerobot_env.sh): load, decode, batch, resume.

    python lerobot_peer.py load ROOT [resume ROOT] [load ROOT] ...

Each pair is done in turn and answered with one JSON line: what LeRobot sees, or how many episodes there are
after its own writer appended one.
"""

import json
import sys

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from lerobot.datasets import LeRobotDataset  # pyright: ignore[reportMissingImports]


def load(root: str) -> dict:
    seen = {}
    dataset = LeRobotDataset("twinloop/test", root=root, video_backend="pyav")
    seen["episodes"], seen["frames"] = dataset.num_episodes, dataset.num_frames
    seen["fps"], seen["robot_type"] = dataset.meta.fps, dataset.meta.robot_type
    seen["features"] = {key: list(feature["shape"]) for key, feature in dataset.features.items()}
    seen["tasks"] = [dataset[int(i)]["task"] for i in dataset.meta.episodes["dataset_from_index"]]
    # Mean colour and every number of every frame, so that the test can compare row by row.
    seen["rows"] = []
    for i in range(len(dataset)):
        item = dataset[i]
        row = {}
        for key in dataset.features:
            value = item[key]
            if key in dataset.meta.camera_keys:
                row[key] = (value.mean(dim=(1, 2)) * 255).tolist()
            else:
                row[key] = value.reshape(-1).tolist()
        seen["rows"].append(row)
    stats = dataset.meta.stats
    seen["stats_mean"] = {key: np.asarray(stats[key]["mean"]).reshape(-1).tolist() for key in stats}

    windowed = LeRobotDataset(
        "twinloop/test",
        root=root,
        video_backend="pyav",
        delta_timestamps={"action": [k / dataset.meta.fps for k in range(10)]},
    )
    loader = torch.utils.data.DataLoader(windowed, batch_size=8, shuffle=True)
    batch = next(iter(loader))
    seen["batch"] = {key: list(value.shape) for key, value in batch.items() if hasattr(value, "shape")}
    return seen


def resume(root: str) -> dict:
    dataset = LeRobotDataset.resume("twinloop/test", root=root)
    skip = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
    for k in range(12):
        frame: dict = {"task": "what LeRobot does"}
        for key, feature in dataset.features.items():
            if key in skip:
                continue
            shape, dtype = tuple(feature["shape"]), feature["dtype"]
            if dtype == "video":
                frame[key] = np.full(shape, 10 * k, np.uint8)
            else:
                frame[key] = np.full(shape, k % 2 if dtype == "bool" else k, dtype)
        dataset.add_frame(frame)
    dataset.save_episode()
    dataset.finalize()
    return {"episodes": dataset.num_episodes}


if __name__ == "__main__":
    words = sys.argv[1:]
    for what, folder in zip(words[::2], words[1::2], strict=True):
        print(json.dumps({"load": load, "resume": resume}[what](folder)), flush=True)
