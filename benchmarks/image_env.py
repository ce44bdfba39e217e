"""Steps of an image environment beside gym-aloha's, at equal resolution: one JSON line a figure.

    python benchmarks/image_env.py [--quick]

Both sides step in a process of their own, in turns, with MUJOCO_GL=egl. A turn is an episode with a new seed,
its reset and first steps not timed; a figure is the median over the turns. A step is 20 ms (50 Hz) on both:

ours        8 physics steps of 2.5 ms, 4 ticks of the whole guard, one picture of the `front` camera (`fast`:
            no multisampling, no shadows) in the size asked for, passed through lens, noise and exposure;
            state, reward
gym-aloha   0.1.5, AlohaTransferCube-v0, `pixels_agent_pos`: 10 physics steps of 2 ms, three cameras at
            640x480 (multisampling 4, shadow map 4096), of which `top` is returned, always as 640x480 (its
            `observation_width` and `_height` are not used for it): scaled here where less was asked for;
            state, reward

So the first figures say what a user gets; those that follow take gym-aloha's unused cameras, and then its
picture quality, out of the comparison, and put our two-armed rig and our `faithful` profile in. "CPU" is CPU
time of all threads. Without gym-aloha's environment (benchmarks/peers/aloha_env.sh) our figures come alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _figures import emit

HERE = Path(__file__).parent
PEER = Path(os.environ.get("TWINLOOP_ALOHA_PYTHON", HERE / "peers/.venv-aloha/bin/python"))
QUICK = "--quick" in sys.argv
HZ = 50  # control rate of both
SIZES = ((640, 480), (84, 84))
TURNS = 3 if QUICK else 9
STEPS = {"ours": 50, "peer": 5 if QUICK else 10}  # a turn
WARM = 4  # untimed steps after a reset: the first picture of a camera with 30 ms latency comes in the third
TARGET = 20.0


def make_env(what: str, size: tuple[int, int]) -> Any:
    """Our environment: "fast", "faithful" or "bimanual" (fast, two arms); `size` (width, height) px."""
    from twinloop.robot.rig import load_rig
    from twinloop.sim.env import TwinEnv
    from twinloop.sim.render import Renderer

    rig = load_rig("so101_bimanual" if what == "bimanual" else "so101")
    cameras = {name: replace(camera, fps=HZ) for name, camera in rig.cameras.items()}
    env = TwinEnv("lift", replace(rig, control_hz=HZ, cameras=cameras), cameras=("front",), size=size)
    if what == "faithful":
        env._world.close()
        env._world.renderer = Renderer(env._world.scene.model, "faithful")
    return env


class Side:
    def __init__(self, what: str, width: int, height: int) -> None:
        self.env = make_env(what, (width, height))
        self.pictures = 0
        renderer = self.env._world.renderer
        render = renderer.render

        def counted(*arguments: Any) -> None:
            self.pictures += 1
            render(*arguments)

        renderer.render = counted

    def run(self, steps: int, seed: int) -> dict[str, float]:
        env = self.env
        obs, _ = env.reset(seed=seed)
        size = env.action_space.shape[0]
        for _ in range(WARM):
            env.step(np.zeros(size))
        self.pictures = 0
        start_cpu, start = time.process_time(), time.perf_counter()
        for k in range(steps):
            obs, *_ = env.step(np.full(size, 0.1 * np.cos(0.1 * k)))
        wall_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
        picture = obs["images/front"]
        assert picture.shape == env.observation_space["images/front"].shape and picture.std() > 1
        return {"wall_s": wall_s, "cpu_s": cpu_s, "pictures": self.pictures}


def answer() -> None:
    """Our side's process: see benchmarks/peers/aloha_image.py, which speaks the same."""
    sides: dict[tuple[str, int, int], Side] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        key = (asked["what"], asked["width"], asked["height"])
        if key not in sides:
            sides[key] = Side(*key)
        print(json.dumps(sides[key].run(asked["steps"], asked["seed"])), flush=True)


class Process:
    """One side; `ask` runs a turn in it."""

    def __init__(self, *command: str) -> None:
        environment = {**os.environ, "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, what: str, size: tuple[int, int], steps: int, seed: int) -> dict[str, float]:
        """Wall seconds, CPU seconds and rendered pictures, each of one step."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"what": what, "width": size[0], "height": size[1], "steps": steps, "seed": seed}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"image_env: the process for '{what}' ended; its message is above")
        return {key: value / steps for key, value in json.loads(line).items()}

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def main() -> None:
    ours = Process(sys.executable, __file__, "answer")
    peer = Process(str(PEER), str(HERE / "peers/aloha_image.py")) if PEER.exists() else None
    if peer is None:
        print(
            "image_env: gym-aloha is absent, no ratios; benchmarks/peers/aloha_env.sh makes it",
            file=sys.stderr,
        )
    for size in SIZES:
        turns: dict[tuple[str, str], list[dict[str, float]]] = {}
        for turn in range(-1, TURNS):  # turn -1 warms up
            for side, process, kinds in (
                ("ours", ours, ("fast", "bimanual", "faithful")),
                ("peer", peer, ("shipped", "one_camera", "same_quality")),
            ):
                for what in kinds if process is not None else ():
                    assert process is not None
                    steps = STEPS[side] if turn >= 0 else 2
                    found = process.ask(what, size, steps, seed=turn + 1)
                    if turn >= 0:
                        turns.setdefault((side, what), []).append(found)
        report(f"{size[0]}x{size[1]}", turns)
    for process in (ours, peer):
        if process is not None:
            process.close()


def report(size: str, turns: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    def middle(values: list[float]) -> float:
        return statistics.median(values)

    def ratio(mine: str, its: str, key: str, per_picture: bool = False) -> float:
        pairs = zip(turns["ours", mine], turns["peer", its], strict=True)
        each = [b[key] / a[key] * (a["pictures"] / b["pictures"] if per_picture else 1.0) for a, b in pairs]
        return round(middle(each), 2)

    for (side, what), found in turns.items():
        emit(
            f"{size}: {'ours' if side == 'ours' else 'gym-aloha'}, {what}",
            round(1 / middle([one["wall_s"] for one in found]), 2),
            "steps/s",
            cpu_ms=round(1e3 * middle([one["cpu_s"] for one in found]), 3),
            pictures_per_step=round(middle([one["pictures"] for one in found]), 2),
        )
    if ("peer", "shipped") not in turns:
        return
    for key, shown in (("wall_s", "wall"), ("cpu_s", "CPU")):
        value = ratio("fast", "shipped", key)
        emit(f"{size}: ours over gym-aloha as shipped, {shown}", value, "ratio", at_least=TARGET)
    for name, mine, its, per_picture in (
        ("a rendered picture, as shipped", "fast", "shipped", True),
        ("gym-aloha rendering `top` alone, in this size", "fast", "one_camera", False),
        ("the same without multisampling and shadows", "fast", "same_quality", False),
        ("our two arms, gym-aloha as shipped", "bimanual", "shipped", False),
        ("our `faithful` (shadows), gym-aloha as shipped", "faithful", "shipped", False),
    ):
        value = ratio(mine, its, "cpu_s", per_picture)
        emit(f"{size}: {name}, CPU", value, "ratio", wall=ratio(mine, its, "wall_s", per_picture))


if __name__ == "__main__":
    if "answer" in sys.argv:
        answer()
    else:
        main()
