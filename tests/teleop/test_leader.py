"""A leader arm of the twin behind a guard of its own, and what its follower is told."""

from dataclasses import replace

import numpy as np
import pytest
from twinloop.robot.errors import RigError, UsageError
from twinloop.robot.guard import Guard
from twinloop.robot.loop import ControlLoop
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ArmState, GripperState, Observation
from twinloop.sim.hand import SpringHand
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin, TwinRobot
from twinloop.teleop import make_device
from twinloop.teleop.hand import Hand
from twinloop.teleop.jog import Jog
from twinloop.teleop.joints import JointAgent
from twinloop.teleop.leader import Leader, check_leader, leader_ports
from twinloop.teleop.place import Place

RIG, LEADER = load_rig("so101"), load_rig("so101_leader")
PERIOD = round(1e9 / RIG.control_hz)
START = np.array([0.0, -0.6, 0.6, 0.8, 0.0])


class Led:
    """The leader, a hand that holds it, and a follower that stands wherever it is told to."""

    def __init__(self):
        self.twin = Twin(build_scene(LEADER))
        self.twin.set_arm("leader", START, 0.02)
        self.clock, self.grip = self.twin.clock, SpringHand(self.twin.model, self.twin.data)
        self.guard = Guard(LEADER, self.twin.arms, self.twin.grippers, self.clock)
        self.leader = Leader(LEADER, self.guard, self.clock)
        self.leader.open()
        self.clock.every(self.clock.step_ns, self.grip.pull)
        self.clock.every(self.guard.period_ns, self.guard.tick)
        self.wait(0.1)

    def wait(self, seconds):
        self.clock.sleep_until(self.clock.now() + round(seconds * 1e9))

    def mirror(self, q, seconds, led=False):
        for _ in range(round(seconds * 30)):
            self.leader.mirror(np.asarray(q), 0.5, led)
            self.wait(1 / 30)

    def hold(self, q):
        names = LEADER.joint_spec("leader").names
        self.grip.take({f"leader/{name}": angle for name, angle in zip(names, q, strict=True)})

    @property
    def q(self):
        return self.twin.arms["leader"].servos.true_q()


def test_driven_along_it_stands_where_the_follower_does_and_leads_nobody():
    led = Led()
    follower = START + [0.4, 0.1, -0.2, 0.1, 0.3]
    led.mirror(follower, 1.5)
    np.testing.assert_allclose(led.q, follower, atol=0.06)
    assert not led.leader.read(0).engaged
    assert led.guard.limits.total.get("velocity", 0) > 0  # slowly


def test_taken_it_comes_to_the_follower_first_and_is_let_go_of_there():
    led = Led()
    follower = START + [0.3, 0, 0, 0, 0]
    led.mirror(follower, 0.1, led=True)
    assert not led.leader.read(0).engaged
    led.hold(follower)
    led.mirror(follower, 1.5, led=True)
    jog = led.leader.read(0)
    assert jog.engaged and led.guard.mode == "slack"
    np.testing.assert_allclose(jog.q_rad, led.q, atol=0.02)
    assert jog.width_share == pytest.approx(0.5, abs=0.15)
    led.hold(follower + [0.4, 0, 0, 0, 0])
    led.wait(0.5)
    assert led.leader.read(0).q_rad[0] == pytest.approx(follower[0] + 0.4, abs=0.05)  # nothing holds it back
    led.leader.stand()
    led.wait(0.1)
    assert led.guard.mode == "hold" and not led.leader.read(0).engaged


def test_a_hand_that_keeps_it_elsewhere_is_given_it_after_a_while():
    led = Led()
    led.hold(START)
    led.mirror(START + [0.8, 0, 0, 0, 0], 4.5, led=True)
    assert led.guard.mode in ("slack", "hold")
    led.mirror(START + [0.8, 0, 0, 0, 0], 0.5, led=True)
    assert led.leader.read(0).engaged


def test_its_own_stop_is_trouble_until_it_is_rearmed():
    led = Led()
    led.mirror(START, 0.5, led=True)
    led.guard.estop("hand in the cell")
    led.wait(0.1)
    assert led.leader.trouble == "leader: estop: hand in the cell" and not led.leader.read(0).engaged
    led.leader.rearm()
    led.mirror(START, 0.5, led=True)
    assert not led.leader.trouble


def test_closed_in_a_hand_it_is_let_go_of_and_standing_it_parks():
    led = Led()
    led.mirror(START, 0.5, led=True)
    led.hold(led.q)
    led.leader.close()
    assert not led.guard.is_open and "released_unparked" not in led.guard.limits.total
    led = Led()
    led.leader.close()
    assert "released_unparked" not in led.guard.limits.total
    np.testing.assert_allclose(led.q, led.twin.scene.descriptions["leader"].rest_q_rad, atol=0.1)


class Thrown:
    """Tells a leader's angles as the test sets them."""

    name, q, engaged, share = "leader", START, True, 0.5

    def read(self, now_ns):
        return Jog(engaged=self.engaged, q_rad=self.q, width_share=self.share)


def seen(t_ns, q, width_m=0.03):
    zeros = np.zeros(5)
    arm = ArmState(t_ns, np.array(q), zeros, zeros, zeros, zeros)
    return Observation(t_ns, {"arm": arm}, {"gripper": GripperState(t_ns, width_m, 0.0)}, {})


def test_taking_hold_of_it_never_moves_the_follower_and_what_lies_between_goes_with_the_motion():
    device = Thrown()
    agent = JointAgent(device, RIG)
    at = START + [0.3, 0, 0, 0, 0]  # the follower; the leader stands elsewhere
    agent.reset(0)
    told = [agent.act(seen(k * PERIOD, at)) for k in range(5)]
    assert all(np.allclose(chunk.q["arm"][0], at, atol=1e-12) for chunk in told)
    assert all(chunk.width_m["gripper"][0] == pytest.approx(0.03) for chunk in told)
    for k in range(60):  # a slow motion to and fro
        device.q = START + [0.3 * np.sin(k / 4), 0, 0, 0, 0]
        step = agent.act(seen((k + 5) * PERIOD, at)).q["arm"][0]
        assert abs(step[0] - at[0]) < 0.12
        at = step
    assert at[0] == pytest.approx(device.q[0], abs=0.01)
    device.engaged = False
    device.q = START + [1.0, 0, 0, 0, 0]
    assert np.array_equal(agent.act(seen(66 * PERIOD, at)).q["arm"][0], at)
    device.engaged = True
    assert np.allclose(agent.act(seen(67 * PERIOD, at)).q["arm"][0], at)


class Swayed:
    """A leader that sways its first joint, told as coarsely as a servo counts (4096 a turn)."""

    name, COUNT = "leader", 2 * np.pi / 4096

    def at(self, t_s):
        return START[0] + 0.5 * np.sin(2.5 * t_s)

    def read(self, now_ns):
        first = round(self.at(now_ns * 1e-9) / self.COUNT) * self.COUNT
        return Jog(q_rad=np.array([first, *START[1:]]), width_share=0.5)


def test_the_follower_goes_with_a_leader_that_moves_and_not_a_period_behind_it():
    twin = Twin(build_scene(RIG))
    twin.set_arm("arm", START, 0.03)
    robot, leader, behind_s = TwinRobot(twin), Swayed(), []
    robot.open()

    def look(obs, applied):
        t_s = obs.t_ns * 1e-9
        speed = 1.25 * np.cos(2.5 * t_s)
        if t_s > 1.0 and abs(speed) > 0.6:
            behind_s.append((leader.at(t_s) - applied.sent_q["arm"][0]) / speed)
        return False

    ControlLoop(robot, JointAgent(leader, RIG), PERIOD).run(4_000_000_000, stop=look)
    assert np.median(behind_s) < 0.3 * PERIOD * 1e-9
    assert max(behind_s) < PERIOD * 1e-9


def test_a_hand_that_is_muted_takes_nothing():
    led = Led()
    hand = Hand(led.leader, led.clock)
    hand.muted = True
    for _ in range(30):
        hand.mirror(START, None, led=True)
        led.wait(1 / 30)
    assert led.guard.mode != "slack" and hand.mirrors


def test_a_leader_has_the_joints_of_its_follower_and_says_so():
    check_leader(LEADER, RIG, "arm")
    with pytest.raises(RigError, match="'so101' is no leader"):
        check_leader(RIG, RIG, "arm")
    with pytest.raises(RigError, match=r"leader 'so101_leader' has the joints .* arm 'arm' of 'ur5e' has"):
        check_leader(LEADER, load_rig("ur5e"), "arm")
    with pytest.raises(UsageError, match="setup-devices --rig so101_leader"):
        leader_ports(LEADER)
    with pytest.raises(UsageError, match="names no port"):
        make_device("leader", Place(RIG))
    arms = {"leader": replace(LEADER.arms["leader"], port="/dev/none")}
    assert leader_ports(replace(LEADER, arms=arms)) == {"leader": "/dev/none"}
