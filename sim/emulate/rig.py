"""A rig's buses with its twin behind them, in real time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...robot.interfaces import Clock
from ...robot.rig import Rig
from ..scene import SceneOptions, build_scene
from ..twin import Twin, drawn_servos
from .feetech import FeetechServos
from .line import Line
from .sts3215 import Sts3215
from .terminal import Terminal, serve
from .twin_motor import TwinMotor

BAUD = 1_000_000
CATCH_UP_NS = 100_000_000  # a process that stood still longer than this skips the rest


class EmulatedRig:
    """The arms of `rig` as devices on pseudo-terminals; `serve` lets the twin's time pass with `clock`'s.

    Ids are 1, 2, ... in the order of the joints, the gripper last, as LeRobot numbers an SO-101. The encoders
    stand at 2048 in the middle of each joint's range, but for what the twin's draw says they are off. The arms
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
        self.servos: dict[str, FeetechServos] = {}
        self.terminals: dict[str, Terminal] = {}
        for name in rig.arms:
            rest = np.array(self.twin.scene.descriptions[name].rest_q_rad)
            self.twin.set_arm(name, rest, 0.0)
            self.servos[name] = FeetechServos(self._servos_of(name))
            self.terminals[name] = Terminal(Line(self.servos[name], BAUD), clock)

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

    def _servos_of(self, arm: str) -> list[Sts3215]:
        twin, scene = self.twin, self.twin.scene
        description = scene.descriptions[arm]
        constants = drawn_servos(scene, twin.draw)
        low, high = description.joint_ranges()
        zeros = (low + high) / 2.0 + twin.arms[arm].servos.bias_rad
        index = scene.arms[arm]
        made = [
            Sts3215(k + 1, TwinMotor(twin, index, k, constants[name], float(zeros[k])))
            for k, name in enumerate(index.names)
        ]
        gripper = self.rig.gripper_of(arm)
        if gripper is not None:
            index = scene.grippers[gripper]
            middle = sum(description.gripper_range()) / 2.0 + float(twin.grippers[gripper].servos.bias_rad[0])
            motor = TwinMotor(twin, index, 0, constants[index.names[0]], middle)
            made.append(Sts3215(len(made) + 1, motor))
        return made
