"""The twin as a gymnasium environment, with the whole guard between action and motors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ..robot.errors import UsageError
from ..robot.rig import Rig, load_rig
from ..robot.types import F64, ActionChunk, Observation
from .tasks import TwinView
from .twin import TwinRobot
from .world import World, open_world

DELTA_RAD = 0.12  # joint motion asked for by an action of 1, rad a step at 30 Hz (3.6 rad/s)


class TwinEnv(gymnasium.Env[dict[str, Any], Any]):
    """One task of one rig.

    Observation: `state` (S,) float32: joint angles (rad) and widths (m) as in `Rig.state_names`, then joint
    speeds (rad/s); `objects` (3K,) float32: true positions of the task's bodies in W, m (leave it out of a
    policy that shall run on hardware); `images/<camera>` (h, w, 3) uint8 for each camera.
    Action (n + g,) in [-1, 1]: change of each joint's goal, in `DELTA_RAD` a step at 30 Hz, then each
    gripper's width from closed (-1) to open (1); values beyond are clipped, and a NaN raises `UsageError`
    before anything moves. Reward: the task's dense reward, or 1 on success with
    `sparse`. `info`: `success`, `limits` (guard ticks in which each limit acted), `draw` (on reset).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(
        self,
        task: str = "reach",
        rig: str | Rig = "so101",
        cameras: Sequence[str] = (),
        size: tuple[int, int] | None = (96, 96),
        randomize: Sequence[str] | None = None,
        sparse: bool = False,
        render_mode: str | None = None,
    ) -> None:
        loaded = load_rig(rig) if isinstance(rig, str) else rig
        self.render_mode = render_mode
        wanted = tuple(cameras) or (tuple(loaded.cameras)[:1] if render_mode else ())
        self._images = tuple(cameras)
        self._world: World = open_world(loaded, task, cameras=wanted, size=size, randomize=randomize)
        self._sparse = sparse
        self._robot: TwinRobot | None = None
        self._obs: Observation | None = None
        self._goal: dict[str, F64] = {}
        self._deadline = 0
        rig_now = self._world.rig
        self._period = round(1e9 / rig_now.control_hz)
        self._delta = DELTA_RAD * 30.0 / rig_now.control_hz
        self._specs = {name: rig_now.joint_spec(name) for name in rig_now.arms}
        names = rig_now.state_names()
        n = sum(spec.n for spec in self._specs.values())
        size_state = len(names) + n
        high = np.full(size_state, np.inf, np.float32)
        boxes: dict[str, spaces.Space[Any]] = {
            "state": spaces.Box(-high, high),
            "objects": spaces.Box(-np.inf, np.inf, (3 * len(self._world.task.bodies),), np.float32),
        }
        for camera in self._images:
            config = rig_now.cameras[camera]
            boxes[f"images/{camera}"] = spaces.Box(0, 255, (config.height, config.width, 3), np.uint8)
        self.observation_space = spaces.Dict(boxes)
        self.action_space = spaces.Box(-1.0, 1.0, (len(names),), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start the episode that `seed` draws; without a seed, the next of the env's own stream."""
        super().reset(seed=seed)
        episode = int(self.np_random.integers(2**31)) if seed is None else seed
        if self._robot is not None:
            self._robot.release()
        robot, draw = self._world.start(episode)
        robot.open()
        self._robot = robot
        self._deadline = robot.clock.now()
        self._obs = robot.observe()
        self._goal = {name: np.array(arm.q) for name, arm in self._obs.arms.items()}
        return self._observe(), {"draw": dict(draw), "success": False, "seed": episode}

    def step(self, action: F64) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        robot, obs = self._robot, self._obs
        if robot is None or obs is None:
            raise UsageError("step() before reset(): call reset() first, it draws the episode")
        action = np.asarray(action, dtype=np.float64)
        if action.shape != self.action_space.shape:
            raise UsageError(
                f"action of shape {action.shape}: must be {self.action_space.shape}; nothing moved"
            )
        action = np.clip(action, -1.0, 1.0)
        if np.isnan(action).any():
            raise UsageError(f"action {action} holds NaN; nothing moved")
        at, q, widths = 0, {}, {}
        for name, spec in self._specs.items():
            goal = np.clip(self._goal[name] + self._delta * action[at : at + spec.n], spec.q_min, spec.q_max)
            # The goal may not run away from an arm that is blocked or limited.
            goal = np.clip(goal, obs.arms[name].q - 0.5, obs.arms[name].q + 0.5)
            self._goal[name] = goal
            q[name] = goal[None]
            at += spec.n
        for name, gripper in robot.twin.grippers.items():
            spec_g = gripper.spec
            share = (action[at] + 1) / 2
            widths[name] = np.array([spec_g.width_min + share * (spec_g.width_max - spec_g.width_min)])
            at += 1
        now = obs.t_ns
        applied = robot.apply(ActionChunk(now, self._period, q, widths, now + 3 * self._period, "policy"))
        self._deadline += self._period
        robot.clock.sleep_until(self._deadline)
        self._obs = robot.observe()
        view = TwinView(robot.twin)
        success = bool(self._world.task.success(view))
        reward = float(success) if self._sparse else float(self._world.task.reward(view))
        late = robot.clock.now() >= self._world.task.horizon_s * 1e9
        info = {"success": success, "limits": dict(applied.limits)}
        return self._observe(), reward, success, late and not success, info

    def render(self) -> Any:
        """The first camera's picture, (h, w, 3) uint8."""
        if self.render_mode is None or self._obs is None or not self._world.cameras:
            return None
        assert self._robot is not None
        return np.asarray(self._robot.observe().frames[self._world.cameras[0]].rgb)

    def close(self) -> None:
        if self._robot is not None:
            self._robot.release()
            self._robot = None
        self._world.close()

    def _observe(self) -> dict[str, Any]:
        assert self._obs is not None and self._robot is not None
        obs = self._obs
        parts = [arm.q for arm in obs.arms.values()]
        parts += [np.array([gripper.width_m]) for gripper in obs.grippers.values()]
        parts += [arm.dq for arm in obs.arms.values()]
        view = TwinView(self._robot.twin)
        objects = [view.pos(body) for body in self._world.task.bodies]
        out: dict[str, Any] = {
            "state": np.concatenate(parts).astype(np.float32),
            "objects": np.concatenate(objects).astype(np.float32),
        }
        for camera in self._images:
            out[f"images/{camera}"] = np.array(obs.frames[camera].rgb)
        return out
