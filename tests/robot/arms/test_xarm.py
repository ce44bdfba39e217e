"""The xArm's driver: the unmodified SDK against a fake of the control box, byte by byte (`fake_xarm.py`)."""

import importlib.util

import pytest
from boxes import Box, InterruptionContract, devices, running
from twinloop.robot.testing import ArmContract, GripperContract

if importlib.util.find_spec("xarm") is None:
    pytest.skip("xarm-python-sdk is not installed", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def control_box():
    with running("fake_xarm.py") as box:
        _Fake.box = box
        yield


class _Fake:
    box: Box
    rig = "xarm7"


@pytest.mark.slow
class TestArm(_Fake, ArmContract):
    settle_s = 0.8

    def make(self):
        arm, _, clock = devices(self.rig, self.box.address)
        return arm, clock


@pytest.mark.slow
class TestGripper(_Fake, GripperContract):
    settle_s = 0.8
    reports_force = False

    def make(self):
        _, gripper, clock = devices(self.rig, self.box.address)
        return gripper, clock


@pytest.mark.slow
class TestInterrupted(_Fake, InterruptionContract):
    fault = "error 31: "
    way_out = "Clear it in Studio"
