"""A task that is learnt in seconds: a planar arm whose tip follows to a dot that only the picture shows.

The rig has the joints of the SO-101, of which the task uses two as plain x and y; the "camera" draws the tip
as a green dot and the goal as a red one among grey clutter. An expert goes straight to the goal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from twinloop.policies.samples import Samples
from twinloop.robot.rig import Rig
from twinloop.robot.types import F32, U8

SIZE = 32  # px
FPS = 30.0
STEP = 0.08  # rad a row
NAMES = ("pan.pos", "lift.pos", "gripper.pos")


@dataclass(slots=True)
class Dots:
    """The world: tip (x, y), gripper width, goal (x, y), all within -1..1 but the width (0..0.07 m)."""

    tip: F32
    goal: F32
    rng: np.random.Generator
    width: float = 0.07

    @classmethod
    def new(cls, seed: int) -> Dots:
        rng = np.random.default_rng(seed)
        tip, goal = rng.uniform(-0.9, 0.9, (2, 2)).astype(np.float32)
        return cls(tip, goal, rng)

    @property
    def state(self) -> F32:
        return np.array([*self.tip, self.width], np.float32)

    def expert(self) -> F32:
        """Joint goals: a step towards the goal; the gripper closes near it."""
        way = self.goal - self.tip
        far = float(np.linalg.norm(way))
        tip = self.tip + way * np.float32(min(1.0, STEP / max(far, 1e-6)))
        return np.array([*tip, 0.01 if far < 0.1 else 0.07], np.float32)

    def step(self, action: F32, noise: float = 0.0) -> None:
        """The servos reach 80 % of the way."""
        self.tip = self.tip + np.float32(0.8) * (action[:2] - self.tip)
        if noise:
            self.tip = self.tip + self.rng.normal(0, noise, 2).astype(np.float32)
        self.width += 0.5 * (float(action[2]) - self.width)

    def success(self) -> bool:
        return float(np.linalg.norm(self.goal - self.tip)) < 0.1 and self.width < 0.03

    def picture(self) -> U8:
        """(SIZE, SIZE, 3)."""
        image = np.full((SIZE, SIZE, 3), 90, np.float32)
        y, x = np.mgrid[0:SIZE, 0:SIZE]
        for (px, py), colour in ((self.tip, (40, 220, 60)), (self.goal, (230, 40, 40))):
            cx, cy = ((v + 1) / 2 * (SIZE - 1) for v in (px, py))
            image[(x - cx) ** 2 + (y - cy) ** 2 < 2.6**2] = colour
        return np.clip(image + self.rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def demonstrations(episodes: int, pictures: bool = False, goal_in_state: bool = False) -> Samples:
    """`episodes` of the expert with noise injected."""
    rows: dict[str, list[np.ndarray]] = {"state": [], "action": [], "episode": [], "goal": [], "image": []}
    for episode in range(episodes):
        world = Dots.new(episode)
        for _ in range(40):
            action = world.expert()
            extra = world.goal if goal_in_state else np.zeros(0, np.float32)
            rows["state"].append(np.concatenate([world.state, extra]))
            rows["action"].append(action)
            rows["episode"].append(np.array(episode))
            rows["goal"].append(world.goal)
            if pictures:
                rows["image"].append(world.picture())
            world.step(action, noise=0.03)
    return Samples(
        state=np.array(rows["state"], np.float32),
        action=np.array(rows["action"], np.float32),
        episode=np.array(rows["episode"], np.int64),
        images={"front": np.array(rows["image"])} if pictures else {},
        aux=np.array(rows["goal"], np.float32) if pictures else None,
        state_names=(*NAMES, "goal.x", "goal.y") if goal_in_state else NAMES,
        action_names=NAMES,
        aux_names=("goal.x", "goal.y") if pictures else (),
        fps=FPS,
        rig="dots",
        rig_hash="0123456789ab",
    )


def random_rows(rig: Rig, episodes: int = 6, length: int = 20) -> Samples:
    """Rows with the names of `rig`, two small cameras in the shape of the rig's and one object's position."""
    rng = np.random.default_rng(0)
    n = episodes * length
    names = rig.state_names()
    state = rng.uniform(-0.5, 0.5, (n, len(names))).astype(np.float32)
    return Samples(
        state=state,
        action=state + rng.normal(0, 0.05, state.shape).astype(np.float32),
        episode=np.repeat(np.arange(episodes), length),
        images={camera: rng.integers(0, 255, (n, 24, 32, 3)).astype(np.uint8) for camera in rig.cameras},
        aux=rng.normal(size=(n, 3)).astype(np.float32),
        state_names=names,
        action_names=names,
        aux_names=("cube.x", "cube.y", "cube.z"),
        fps=rig.control_hz,
        rig=rig.name,
        rig_hash=rig.hash(),
        recorded={name: (camera.height, camera.width) for name, camera in rig.cameras.items()},
    )
