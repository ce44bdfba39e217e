"""The WidowX AI's driver: the vendor's unmodified SDK against the vendor's simulator, on loopback in real time."""

import importlib.util

import pytest
from boxes import Box, InterruptionContract, devices, running
from twinloop.robot.testing import ArmContract, GripperContract

if importlib.util.find_spec("trossen_arm_sim") is None:
    pytest.skip("trossen-arm-sim is not installed", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def simulator():
    with running("trossen_box.py") as box:
        _Simulated.box = box
        yield


class _Simulated:
    box: Box
    rig = "trossen"

    @pytest.fixture(autouse=True)
    def sound(self):
        self.box.say("clear")


@pytest.mark.slow
class TestArm(_Simulated, ArmContract):
    settle_s = 0.8
    unreported = ("voltage_v",)

    def make(self):
        arm, _, clock = devices(self.rig, self.box.address)
        return arm, clock


@pytest.mark.slow
class TestGripper(_Simulated, GripperContract):
    settle_s = 0.8

    def make(self):
        _, gripper, clock = devices(self.rig, self.box.address)
        return gripper, clock


@pytest.mark.slow
class TestInterrupted(_Simulated, InterruptionContract):
    fault = "Joint overheated"
    way_out = "clear_error()"
