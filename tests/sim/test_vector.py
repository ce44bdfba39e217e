"""The vector environment is many twins: same physics, same limits as the guard's, worlds apart from each other."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from twinloop.robot.errors import DeviceError, UsageError
from twinloop.robot.guard import LimitFilter
from twinloop.robot.rig import load_rig
from twinloop.sim.env import DELTA_RAD, TwinEnv
from twinloop.sim.tasks import TwinView
from twinloop.sim.vector import TwinVectorEnv
from twinloop.sim.world import open_world

STATE = mujoco.mjtState.mjSTATE_INTEGRATION  # with delay lines, warm start, controls and time
GROUPS = ("dynamics", "servo", "sensing")
TICK_NS = 5_000_000
DT = 0.005
RIGS = ("so101", "so101_bimanual")


def limits_of(rig):
    """Limits of all joints, arms first, then grippers in metres; keywords of `LimitFilter`."""
    specs = [rig.joint_spec(name) for name in rig.arms]
    world = open_world(rig, "reach", cameras=())
    widths = [world.scene.descriptions[g.arm].gripper_width_max_m for g in rig.grippers.values()]
    grippers = rig.grippers.values()
    return {
        "q_min": np.concatenate([*[s.q_min for s in specs], [0.0] * len(widths)]),
        "q_max": np.concatenate([*[s.q_max for s in specs], widths]),
        "dq_max": np.concatenate([*[s.dq_max for s in specs], [g.speed_m_s for g in grippers]]),
        "ddq_max": np.concatenate([*[s.ddq_max for s in specs], [g.acceleration_m_s2 for g in grippers]]),
        "dddq_max": np.concatenate([*[s.dddq_max for s in specs], [g.jerk_m_s3 for g in grippers]]),
    }


def hostile(rng, steps, shape):
    """Actions that jump between the extremes, stay there for a while, tremble, and are far out of range."""
    action = np.zeros(shape)
    for _ in range(steps):
        kind = rng.integers(0, 6, shape[:1] + (1,))
        action = np.where(kind == 0, rng.choice([-1.0, 1.0], shape), action)
        action = np.where(kind == 1, rng.uniform(-1, 1, shape), action)
        action = np.where(kind == 2, -action, action)
        action = np.where(kind == 3, rng.choice([-1e300, 1e300, -np.inf, np.inf], shape), action)
        yield action


def state_of(model, data):
    state = np.zeros(mujoco.mj_stateSize(model, STATE))
    mujoco.mj_getState(model, data, state, STATE)
    return state


class OneTwin:
    """One world as the documents tell it: a twin, its devices, and the guard's own filter, tick by tick."""

    def __init__(self, rig, task, control_hz, draw):
        self.world = open_world(rig, task, cameras=(), randomize=GROUPS)
        self.twin = self.world.start_from(draw)[0].twin
        self.delta = DELTA_RAD * 30.0 / control_hz
        self.ticks = round(200 / control_hz)
        limits = limits_of(rig)
        self.low, self.high = limits["q_min"], limits["q_max"]
        self.arms, self.grippers = list(self.twin.arms.values()), list(self.twin.grippers.values())
        self.n = sum(arm.spec.n for arm in self.arms)
        self.filter = LimitFilter(**limits, dt_s=DT)
        self.read()
        self.goal = np.clip(self.measured, self.low, self.high)
        self.filter.reset(self.goal)

    def read(self):
        arms = [arm.read() for arm in self.arms]
        self.measured = np.concatenate([*[a.q for a in arms], [g.read().width_m for g in self.grippers]])
        self.state = np.concatenate([self.measured, *[a.dq for a in arms]]).astype(np.float32)

    def step(self, action):
        action, n = np.clip(action, -1, 1), self.n
        goal = np.clip(self.goal[:n] + self.delta * action[:n], self.low[:n], self.high[:n])
        self.goal[:n] = np.clip(goal, self.measured[:n] - 0.5, self.measured[:n] + 0.5)
        self.goal[n:] = self.low[n:] + (action[n:] + 1) / 2 * (self.high[n:] - self.low[n:])
        for _ in range(self.ticks):
            self.read()
            sent, at = self.filter.step(self.goal[None])[0], 0
            for arm in self.arms:
                arm.command(sent[at : at + arm.spec.n])
                at += arm.spec.n
            for gripper, width in zip(self.grippers, sent[n:], strict=True):
                gripper.command(float(width))
            self.twin.clock.sleep_until(self.twin.clock.now() + TICK_NS)


@pytest.mark.parametrize(
    ("rig", "task", "control_hz"),
    [("so101", "pick_place", 50.0), ("so101", "lift", 200.0), ("so101_bimanual", "reach", 40.0)],
)
def test_each_world_is_the_single_twin_of_its_draw_bit_for_bit(rig, task, control_hz):
    """Exact: joints do not meet in the filter, and a batch's physics are those of a loop over its worlds."""
    rig = load_rig(rig)
    env = TwinVectorEnv(3, task, rig, control_hz, GROUPS)
    seen, _ = env.reset(seed=[5, 6, 7])
    twins = [OneTwin(rig, task, control_hz, draw) for draw in env.draws]
    assert len({str(draw) for draw in env.draws}) == 3
    views = [TwinView(one.twin) for one in twins]
    for k, one in enumerate(twins):
        assert np.array_equal(seen["state"][k], one.state)
    shape = env.action_space.shape
    assert shape == (3, one.n + len(one.grippers))
    for action in hostile(np.random.default_rng(2), 60, shape):
        seen, reward, success, _, _ = env.step(action)
        for k, (one, view) in enumerate(zip(twins, views, strict=True)):
            one.step(action[k])
            assert np.array_equal(env._sims.state[k], state_of(one.twin.model, one.twin.data))
            assert np.array_equal(seen["state"][k], one.state)
            objects = np.concatenate([view.pos(body) for body in one.world.task.bodies])
            assert np.array_equal(seen["objects"][k], objects.astype(np.float32))
            assert reward[k] == pytest.approx(float(one.world.task.reward(view)), abs=1e-12)
            assert success[k] == one.world.task.success(view)
            assert env._view.width()[k] == pytest.approx(float(view.width()), abs=1e-12)
    assert not success.any(), "no episode of this test may end: the twins would not follow"
    env.close()


@pytest.mark.parametrize("name", RIGS)
def test_it_is_the_single_environment_as_long_as_the_look_ahead_has_nothing_to_do(name, monkeypatch):
    """`TwinEnv` has the whole guard; with actions that meet no table, self-collision or grip: the same bits."""
    # An arm without work rests folded, at its own least distances: as it sags there, the look-ahead has work.
    monkeypatch.setattr("twinloop.robot.guard.collision.REST_ROOM", 1.0)
    rig = replace(load_rig(name), control_hz=50)
    env, one = TwinVectorEnv(2, "reach", rig, 50.0, GROUPS), TwinEnv("reach", rig, randomize=GROUPS)
    many, _ = env.reset(seed=[8, 9])
    single, info = one.reset(seed=9)
    assert info["draw"] == env.draws[1]
    rng = np.random.default_rng(0)
    n, arm = env.single_action_space.shape[0], 5
    acted, moved = set(), many["state"][1].copy()
    for k in range(60):
        if k % 6 == 0:
            action = np.zeros(n)
            action[:arm] = rng.uniform(-1, 1, arm) * (-1) ** (k // 6) * 0.7
        many, reward, success, late, _ = env.step(np.stack([-action, action]))
        single, reward_1, success_1, late_1, info = one.step(action)
        assert np.array_equal(many["state"][1], single["state"])
        assert np.array_equal(many["objects"][1], single["objects"])
        assert (success[1], late[1]) == (success_1, late_1)
        assert reward[1] == pytest.approx(reward_1, abs=1e-12)
        acted |= {limit for limit, ticks in info["limits"].items() if ticks}
    assert "jerk" in acted and acted <= {"position", "velocity", "acceleration", "jerk"}
    assert np.abs(many["state"][1] - moved)[:arm].max() > 0.1
    env.close()
    one.close()


@pytest.mark.parametrize("name", RIGS)
def test_limits_of_the_batch_are_the_guards_and_never_exceeded(name):
    """The same bits: the filter solves joint by joint. Differences of commands may round, as in the guard."""
    rig, worlds = load_rig(name), 6
    env = TwinVectorEnv(worlds, "reach", rig, 50.0, GROUPS)
    env.reset(seed=0)
    limits = limits_of(rig)
    singles = [LimitFilter(**limits, dt_s=DT) for _ in range(worlds)]
    for single, p in zip(singles, env._filter.p.reshape(worlds, -1), strict=True):
        single.reset(p)
    step, sent, goals = env._filter.step, [env._filter.p.reshape(worlds, -1)], []

    def recorded(goal):
        goals.append(goal.copy())
        sent.append(step(goal).copy())
        return sent[-1]

    env._filter.step = recorded
    env._horizon = 10**9  # resets are another test's
    for action in hostile(np.random.default_rng(3), 400, env.action_space.shape):
        env.step(action)
        env._ended[:] = False
    commands = np.array(sent)
    for k, single in enumerate(singles):
        asked = [single.step(goal[k][None])[0] for goal in goals]
        assert np.array_equal(commands[1:, k], asked)
    low, high = limits["q_min"], limits["q_max"]
    assert (commands >= low - 1e-8).all() and (commands <= high + 1e-8).all()
    at_rest = np.repeat(commands[:1], 3, axis=0)
    rates = np.concatenate([at_rest, commands])
    for limit in ("dq_max", "ddq_max", "dddq_max"):
        rates = np.diff(rates, axis=0) / DT
        assert (np.abs(rates) <= limits[limit] * (1 + 1e-6)).all()
        assert (np.abs(rates).max(axis=(0, 1)) > 0.98 * limits[limit]).all(), f"{limit} was never met"
    assert (np.ptp(commands, axis=(0, 1)) > 0.5 * (high - low)).all()
    env.close()


def test_single_filters_are_a_batch_of_them_whatever_is_asked():
    """Targets far outside the range, a start outside of it, and worlds that come to rest while others move."""
    limits, worlds = limits_of(load_rig("so101")), 5
    low, high = limits["q_min"], limits["q_max"]
    batch = LimitFilter(**limits, dt_s=DT, n_envs=worlds)
    singles = [LimitFilter(**limits, dt_s=DT) for _ in range(worlds)]
    rng = np.random.default_rng(4)
    start = rng.uniform(low, high, (worlds, low.size))
    start[0, 0] = high[0] + 0.05
    batch.reset(start)
    for single, p in zip(singles, start, strict=True):
        single.reset(p)
    target, rested = start.copy(), 0
    for _ in range(4000):
        new = rng.random((worlds, 1)) < 0.01
        target = np.where(new, rng.uniform(low - 0.5, high + 0.5, target.shape), target)
        wild = rng.random(target.shape) < 0.2
        target = np.where(new & wild, rng.choice([-1e6, 1e6], target.shape), target)
        commands = batch.step(target)
        for k, single in enumerate(singles):
            assert np.array_equal(commands[k], single.step(target[k][None])[0])
            rested += single.at_rest and not batch.at_rest
    assert rested > 1000


def test_a_proposal_depends_on_the_state_and_what_is_asked_alone():
    """What the filter keeps from call to call for speed (limits handed to the generator) is never stale."""
    limits = limits_of(load_rig("so101"))
    low, high, fastest = limits["q_min"], limits["q_max"], limits["dq_max"]
    used = LimitFilter(**limits, dt_s=DT)
    used.reset((low + high) / 2)
    rng, target, kinds = np.random.default_rng(6), (low + high) / 2, set()
    for _ in range(1500):
        if rng.random() < 0.05:
            target = rng.uniform(low, high)
        speed = float(rng.choice([1.0, 0.2]))
        velocity = rng.uniform(-0.5, 0.5) * fastest if rng.random() < 0.3 else None
        fresh = LimitFilter(**limits, dt_s=DT)
        fresh.reset(used.p)
        fresh.v, fresh.a = used.v, used.a
        step, same = used.propose(target, velocity, speed), fresh.propose(target, velocity, speed)
        for a, b in ((step.p, same.p), (step.v, same.v), (step.a, same.a)):
            assert np.array_equal(a, b)
        used.commit(step)
        kinds.add((speed, velocity is None))
    assert len(kinds) == 4


def test_nan_is_refused_before_anything_moves_and_infinity_is_clipped():
    first, second = TwinVectorEnv(3, "reach"), TwinVectorEnv(3, "reach")
    for env in (first, second):
        env.reset(seed=1)
    action = np.full((3, 6), 0.5)
    bad = action.copy()
    bad[1, 3] = np.nan
    before = first._sims.state.copy()
    with pytest.raises(UsageError, match=r"\[1\]"):
        first.step(bad)
    assert np.array_equal(first._sims.state, before)
    for _ in range(3):
        a, b = first.step(action)[0], second.step(action)[0]
        assert np.array_equal(a["state"], b["state"])
    a = first.step(np.full((3, 6), np.inf))[0]
    b = second.step(np.ones((3, 6)))[0]
    assert np.array_equal(a["state"], b["state"]) and np.array_equal(first._sims.state, second._sims.state)
    for env in (first, second):
        env.close()


def test_nan_is_refused_by_the_single_environment_which_goes_on():
    first, second = TwinEnv("reach"), TwinEnv("reach")
    for env in (first, second):
        env.reset(seed=1)
    with pytest.raises(UsageError, match="NaN"):
        first.step(np.array([0.5, np.nan, 0, 0, 0, 0]))
    for _ in range(4):
        a, b = first.step(np.full(6, 0.5)), second.step(np.full(6, 0.5))
        assert np.array_equal(a[0]["state"], b[0]["state"]) and a[4]["limits"] == b[4]["limits"]
    assert "rejected_nonfinite" not in a[4]["limits"]
    for env in (first, second):
        env.close()


@pytest.mark.parametrize("name", RIGS)
def test_a_world_that_starts_anew_disturbs_no_other_and_is_as_a_first_start(name):
    rig = load_rig(name)
    env, calm = TwinVectorEnv(3, "reach", rig), TwinVectorEnv(3, "reach", rig)
    for e in (env, calm):
        e.reset(seed=[11, 12, 13])
    rng = np.random.default_rng(5)
    n = env.single_action_space.shape[0]
    one = None
    others = [0, 2]
    for k in range(30):
        action = rng.uniform(-0.5, 0.5, (3, n))
        if k == 9:
            env._age[1] = env._horizon - 1  # its time is up with this step
        fresh = k == 10
        ignored = action.copy()
        if fresh:
            ignored[1] = np.nan
        a, reward, done, late, info = env.step(ignored)
        b, reward_b, *_ = calm.step(action)
        assert not done.any() and late.tolist() == [False, k == 9, False]
        assert np.array_equal(env._sims.state[others], calm._sims.state[others])
        assert np.array_equal(a["state"][others], b["state"][others])
        assert np.array_equal(reward[others], reward_b[others])
        if fresh:
            assert reward[1] == 0.0 and not info["success"][1] and env._age.tolist() == [11, 0, 11]
            assert env.draws[1] != calm.draws[1]
            one = OneTwin(rig, "reach", 50.0, env.draws[1])
        elif one is not None:
            one.step(action[1])
        if one is not None:
            assert np.array_equal(env._sims.state[1], state_of(one.twin.model, one.twin.data))
            assert np.array_equal(a["state"][1], one.state)
        else:
            assert np.array_equal(a["state"][1], b["state"][1])
    env.close()
    calm.close()


def test_resetting_all_forgets_that_one_had_ended():
    env = TwinVectorEnv(2, "reach")
    env.reset(seed=1)
    env._age[0] = env._horizon - 1
    assert env.step(np.zeros((2, 6)))[3].tolist() == [True, False]
    env.reset(seed=1)
    draws = list(env.draws)
    _, reward, _, _, _ = env.step(np.full((2, 6), 0.5))
    assert env.draws == draws and env._age.tolist() == [1, 1] and reward[0] != 0.0
    env.close()


def test_one_environment_alone_can_end_and_start_anew():
    env = TwinVectorEnv(1, "reach", control_hz=200.0)
    env.reset(seed=1)
    env._age[0] = env._horizon - 1
    assert env.step(np.zeros((1, 6)))[3].all()
    obs, reward, *_ = env.step(np.ones((1, 6)))
    first = OneTwin(load_rig("so101"), "reach", 200.0, env.draws[0])
    assert np.array_equal(obs["state"][0], first.state) and reward[0] == 0.0
    env.close()


def test_unstable_physics_are_a_fault_and_no_silent_new_start():
    env, fresh = TwinVectorEnv(3, "reach"), TwinVectorEnv(3, "reach")
    env.reset(seed=1)
    env._sims.bind("qvel")[1, 0] = 1e13
    with pytest.raises(DeviceError, match=r"\[1\].*unstable"):
        env.step(np.zeros((3, 6)))
    for e in (env, fresh):
        e.reset(seed=2)
    for _ in range(3):
        a, b = env.step(np.full((3, 6), 0.4))[0], fresh.step(np.full((3, 6), 0.4))[0]
        assert np.array_equal(a["state"], b["state"])
    env.close()
    fresh.close()


def test_a_control_rate_that_does_not_divide_the_guards_is_refused():
    with pytest.raises(UsageError, match="divide"):
        TwinVectorEnv(1, "reach", control_hz=30.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_envs": 0}, "num_envs 0: must be 1 or more"),
        ({"num_envs": 1, "nthread": 0}, "nthread 0"),
        ({"num_envs": 1, "control_hz": 0.0}, "control_hz 0.0 must be above 0"),
        ({"num_envs": 1, "control_hz": float("nan")}, "control_hz nan must be above 0"),
        ({"num_envs": 1, "control_hz": 30.0}, "divide the guard's rate"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(UsageError, match=words):
        TwinVectorEnv(task="reach", **options)


@pytest.mark.parametrize("env", [lambda: TwinVectorEnv(2, "reach"), lambda: TwinEnv("reach")])
def test_steps_that_cannot_be_are_refused(env):
    made = env()
    with pytest.raises(UsageError, match="reset"):
        made.step(np.zeros(made.action_space.shape))
    made.reset(seed=0)
    with pytest.raises(UsageError, match="nothing moved"):
        made.step(np.zeros((*made.action_space.shape[:-1], 3)))
    made.step(np.zeros(made.action_space.shape))
    made.close()
