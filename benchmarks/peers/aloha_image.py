"""gym-aloha's side of benchmarks/image_env.py; runs in its own environment (aloha_env.sh).

Answers each JSON line on stdin (`what`, `width`, `height` in px, `steps`, `seed`) by one on stdout: `wall_s`
and `cpu_s` of the steps alone (no reset) and `pictures`, the number rendered. `what`:

shipped       as installed: three cameras at 640x480 each step, of which `top` is returned, in that size
              whatever was asked for; scaled to the size asked for here, inside the timing
one_camera    patched: `top` alone, rendered in the size asked for
same_quality  patched: one_camera without multisampling, shadows and reflections, as our `fast` profile
"""

import collections
import json
import sys
import time

import cv2
import gym_aloha  # noqa: F401  (registers its environments)
import gymnasium
import numpy as np
from gym_aloha.constants import START_ARM_POSE

HOME = np.array([*START_ARM_POSE[:6], 1.0, *START_ARM_POSE[:6], 1.0])  # absolute angles, rad; 1 = jaw open

WARM = 4  # steps before the timing, as on our side


class Side:
    def __init__(self, what: str, width: int, height: int) -> None:
        self.size = (width, height)
        # The checker would warn at each step that the picture has not the size of the space.
        self.env = gymnasium.make(
            "gym_aloha/AlohaTransferCube-v0",
            obs_type="pixels_agent_pos",
            observation_width=width,
            observation_height=height,
            disable_env_checker=True,
        )
        inner = self.env.unwrapped._env
        self.physics, task = inner.physics, inner.task
        self.pictures = 0
        render = self.physics.render
        flags = {"shadow": False, "reflection": False} if what == "same_quality" else None
        if what == "same_quality":
            self.physics.model.vis.quality.offsamples = 0  # read when the first picture makes the context

        def counted(**options):
            self.pictures += 1
            return render(**options, render_flag_overrides=flags)

        def observe_top(physics):
            found = collections.OrderedDict()
            found["qpos"], found["qvel"] = task.get_qpos(physics), task.get_qvel(physics)
            found["env_state"] = task.get_env_state(physics)
            found["images"] = {"top": counted(height=height, width=width, camera_id="top")}
            return found

        if what == "shipped":
            self.physics.render = counted
        else:
            task.get_observation = observe_top

    def run(self, steps: int, seed: int) -> dict:
        self.env.reset(seed=seed)
        for _ in range(WARM):
            self.env.step(HOME)
        self.pictures = 0
        start_cpu, start = time.process_time(), time.perf_counter()
        for k in range(steps):
            obs, *_ = self.env.step(HOME + 0.1 * np.sin(0.1 * k))
            picture = obs["pixels"]["top"]
            if picture.shape[1::-1] != self.size:
                picture = cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA)
        wall_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
        assert picture.shape == (self.size[1], self.size[0], 3) and picture.std() > 1
        return {"wall_s": wall_s, "cpu_s": cpu_s, "pictures": self.pictures}


def main() -> None:
    sides: dict[tuple, Side] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        key = (asked["what"], asked["width"], asked["height"])
        side = sides.get(key) or sides.setdefault(key, Side(*key))
        print(json.dumps(side.run(asked["steps"], asked["seed"])), flush=True)


if __name__ == "__main__":
    main()
