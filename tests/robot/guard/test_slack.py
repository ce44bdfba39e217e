"""A leader arm is let go of and read; whoever takes it up again finds it where it was."""

from dataclasses import replace

import numpy as np
import pytest
from twinloop.robot.errors import DeviceError, GuardFault
from twinloop.robot.guard import Guard
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin

MS = 1_000_000
RIG = load_rig("so101_leader")


class Led:
    """A leader of the twin behind its guard, and a hand that can push its joints."""

    def __init__(self, rig=RIG):
        self.twin = Twin(build_scene(rig))
        self.arm, self.trigger = self.twin.arms["leader"], self.twin.grippers["trigger"]
        self.twin.set_arm("leader", np.array([0.0, -0.6, 0.6, 0.8, 0.0]), 0.02)
        self.clock = self.twin.clock
        self.guard = Guard(rig, self.twin.arms, self.twin.grippers, self.clock)
        self.guard.open()
        self.clock.every(self.guard.period_ns, self.guard.tick)

    def wait(self, seconds):
        self.clock.sleep_until(self.clock.now() + round(seconds * 1e9))

    def push(self, joint, n_m):
        self.twin.data.qfrc_applied[self.twin.model.joint(f"leader/{joint}").dofadr[0]] = n_m

    def q(self):
        return self.guard.arm_states["leader"].q

    def goal(self, q):
        now = self.clock.now()
        return self.guard.submit(ActionChunk(now, 33 * MS, {"leader": q[None]}, {}, now + 90 * MS))


def test_a_hand_moves_it_and_nothing_pushes_back():
    led = Led()
    led.wait(0.2)
    led.push("shoulder_pan", 0.9)
    led.wait(0.5)
    held = abs(led.q()[0])
    led.guard.slack()
    led.wait(0.3)
    assert led.guard.mode == "slack" and led.guard.parked
    assert abs(led.q()[0]) > held + 0.3  # the same push
    np.testing.assert_allclose(led.guard.sent[:5], led.q(), atol=0.05)
    assert "tracking" not in led.guard.limits.total
    assert not led.goal(led.q())  # nobody drives what a hand holds
    assert led.guard.limits.total["rejected_park"] == 1


def test_taken_up_again_it_stays_where_the_hand_left_it():
    led = Led()
    led.guard.slack()
    led.push("shoulder_pan", 0.4)
    led.wait(0.3)
    led.push("shoulder_pan", 0.0)
    led.wait(0.3)
    led.guard.hold("taken up")
    at = led.q()
    led.wait(0.5)
    assert led.guard.mode == "hold" and np.abs(led.q() - at).max() < 0.06  # some sag
    for _ in range(60):
        assert led.goal(at + [-0.3, 0, 0, 0, 0])
        led.wait(0.033)
    assert led.q()[0] == pytest.approx(at[0] - 0.3, abs=0.05)
    led.guard.park()
    led.wait(6.0)
    assert led.guard.parked
    led.guard.close()


def test_let_go_of_it_may_be_closed_anywhere_and_stopped_it_stays_let_go_of():
    led = Led()
    led.guard.slack()
    led.guard.estop("hand in the cell")
    led.wait(0.1)
    assert led.guard.mode == "estop" and led.guard.parked
    led.guard.rearm()
    led.wait(0.1)
    assert led.guard.mode == "hold" and not led.guard.parked
    led.guard.slack()
    led.guard.close()
    assert "released_unparked" not in led.guard.limits.total


def test_an_arm_that_no_person_leads_is_never_let_go_of():
    led = Led(replace(RIG, leader=False))
    led.wait(0.1)
    with pytest.raises(GuardFault, match="'so101_leader' is no leader"):
        led.guard.slack()
    assert led.guard.mode == "hold"


def test_not_while_it_moves_and_not_while_it_is_latched():
    led = Led()
    led.wait(0.1)
    led.goal(led.q() + [0.5, 0, 0, 0, 0])
    led.wait(0.08)
    with pytest.raises(GuardFault, match="moves"):
        led.guard.slack()
    led.guard.estop("no")
    led.wait(1.0)
    with pytest.raises(GuardFault, match=r"estop latched .*rearm"):
        led.guard.slack()


def test_one_that_cannot_be_taken_up_again_is_a_fault_and_stays_let_go_of():
    led = Led()
    led.guard.slack()
    slack, led.trigger.slack = led.trigger.slack, _refuses
    led.guard.hold()
    led.wait(0.1)
    assert led.guard.mode == "fault" and "could not be held: no answer" in led.guard.reason
    led.trigger.slack = slack
    led.guard.rearm()
    led.wait(0.1)
    assert led.guard.mode == "hold"


def _refuses(on):
    raise DeviceError("no answer")
