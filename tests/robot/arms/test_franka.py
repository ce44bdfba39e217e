"""Franka's driver against a fake of franky's API (`fake_franky.py`); its motions and exceptions are the real ones."""

import importlib.util
import sys

import pytest
from boxes import InterruptionContract, devices, eventually
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
