"""Franka's driver against a fake of franky's API (`fake_franky.py`); its motions and exceptions are the real ones."""

import importlib.util
import os
import sys

import pytest
from boxes import InterruptionContract, devices, eventually
from twinloop.robot.arms.franka import FrankaController
from twinloop.robot.arms.remote import remote_devices
from twinloop.robot.clock import RealClock
from twinloop.robot.rig import load_rig
from twinloop.robot.testing import ArmContract, GripperContract

if importlib.util.find_spec("franky") is None:
    pytest.skip("franky-control is not installed", allow_module_level=True)
from fake_franky import World, fake


class _Fake:
    rig = "franka"

    @pytest.fixture(autouse=True)
    def world(self, monkeypatch):
        self.box = World()
        monkeypatch.setitem(sys.modules, "franky", fake(self.box))


@pytest.mark.slow
class TestArmOnAFakeOfTheApi(_Fake, ArmContract):
    settle_s = 0.8
    unreported = ("temperature_c", "voltage_v")

    def make(self):
        arm, _, clock = devices(self.rig, self.box.address)
        return arm, clock


@pytest.mark.slow
class TestGripperOnAFakeOfTheApi(_Fake, GripperContract):
    settle_s = 0.8
    reports_force = False

    def make(self):
        _, gripper, clock = devices(self.rig, self.box.address)
        return gripper, clock


@pytest.mark.slow
class TestInterruptedOnAFakeOfTheApi(_Fake, InterruptionContract):
    fault = "reflex"
    way_out = "user stop"

    @pytest.fixture(autouse=True)
    def arm_at_hand(self, world):
        yield from self.arm_opened()


def test_when_goals_cease_the_reference_stands_still(monkeypatch):
    world = World()
    monkeypatch.setitem(sys.modules, "franky", fake(world))
    arm, _, clock = devices("franka", world.address)
    arm.open()
    start = arm.read().q
    for k in range(1, 21):
        arm.command(start + 0.001 * k)
        clock.sleep_until(clock.now() + 5_000_000)
    eventually(clock, lambda: not world.motion.get_reference().dq.any(), "no speed is left")
    assert abs(world.motion.get_reference().q - (start + 0.02)).max() < 1e-6
    arm.close()
    assert world.motion is None


def test_what_the_hand_closes_on_is_grasped_with_the_rigs_force_and_let_go_when_it_opens(monkeypatch):
    world = World()
    monkeypatch.setitem(sys.modules, "franky", fake(world))
    _, gripper, clock = devices("franka", world.address)
    gripper.open()
    world.object_m = 0.03
    gripper.command(0.035)
    eventually(clock, lambda: abs(gripper.read().width_m - 0.035) < 1e-3, "still open")
    assert not world.force_n
    gripper.command(0.01)
    eventually(clock, lambda: world.force_n == gripper.spec.force_max, "grasped")
    gripper.command(0.005)  # narrower still: what is held stays held
    gripper.command(0.06)
    eventually(clock, lambda: not world.force_n and gripper.read().width_m > 0.059, "let go")
    gripper.close()


@pytest.mark.hardware
@pytest.mark.skipif("TWINLOOP_FRANKA" not in os.environ, reason="TWINLOOP_FRANKA is no simulator's address")
def test_on_a_simulator_that_speaks_libfrankas_protocol():
    """For franka-sim, which needs an environment of its own (it pins numpy 1): start it, give its address."""
    clock, rig = RealClock(), load_rig("franka")
    controller = FrankaController(
        os.environ["TWINLOOP_FRANKA"], rig.joint_spec("arm"), 5e6, clock, rig.grippers["gripper"]
    )
    controller.realtime = "Ignore"
    made = remote_devices("arm", rig, controller, clock, gripper=True)
    arm, gripper = made.arm, made.gripper
    assert gripper is not None
    arm.open()
    gripper.open()
    start = arm.read().q
    for k in range(1, 201):
        arm.command(start + 0.1 * k / 200)
        clock.sleep_until(clock.now() + 5_000_000)
    eventually(clock, lambda: abs(arm.read().q - start - 0.1).max() < 0.005, "there, as slow as it simulates")
    assert arm.read().faults == ()
    gripper.command(0.05)
    eventually(clock, lambda: abs(gripper.read().width_m - 0.05) < 1e-3, "width")
    arm.close()
    gripper.close()
