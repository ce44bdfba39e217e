"""Many twins at once: a vectorised gymnasium environment on MuJoCo's batch API.

Physics runs in C on `nthread` threads; a step of the environment is one call. Every simulation has its own
draw of the randomisation, its own delays, and the guard's joint limits through the very filter that the
guard uses (`LimitFilter` with N environments). What the batch leaves out is the guard's look-ahead for table
and self-collision: train here, and evaluate behind the whole guard.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from mujoco import batch

from ..robot.errors import DeviceError, UsageError
from ..robot.guard.filter import LimitFilter
from ..robot.rig import Rig, load_rig
from ..robot.types import F64
from .env import DELTA_RAD
from .scene import prefix
from .servo import to_counts
from .twin import Twin
from .world import World, open_world

_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
_WARNING = mujoco.mjtWarning
_UNSTABLE = [int(w) for w in (_WARNING.mjWARN_BADQPOS, _WARNING.mjWARN_BADQVEL, _WARNING.mjWARN_BADQACC)]


class BatchView:
    """`View` of all simulations of a batch; arrays have a leading axis (N, ...) and are live."""

    def __init__(self, world: World, sims: batch.Batch) -> None:
        self._model = world.scene.model
        self._arm = next(iter(world.scene.arms))
        self._xpos, self._xquat = sims.bind("xpos"), sims.bind("xquat")
        self._sites, self._qvel, self._qpos = sims.bind("site_xpos"), sims.bind("qvel"), sims.bind("qpos")
        index = next(iter(world.scene.grippers.values()), None)
        self._jaw = None if index is None else np.concatenate([index.qpos, index.play_qpos])
        self._description = world.scene.descriptions[self._arm]
        self._ids: dict[str, int] = {}  # looking a name up takes as long as a predicate's arithmetic

    def pos(self, body: str) -> F64:
        return self._xpos[:, self._body(body)]

    def quat(self, body: str) -> F64:
        return self._xquat[:, self._body(body)]

    def speed(self, body: str) -> F64:
        address = int(self._model.body_dofadr[self._body(body)])
        return np.linalg.norm(self._qvel[:, address : address + 3], axis=1)

    def site(self, site: str) -> F64:
        key = f"site {site}"
        if key not in self._ids:
            self._ids[key] = self._model.site(prefix(self._arm) + site).id
        return self._sites[:, self._ids[key]]

    def width(self) -> F64:
        if self._jaw is None:
            return np.zeros(len(self._qpos))
        return np.asarray(self._description.angle_to_width(self._qpos[:, self._jaw].sum(axis=1)))

    def _body(self, name: str) -> int:
        if name not in self._ids:
            self._ids[name] = self._model.body(name).id
        return self._ids[name]


class TwinVectorEnv(VectorEnv[dict[str, Any], F64, F64]):
    """`num_envs` twins of one task, without cameras; observations and actions as in `TwinEnv`.

    `control_hz` must divide the guard's rate (200 Hz for the SO-101). An environment that ended is
    started anew in the next step, whose action it ignores: no time passes in it (`AutoresetMode.NEXT_STEP`).
    With a NaN in any other action, `step` raises `UsageError` and moves none of them.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 64,
        task: str = "reach",
        rig: str | Rig = "so101",
        control_hz: float = 50.0,
        randomize: tuple[str, ...] | None = ("dynamics", "servo", "sensing"),
        sparse: bool = False,
        nthread: int = 1,
    ) -> None:
        loaded = load_rig(rig) if isinstance(rig, str) else rig
        for name, value in (("num_envs", num_envs), ("nthread", nthread)):
            if value < 1:
                raise UsageError(f"{name} {value}: must be 1 or more")
        self.num_envs = num_envs
        self._world = open_world(loaded, task, cameras=(), randomize=randomize)
        self._sparse = sparse
        scene = self._world.scene
        rate = loaded.guard.rate_hz
        self._ticks = round(rate / control_hz) if 0 < control_hz <= rate else 0  # NaN is neither
        if not self._ticks or abs(self._ticks * control_hz - rate) > 1e-6:
            raise UsageError(
                f"control_hz {control_hz} must be above 0 and divide the guard's rate of {rate} Hz"
            )
        self._substeps = round(1.0 / (rate * scene.model.opt.timestep))
        self._horizon = round(self._world.task.horizon_s * control_hz)
        self._delta = DELTA_RAD * 30.0 / control_hz
        self._index_joints(loaded, 1.0 / rate)
        self._sims = batch.Batch(scene.model, nsim=num_envs, nthread=nthread)
        self._sensed = self._sims.bind("sensordata")
        self._read = np.zeros(self._sensed.shape)  # sensor data of the observation
        self._view = BatchView(self._world, self._sims)
        n = self._n
        size = self._width.size + n + n
        self.single_observation_space = spaces.Dict(
            {
                "state": spaces.Box(-np.inf, np.inf, (size,), np.float32),
                "objects": spaces.Box(-np.inf, np.inf, (3 * len(self._world.task.bodies),), np.float32),
            }
        )
        self.single_action_space = spaces.Box(-1.0, 1.0, (n + self._width.size,), np.float32)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self._age = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.zeros(num_envs, dtype=bool)
        self._bias = np.zeros((num_envs, n + self._width.size))
        self._control = np.zeros((num_envs, self._ticks * self._substeps, scene.model.nu))
        self._record = np.zeros((*self._control.shape[:2], scene.model.nsensordata))
        self.draws: list[Any] = [None] * num_envs

    def _index_joints(self, rig: Rig, dt_s: float) -> None:
        """Addresses of all joints, arms first, then grippers; and the filter over their limits."""
        scene = self._world.scene
        specs = [rig.joint_spec(name) for name in scene.arms]
        indices = [*scene.arms.values(), *scene.grippers.values()]
        self._n = sum(spec.n for spec in specs)
        self._width = np.arange(self._n, self._n + len(scene.grippers))
        self._q = np.concatenate([i.sense_q for i in indices])
        self._play = np.concatenate([i.sense_play for i in indices])
        self._dq = np.concatenate([i.sense_dq for i in indices])
        self._actuators = np.concatenate([i.actuator for i in indices])
        motors = [scene.servos[name] for i in indices for name in i.names]
        self._step_size = np.array([motor.step for motor in motors])  # of the encoders, rad or m
        self._jaws = [scene.descriptions[rig.grippers[name].arm] for name in scene.grippers]
        grippers = [rig.grippers[name] for name in scene.grippers]
        self._low = np.concatenate([*[s.q_min for s in specs], np.zeros(len(grippers))])
        self._high = np.concatenate(
            [*[s.q_max for s in specs], np.array([j.gripper_width_max_m for j in self._jaws])]
        )
        self._filter = LimitFilter(
            q_min=self._low,
            q_max=self._high,
            dq_max=np.concatenate([*[s.dq_max for s in specs], [g.speed_m_s for g in grippers]]),
            ddq_max=np.concatenate([*[s.ddq_max for s in specs], [g.acceleration_m_s2 for g in grippers]]),
            dddq_max=np.concatenate([*[s.dddq_max for s in specs], [g.jerk_m_s3 for g in grippers]]),
            dt_s=dt_s,
            n_envs=self.num_envs,
        )
        self._goal = np.zeros((self.num_envs, self._low.size))
        self._seen = np.zeros((self.num_envs, self._n))  # joint angles of the last observation, rad

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start all environments; environment k draws its episodes from `seed + k` on."""
        super().reset(seed=seed if isinstance(seed, int) else None)
        if isinstance(seed, list):
            seeds = [int(self.np_random.integers(2**31)) if s is None else s for s in seed]
        elif seed is None:
            seeds = [int(s) for s in self.np_random.integers(2**31, size=self.num_envs)]
        else:
            seeds = [seed + k for k in range(self.num_envs)]
        self._start(np.arange(self.num_envs), seeds)
        return self._observe(), {"success": np.zeros(self.num_envs, dtype=bool)}

    def step(self, actions: F64) -> tuple[dict[str, Any], F64, Any, Any, dict[str, Any]]:
        if self.draws[0] is None:
            raise UsageError("step() before reset(): call reset() first, it draws the episodes")
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape != self.action_space.shape:
            raise UsageError(
                f"actions of shape {actions.shape}: must be {self.action_space.shape}; nothing moved"
            )
        actions = np.clip(actions, -1.0, 1.0)
        bad = np.isnan(actions).any(axis=1) & ~self._ended
        if bad.any():
            raise UsageError(
                f"NaN in the actions of environments {np.flatnonzero(bad).tolist()}; nothing moved"
            )
        fresh = self._ended.copy()
        if fresh.any():
            which = np.flatnonzero(fresh)
            self._start(which, [int(s) for s in self.np_random.integers(2**31, size=which.size)])
        n = self._n
        goal = self._goal
        moved = np.clip(goal[:, :n] + self._delta * actions[:, :n], self._low[:n], self._high[:n])
        # The goal may not run away from an arm that is blocked or limited.
        moved = np.clip(moved, self._seen - 0.5, self._seen + 0.5)
        goal[:, :n] = np.where(fresh[:, None], goal[:, :n], moved)
        asked = self._low[n:] + (actions[:, n:] + 1) / 2 * (self._high[n:] - self._low[n:])
        goal[:, n:] = np.where(fresh[:, None], goal[:, n:], asked)
        self._write(np.array([self._filter.step(goal) for _ in range(self._ticks)]))
        self._advance(np.flatnonzero(~fresh) if fresh.any() else None)
        self._age = np.where(fresh, 0, self._age + 1)
        success = np.asarray(self._world.task.success(self._view)) & ~fresh
        reward = (
            success.astype(np.float64) if self._sparse else np.asarray(self._world.task.reward(self._view))
        )
        late = (self._age >= self._horizon) & ~success
        self._ended = success | late
        return self._observe(), np.where(fresh, 0.0, reward), success, late, {"success": success}

    def close_extras(self, **kwargs: Any) -> None:
        self._world.close()

    def _write(self, sent: F64) -> None:
        """Put the commands of all guard ticks (ticks, N, n) into the controls, as counts of the encoders."""
        for k, jaw in zip(self._width, self._jaws, strict=True):
            sent[..., k] = jaw.width_to_angle(sent[..., k])
        counts = (to_counts(sent, self._step_size) + self._bias).swapaxes(0, 1)
        self._control[:, :, self._actuators] = np.repeat(counts, self._substeps, axis=1)

    def _advance(self, which: Any) -> None:
        """Run physics for one step in the simulations `which` (None = all).

        What is observed is what the guard's last tick read, before it sent its command, as in `TwinEnv`.
        """
        rows = slice(None) if which is None else which
        before = (self._ticks - 1) * self._substeps
        if before == 0:
            self._read[rows] = self._sensed[rows]
        nstep = self._ticks * self._substeps
        out = {"sensordata": self._record[rows]}  # made once: 1 % of a step otherwise
        self._sims.rollout(nstep, self._control[rows], record=("sensordata",), ids=which, out=out)
        unstable = self._sims.warning[:, _UNSTABLE, 1].any(axis=1)
        if unstable.any():  # MuJoCo has put them back to the model's defaults: no state of theirs is true
            raise DeviceError(
                f"the physics of environments {np.flatnonzero(unstable).tolist()} became unstable; "
                "lower sim timestep or check the masses and gains of your description; reset() starts anew"
            )
        if before:
            self._read[rows] = out["sensordata"][:, before - 1]

    def _start(self, which: Any, seeds: list[int]) -> None:
        """Draw and place episodes `seeds` in the simulations `which`."""
        world, scene = self._world, self._world.scene
        draws = [world.randomizer.draw(seed) for seed in seeds]
        world.randomizer.apply_batch(scene, self._sims, draws, list(map(int, which)))
        state = np.zeros(mujoco.mj_stateSize(scene.model, _STATE))
        first = np.zeros_like(self._goal)
        for row, draw in zip(which, draws, strict=True):
            world.randomizer.apply(scene, draw)
            twin = Twin(scene, draw)
            world.task.place(twin, draw)
            mujoco.mj_getState(scene.model, twin.data, state, _STATE)
            self._sims.state[row] = state
            self.draws[row] = draw
            groups = [*twin.arms.values(), *twin.grippers.values()]
            self._bias[row] = np.concatenate([group.servos.bias_rad for group in groups])
            present = np.concatenate([group.servos.present() for group in groups])
            for k, jaw in zip(self._width, self._jaws, strict=True):
                present[k] = jaw.angle_to_width(present[k])
            first[row] = np.clip(present, self._low, self._high)
        chosen = np.zeros(self.num_envs, dtype=bool)
        chosen[which] = True
        self._filter.reset(first, chosen)
        self._sims.warning[which] = 0
        self._sims.forward(which)
        self._read[which] = self._sensed[which]
        self._goal[which] = first[which]
        self._age[which] = 0
        self._ended[which] = False

    def _observe(self) -> dict[str, Any]:
        sensed = self._read
        q = sensed[:, self._q]
        if self._play.size:
            q = q + sensed[:, self._play]
        q = to_counts(q - self._bias, self._step_size)
        for k, jaw in zip(self._width, self._jaws, strict=True):
            q[:, k] = np.maximum(0.0, jaw.angle_to_width(q[:, k]))
        self._seen = q[:, : self._n]
        dq = to_counts(sensed[:, self._dq[: self._n]], self._step_size[: self._n])
        objects = [self._view.pos(body) for body in self._world.task.bodies]
        return {
            "state": np.concatenate([q, dq], axis=1).astype(np.float32),
            "objects": np.concatenate(objects, axis=1).astype(np.float32),
        }
