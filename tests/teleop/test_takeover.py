"""Policy and person share an arm: no hand-over jumps, and every row tells who acted."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk, ArmState, GripperState, Observation
from twinloop.teleop.cartesian import CartesianAgent
from twinloop.teleop.jog import Jog
from twinloop.teleop.joints import JointAgent
from twinloop.teleop.takeover import Takeover

RIG = load_rig("so101")
SPEC = RIG.joint_spec("arm")
PERIOD = round(1e9 / RIG.control_hz)
HOME = np.array([0.0, -0.6, 0.45, 1.3, -1.52])


def observation(t_ns, q=HOME, width_m=0.03):
    zeros = np.zeros(5)
    arm = ArmState(t_ns, np.array(q, float), zeros, zeros, zeros, zeros)
    return Observation(t_ns, {"arm": arm}, {"gripper": GripperState(t_ns, width_m, 0.0)}, {})


class Wild:
    """Asks for random poses, `rows` at a time."""

    def __init__(self, seed, rows, source="policy:wild"):
        self.rng, self.rows, self.source, self.resets = np.random.default_rng(seed), rows, source, 0

    def reset(self, seed):
        self.resets += 1

    def act(self, obs):
        q = self.rng.uniform(SPEC.q_min, SPEC.q_max, (self.rows, 5))
        width = self.rng.uniform(0.0, 0.08, self.rows)
        due = obs.t_ns + PERIOD
        return ActionChunk(due, PERIOD, {"arm": q}, {"gripper": width}, due + 10**9, self.source)


class Hand:
    """A Cartesian device that pulls in random directions, its clutch opening and closing."""

    name = "scripted"

    def __init__(self, seed):
        self.rng, self.seed = np.random.default_rng(seed), seed

    def open(self): ...

    def close(self): ...

    def feel(self, clamped): ...

    def read(self, now_ns):
        pose = (
            {}
            if self.seed % 2
            else {"moved_m": self.rng.normal(0, 0.1, 3), "turned_rad": self.rng.normal(0, 0.5, 3)}
        )
        return Jog(
            engaged=bool(self.rng.random() < 0.7),
            linear_m_s=self.rng.normal(0, 1.0, 3),
            angular_rad_s=self.rng.normal(0, 3.0, 3),
            grip_m_s=float(self.rng.normal(0, 1.0)),
            **pose,
        )


class Arm(Hand):
    """A leader arm that is thrown about, and let go of at times."""

    def read(self, now_ns):
        q, share = self.rng.uniform(SPEC.q_min - 0.2, SPEC.q_max + 0.2), float(self.rng.uniform(0.0, 1.0))
        return Jog(engaged=bool(self.rng.random() < 0.7), q_rad=q, width_share=share)


def agents(kind, seed):
    if kind == "leader":
        return JointAgent(Arm(seed), RIG)
    return CartesianAgent(Hand(seed), RIG) if kind == "hand" else Wild(seed, 1 if kind == "one" else 8)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["one", "many", "hand", "leader"]),
    st.sampled_from(["one", "many", "hand", "leader"]),
    st.integers(0, 1000),
    st.lists(st.sampled_from(["autonomous", "paused", "correcting", ""]), min_size=12, max_size=30),
)
def test_no_handover_steps_farther_than_the_limits_allow(policy, person, seed, states):
    both = Takeover(agents(policy, seed), agents(person, seed + 1), RIG)
    both.reset(seed)
    before = None
    for k, state in enumerate(states):
        if state:
            both.state = state
        chunk = both.act(observation(k * PERIOD))
        if before is not None:
            dt_s = chunk.dt_ns * 1e-9
            last_q, last_width = before.at(chunk.t0_ns - chunk.dt_ns)
            rows = np.vstack([last_q["arm"], chunk.q["arm"]])
            assert (np.abs(np.diff(rows, axis=0)) <= SPEC.dq_max * dt_s).all()
            widths = np.append(last_width["gripper"], chunk.width_m["gripper"])
            assert np.abs(np.diff(widths)).max() <= RIG.grippers["gripper"].speed_m_s * dt_s
        before = chunk


def test_rows_tell_who_acted_and_what_was_meant():
    both = Takeover(Wild(0, 1), Wild(1, 1, "leader"), RIG)
    both.reset(0)
    sources = []
    for k in range(9):
        if k == 3:
            both.correct()
        if k == 6:
            both.pause()
        sources.append(both.act(observation(k * PERIOD)).source)
    assert sources == ["policy:wild"] * 3 + ["person"] * 3 + ["paused"] * 3
    assert [state for _, state in both.changes] == ["autonomous", "correcting", "paused"]
    assert both.intended is not None


def test_a_pause_holds_the_last_command_not_the_sagging_arm():
    both = Takeover(Wild(0, 1), Wild(1, 1), RIG)
    both.reset(0)
    last = both.act(observation(0))
    both.pause()
    held = [both.act(observation(k * PERIOD, HOME + 0.05)) for k in (1, 2, 3)]
    assert all(np.array_equal(chunk.q["arm"][0], last.q["arm"][0]) for chunk in held)


def test_a_policy_that_gets_the_arm_back_forgets_what_it_thought_before():
    policy = Wild(0, 8)
    both = Takeover(policy, Wild(1, 1), RIG)
    both.reset(0)
    both.act(observation(0))
    both.correct()
    both.act(observation(PERIOD))
    known = policy.resets
    both.resume()
    both.act(observation(2 * PERIOD))
    assert policy.resets == known + 1


def test_reclutching_never_moves_the_arm():
    class Clutch:
        name, engaged = "clutch", True

        def read(self, now_ns):
            return Jog(engaged=self.engaged, moved_m=np.array([0.05, 0.0, 0.02]) if self.engaged else None)

    device = Clutch()
    agent = CartesianAgent(device, RIG)
    agent.reset(0)
    q = HOME
    for k in range(20):
        q = agent.act(observation(k * PERIOD, q)).q["arm"][0]
    device.engaged = False
    rest = agent.act(observation(20 * PERIOD, q + 0.03)).q["arm"][0]
    assert np.array_equal(rest, q), "the measured arm sags; that is no reason to move"


def test_a_command_does_not_run_away_from_an_arm_that_is_held_back():
    class Push:
        name = "push"

        def read(self, now_ns):
            return Jog(linear_m_s=np.array([0.0, 0.0, -0.3]))

    agent = CartesianAgent(Push(), RIG)
    agent.reset(0)
    q = HOME
    for k in range(200):
        q = agent.act(observation(k * PERIOD)).q["arm"][0]
    assert np.abs(q - HOME).max() <= 0.35 + 1e-9
