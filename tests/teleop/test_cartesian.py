"""A hand with a pose, as the agent follows it: wherever it was, closing the clutch moves nothing."""

import numpy as np
import pytest
from twinloop.robot.kinematics import Kinematics
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ArmState, GripperState, Observation
from twinloop.teleop.cartesian import CartesianAgent
from twinloop.teleop.jog import Jog
from twinloop.teleop.scripted import Scripted

RIG, MODEL = load_rig("so101"), load_model("so101")
ARM = Kinematics(MODEL)
PERIOD = round(1e9 / RIG.control_hz)


class Follower:
    """An arm that stands where the agent wants it, after each step."""

    def __init__(self):
        self.jog, self.q, self.t_ns = Jog(engaged=False), np.array(MODEL.home_q_rad), 0
        self.agent = CartesianAgent(Scripted(lambda t: self.jog), RIG)
        self.agent.reset(0)

    def step(self, jog, times=30):
        self.jog = jog
        for _ in range(times):
            self.t_ns += PERIOD
            zeros = np.zeros(5)
            state = ArmState(self.t_ns, self.q, zeros, zeros, zeros, zeros)
            obs = Observation(self.t_ns, {"arm": state}, {"gripper": GripperState(self.t_ns, 0.03, 0.0)}, {})
            self.q = self.agent.act(obs).q["arm"][-1]
        return ARM.fk(self.q)[0]


def hand(*moved, clutch=1, turned=(0.0, 0.0, 0.0)):
    return Jog(moved_m=np.array(moved), turned_rad=np.array(turned), clutch=clutch)


def test_the_arm_goes_as_far_as_the_hand_and_on_from_where_it_stands_after_a_gap():
    arm = Follower()
    start = arm.step(Jog(engaged=False))
    there = arm.step(hand(0.03, 0.02, 0.01))
    assert there - start == pytest.approx([0.0, 0.0, 0.0], abs=1e-3), "what was moved before it was heard of"
    onward = arm.step(hand(0.05, 0.02, 0.03))
    assert onward - there == pytest.approx([0.02, 0.0, 0.02], abs=1e-3)
    arm.step(Jog(engaged=False), 1)  # a link that was lost, a pause: the clutch stayed closed
    again = arm.step(hand(0.06, 0.02, 0.03))
    assert again == pytest.approx(onward, abs=1e-3)
    assert arm.step(hand(0.05, 0.02, 0.03)) - again == pytest.approx([-0.01, 0.0, 0.0], abs=1e-3)


def test_a_clutch_that_was_opened_and_closed_between_two_looks_moves_nothing():
    arm = Follower()
    arm.step(hand(0.0, 0.0, 0.0))
    there = arm.step(hand(0.03, 0.02, 0.02, turned=(0.0, 0.0, 0.2)))
    assert arm.step(hand(0.0, 0.0, 0.0, clutch=2)) == pytest.approx(there, abs=1e-3)
