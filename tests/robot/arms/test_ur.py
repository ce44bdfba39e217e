"""The UR's driver: the unmodified `ur-rtde` against a fake of the controller, byte by byte (`fake_ur.py`)."""

import importlib.util

import pytest
from boxes import Box, InterruptionContract, devices, eventually, running
from twinloop.robot.errors import DeviceError
from twinloop.robot.testing import ArmContract
from twinloop.robot.testing.devices import wait

if importlib.util.find_spec("rtde_control") is None:
    pytest.skip("ur-rtde is not installed", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def controller():
    with running("fake_ur.py") as box:
        _Fake.box = box
        yield


class _Fake:
    box: Box
    rig = "ur5e"


@pytest.mark.slow
class TestArm(_Fake, ArmContract):
    settle_s = 0.8
    unreported = ("tau",)

    def make(self):
        arm, gripper, clock = devices(self.rig, self.box.address)
        assert gripper is None
        return arm, clock


@pytest.mark.slow
class TestInterrupted(_Fake, InterruptionContract):
    fault = "protective stop"
    way_out = "unlock it on the pendant"


@pytest.mark.slow
class TestPendant(_Fake):
    """What only a person at the pendant can change."""

    @pytest.fixture(autouse=True)
    def as_delivered(self):
        yield
        for command in ("on", "remote", "clear"):
            self.box.say(command)

    @pytest.mark.parametrize(
        ("command", "text"),
        [
            ("off", "robot mode 'power off'.*release the brakes"),
            ("emergency", "emergency stop.*release the button"),
            ("local", "remote control"),
        ],
    )
    def test_an_arm_that_may_not_be_driven_says_why(self, command, text):
        self.box.say(command)
        arm, _, _ = devices(self.rig, self.box.address)
        with pytest.raises(DeviceError, match=text):
            arm.open()
        arm.close()

    def test_a_program_stopped_at_the_pendant_is_a_fault_and_is_not_started_again(self):
        arm, _, clock = devices(self.rig, self.box.address)
        arm.open()
        self.box.say("stop")

        def told():
            return any("stopped at the pendant" in fault for fault in arm.read().faults)

        eventually(clock, told, "fault")
        wait(clock, 1.2)  # two attempts
        assert self.box.say("running?") == "False" and told()
        arm.close()
        arm.open()
        assert arm.read().faults == ()
        arm.close()
