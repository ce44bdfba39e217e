"""Koch v1.1 and ViperX-300 against their emulations, through a pseudo-terminal and in real time."""

import contextlib
import json

import pytest
from twinloop.robot.arms.chain import TURN, ServoChain
from twinloop.robot.arms.devices import chain_devices
from twinloop.robot.arms.servo_line import driver_module
from twinloop.robot.arms.xseries import XSeriesFamily
from twinloop.robot.buses import Bus, DynamixelFraming, SerialPort
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError, RigError
from twinloop.robot.lerobot_units import LeRobotUnits, motor_names
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.robot.testing import ArmContract, GripperContract
from twinloop.sim.emulate.process import EmulatorProcess
from twinloop.sim.emulate.rig import servo_ids

PATIENT_NS = 200_000_000  # the emulator shares its cores with whatever else is tested
BAUD = 1_000_000


class SpokenTo:
    """A clock on which a device is read while somebody sleeps, as by the guard: else its watchdog stops it."""

    def __init__(self, device, clock):
        self.device, self.clock = device, clock

    def now(self):
        return self.clock.now()

    def sleep_until(self, deadline_ns):
        while self.now() < deadline_ns:
            with contextlib.suppress(DeviceError):  # not open now
                self.device.read()
            self.clock.sleep_until(min(deadline_ns, self.now() + 20_000_000))


class _Emulated:
    """One emulator for the class; a driver with patience for every test."""

    rig_name = ""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def emulator(cls):
        cls.rig = load_rig(cls.rig_name)
        with EmulatorProcess(cls.rig) as made:
            cls.path = made.paths["arm"]
            yield

    def devices(self):
        clock = RealClock()
        port = SerialPort(self.path, BAUD, clock)
        bus = Bus(port, DynamixelFraming(), clock, BAUD, deadline_ns=PATIENT_NS)
        motors = driver_module(self.rig.arms["arm"].model).motors(self.rig, "arm")
        return chain_devices("arm", self.rig, ServoChain(bus, XSeriesFamily(motors), motors, clock)), clock


class _Arm(_Emulated, ArmContract):
    def make(self):
        devices, clock = self.devices()
        return devices.arm, SpokenTo(devices.arm, clock)


class _Gripper(_Emulated, GripperContract):
    def make(self):
        devices, clock = self.devices()
        return devices.gripper, SpokenTo(devices.gripper, clock)


@pytest.mark.slow
class TestKoch(_Arm):
    rig_name = "koch"


@pytest.mark.slow
class TestKochGripper(_Gripper):
    rig_name = "koch"


@pytest.mark.slow
class TestViperX(_Arm):
    rig_name = "viperx"


@pytest.mark.slow
class TestViperXGripper(_Gripper):
    rig_name = "viperx"


def test_the_ids_are_those_of_the_arms():
    assert servo_ids(load_rig("koch"), "arm") == (1, 2, 3, 4, 5, 6)
    assert servo_ids(load_rig("viperx"), "arm") == (1, 2, 3, 4, 5, 6, 7, 8, 9)


def test_zeros_and_registers_of_a_koch_are_those_of_lerobots_calibration_file(tmp_path):
    model = load_model("koch")
    entries = {
        name: {"id": id + 10, "drive_mode": id % 2, "homing_offset": -100 * id, "range_min": 700, "range_max": 3000}
        for id, name in enumerate(motor_names(model), 1)
    }  # fmt: skip
    file, path = tmp_path / "arm.json", tmp_path / "rig.yaml"
    file.write_text(json.dumps(entries))
    path.write_text(
        f"name: mine\narms: {{arm: {{model: koch, calibration: {file}}}}}\ngrippers: {{g: {{arm: arm}}}}\n"
    )
    rig = load_rig(str(path))
    for entry in entries.values():
        entry["drive_mode"] = 0  # it lies in the servo, whose counts grow with the joint
    file.write_text(json.dumps(entries))
    units = LeRobotUnits.from_file(file, model)
    for id, motor in enumerate(driver_module("koch").motors(rig, "arm"), 1):
        assert motor.ids == (id + 10,) and motor.registers["homing_offset"] == -100 * id
        gripper = motor.name == model.gripper_joint
        wanted = float(units.to_rad([25.0 if gripper else -50.0], [motor.name])[0])
        counts = 700 + 0.25 * 2300
        assert motor.zero_rad + motor.sign * (counts - 2048) / 4096 * TURN == pytest.approx(wanted, abs=1e-9)


def test_a_viperx_takes_no_calibration_file(tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text("name: mine\narms: {arm: {model: viperx, calibration: a.json}}\n")
    with pytest.raises(RigError, match="arms.arm.calibration: the zeros of a ViperX"):
        driver_module("viperx").motors(load_rig(str(path)), "arm")
