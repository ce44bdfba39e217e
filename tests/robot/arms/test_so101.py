"""The SO-101's driver against its emulation, through a pseudo-terminal and in real time."""

import pytest
from twinloop.robot.arms import arm_driver
from twinloop.robot.arms.chain import ServoChain
from twinloop.robot.arms.devices import ChainArm, ChainGripper
from twinloop.robot.arms.so101 import BAUD, motors
from twinloop.robot.arms.sts3215 import Sts3215Family
from twinloop.robot.buses import Bus, FeetechFraming, SerialPort
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import RigError
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.robot.testing import ArmContract, GripperContract
from twinloop.sim.emulate.process import EmulatorProcess

PATIENT_NS = 200_000_000  # the emulator shares its cores with whatever else is tested
RIG = load_rig("so101")


@pytest.fixture(scope="module", autouse=True)
def emulator():
    with EmulatorProcess(RIG) as made:
        _Emulated.path = made.paths["arm"]
        yield made


class _Emulated:
    path = ""

    def chain(self):
        clock = RealClock()
        bus = Bus(SerialPort(self.path, BAUD, clock), FeetechFraming(), clock, BAUD, deadline_ns=PATIENT_NS)
        return ServoChain(bus, Sts3215Family(), motors(RIG, "arm"), clock), clock


@pytest.mark.slow
class TestArm(_Emulated, ArmContract):
    def make(self):
        chain, clock = self.chain()
        return ChainArm("arm", RIG.joint_spec("arm"), chain), clock


@pytest.mark.slow
class TestGripper(_Emulated, GripperContract):
    def make(self):
        chain, clock = self.chain()
        return ChainGripper("gripper", RIG.grippers["gripper"], load_model("so101"), chain), clock


def test_an_arm_without_a_driver_names_those_with_one():
    with pytest.raises(RigError, match=r"no driver for the arm description 'so102'.*so101"):
        arm_driver("so102")
