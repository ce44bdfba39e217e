"""A rig's buses with its twin behind them, in real time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...robot.arms.chain import TURN
from ...robot.arms.chain import Motor as JointMotor
from ...robot.arms.servo_line import driver_module
from ...robot.errors import RigError
from ...robot.interfaces import Clock
from ...robot.models import load_model
from ...robot.rig import Rig
from ..hand import SpringHand
from ..scene import SceneOptions, build_scene, prefix
from ..servo import Servo
from ..twin import Twin, drawn_servos
from .dynamixel import DynamixelServos
from .feetech import FeetechServos
from .line import Line
from .motor import Motor
from .shaft import Shaft
from .sts3215 import COUNTS, Sts3215
from .terminal import Terminal, serve
from .twin_motor import TwinMotor
from .xseries import BAUDS, MODELS, XServo

CALIBRATED = ("homing_offset", "drive_mode")  # what calibrating an arm leaves in its servos
CATCH_UP_NS = 100_000_000  # a process that stood still longer than this skips the rest


class EmulatedRig:
    """The arms of `rig` as devices on pseudo-terminals; `serve` lets the twin's time pass with `clock`'s.

    Ids, baud rate, directions and zeros are those that the arm's driver tells (its module's `motors` and `BAUD`); the
    encoders are off by what the twin's draw says. Two servos on one shaft share the joint's motor. The arms
    begin folded at rest, without torque. `after` runs whenever the twin's time has passed.
    """

    def __init__(
        self,
        rig: Rig,
        clock: Clock,
        twin: Twin | None = None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.rig = rig
        self.twin = Twin(build_scene(rig, None, SceneOptions())) if twin is None else twin
        self._after = after
        self.skipped_ns = 0  # real time that the twin did not follow
        self._clock = clock
        self._began_ns: int | None = None
        self.hand = SpringHand(self.twin.model, self.twin.data)  # of a person who leads an arm
        self.servos: dict[str, FeetechServos | DynamixelServos] = {}
        self.terminals: dict[str, Terminal] = {}
        self._joints: dict[tuple[str, int], TwinMotor] = {}
        for name in rig.arms:
            rest = np.array(self.twin.scene.descriptions[name].rest_q_rad)
            self.twin.set_arm(name, rest, 0.0)
            self.servos[name] = self._servos_of(name)
            self.terminals[name] = Terminal(Line(self.servos[name], servo_baud(rig, name)), clock)

    @property
    def paths(self) -> Mapping[str, str]:
        """Arm -> path of its serial port, once open."""
        return {name: terminal.path for name, terminal in self.terminals.items()}

    def open(self) -> None:
        for terminal in self.terminals.values():
            terminal.open()

    def close(self) -> None:
        for terminal in self.terminals.values():
            terminal.close()

    def serve(self, until_ns: int) -> None:
        """Answer and let time pass until `until_ns` of the clock."""
        if self._began_ns is None:
            self._began_ns = self._clock.now() - self.twin.clock.now()
            self.twin.clock.every(self.twin.clock.step_ns, self.hand.pull)
            for servos in self.servos.values():
                self.twin.clock.every(
                    self.twin.clock.step_ns, lambda s=servos: s.step(self.twin.clock.step_ns)
                )
        serve(list(self.terminals.values()), self._clock, until_ns, self._follow)

    def _follow(self) -> None:
        """Bring the twin to now; what a stalled process missed by more than `CATCH_UP_NS` is left out."""
        assert self._began_ns is not None
        due = self._clock.now() - self._began_ns
        behind = due - self.twin.clock.now()
        if behind > CATCH_UP_NS:
            self.skipped_ns += behind
            self._began_ns += behind
            return
        if behind >= self.twin.clock.step_ns:
            self.twin.clock.sleep_until(due - self.twin.clock.step_ns + 1)
            self._after()

    def servo(self, arm: str, id: int) -> Sts3215 | XServo:
        """The servo that `arm` began with under `id`, whatever id it has been given since."""
        ids = servo_ids(self.rig, arm)
        return self.servos[arm].servos[ids.index(id)]

    def joint(self, arm: str, id: int) -> TwinMotor:
        """The motor of the joint that servo `id` of `arm` drives."""
        return self._joints[arm, id]

    def _servos_of(self, arm: str) -> FeetechServos | DynamixelServos:
        feetech: list[Sts3215] = []
        dynamixel: list[XServo] = []
        for joint in joint_motors(self.rig, arm):
            turned = self._motor_of(arm, joint)
            self._joints |= {(arm, id): turned for id in joint.ids}
            shaft = Shaft(turned, len(joint.ids))
            for k, (id, mirrored) in enumerate(zip(joint.ids, joint.mirrored, strict=True)):
                single = len(joint.ids) == 1 and not mirrored
                motor: Motor = shaft.motor if single else shaft.share(k, mirrored=mirrored)
                if joint.servo in MODELS:
                    kept = {name: joint.registers[name] for name in CALIBRATED if name in joint.registers}
                    baud = BAUDS.index(servo_baud(self.rig, arm))
                    dynamixel.append(XServo(id, joint.servo, motor, {**kept, "baud": baud}))
                elif joint.servo == "sts3215":
                    feetech.append(Sts3215(id, motor))
                else:
                    raise RigError(f"arms.{arm}: {joint.name}: no emulation of the servo '{joint.servo}'")
        if feetech and dynamixel:
            raise RigError(f"arms.{arm}: servos of two protocols on one line")
        return DynamixelServos(dynamixel) if dynamixel else FeetechServos(feetech)

    def _motor_of(self, arm: str, joint: JointMotor) -> TwinMotor:
        twin, scene = self.twin, self.twin.scene
        index, servos = scene.arms[arm], twin.arms[arm].servos
        name = prefix(arm) + joint.name
        if name not in index.names:
            gripper = self.rig.gripper_of(arm)
            assert gripper is not None
            index, servos = scene.grippers[gripper], twin.grippers[gripper].servos
        k = index.names.index(name)
        zero = joint.zero_rad + float(servos.bias_rad[k])
        # A calibrated servo counts its homing offset in; the encoder below it does not know of that.
        zero += joint.sign * joint.registers.get("homing_offset", 0) / COUNTS * TURN
        reverse = joint.registers.get("drive_mode", 0) & 1
        constants = drawn_servos(scene, twin.draw)[name]
        if not isinstance(constants, Servo):
            raise RigError(
                f"arms.{arm}: {joint.name}: the description has '{constants.name}' there, which is no servo"
            )
        return TwinMotor(twin, index, k, constants, zero, -joint.sign if reverse else joint.sign)


def joint_motors(rig: Rig, arm: str) -> list[JointMotor]:
    """The servos of `arm` as its driver has them; the gripper's only where the rig has one.

    Raises `RigError` for an arm whose driver does not tell them.
    """
    model = rig.arms[arm].model
    tell = getattr(driver_module(model), "motors", None)
    if tell is None:
        raise RigError(
            f"arms.{arm}: the driver of '{model}' does not tell its servos, so there is nothing to emulate on a "
            "serial line; the twin (--sim) needs no driver"
        )
    gripper = load_model(model).gripper_joint if rig.gripper_of(arm) is None else None
    return [motor for motor in tell(rig, arm) if motor.name != gripper]


def servo_ids(rig: Rig, arm: str) -> tuple[int, ...]:
    """Ids of the servos of `arm`, in the order of its joints."""
    return tuple(id for motor in joint_motors(rig, arm) for id in motor.ids)


def servo_baud(rig: Rig, arm: str) -> int:
    """The baud rate of the line of `arm`."""
    return driver_module(rig.arms[arm].model).BAUD
