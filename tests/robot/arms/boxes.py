"""Control boxes of vendors' arms, real simulators or fakes, each a program on a loopback address of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from twinloop.robot.arms import arm_driver
from twinloop.robot.arms.controller import BACK
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError
from twinloop.robot.rig import load_rig
from twinloop.robot.testing.devices import wait

PID = os.getpid()
STEP_NS = 5_000_000  # between two commands, as the guard gives them
PATIENCE_S = 20.0


class Box:
    """A program beside this file; it prints "up", takes commands on standard input and answers each with a line."""

    def __init__(self, program: str) -> None:
        # Ports are the vendors' own: tests that run at the same time tell their boxes apart by the address.
        number = PID * 8 + (sum(map(ord, program)) % 8)
        self.address = f"127.{64 + number // 62500 % 150}.{number // 250 % 250 + 1}.{number % 250 + 1}"
        path = str(Path(__file__).with_name(program))
        self._process = subprocess.Popen(
            [sys.executable, path, self.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._answer() == "up"

    def say(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextlib.contextmanager
def running(program: str) -> Iterator[Box]:
    box = Box(program)
    try:
        yield box
    finally:
        box.end()


def devices(rig: str, address: str):
    """Arm, gripper and clock of a one-arm rig, through its shipped driver."""
    loaded, clock = load_rig(rig), RealClock()
    name = next(iter(loaded.arms))
    made = arm_driver(loaded.arms[name].model)(name, loaded, address, clock)
    return made.arm, made.gripper, clock


def eventually(clock, check, what: str):
    """The first true answer of `check`, asked again and again."""
    end = clock.now() + round(PATIENCE_S * 1e9)
    while True:
        with contextlib.suppress(DeviceError):
            if answer := check():
                return answer
        assert clock.now() < end, f"{what}: not within {PATIENCE_S:g} s"
        wait(clock, 0.02)


class InterruptionContract:
    """What every driver of a control box does when the box is in error, goes away and comes back.

    `box` understands "fault" and "clear" (the arm's own error), "drop" and "back" (the network), "push" (somebody
    moves the arm by 0.1 rad while it is not driven).
    """

    box: Box
    rig = ""
    fault = ""  # part of the vendor's text for what "fault" does
    way_out = ""

    @pytest.fixture(autouse=True)
    def arm_at_hand(self):
        yield from self.arm_opened()

    def arm_opened(self) -> Iterator[None]:
        self.box.say("clear")
        self.arm, _, self.clock = devices(self.rig, self.box.address)
        yield
        with contextlib.suppress(DeviceError):
            self.arm.close()
        self.box.say("clear")

    def _moves(self, steps: int = 20) -> None:
        start = self.arm.read().q
        toward = np.where((self.arm.spec.q_min + self.arm.spec.q_max) / 2 > start, 0.1, -0.1)
        for k in range(1, steps + 1):
            self.arm.command(start + toward * k / steps)
            self.clock.sleep_until(self.clock.now() + STEP_NS)

    def test_an_arm_in_error_is_not_opened_and_says_why(self) -> None:
        self.box.say("fault")
        with pytest.raises(DeviceError) as raised:
            self.arm.open()
        text = str(raised.value)
        assert self.fault in text and self.way_out in text and "\n" not in text
        self.box.say("clear")
        self.arm.open()
        assert self.arm.read().faults == ()

    def test_an_error_on_the_way_becomes_a_fault_and_ends_in_a_refusal_of_far_goals(self) -> None:
        self.arm.open()
        self._moves()
        self.box.say("fault")

        def told() -> bool:
            return any(self.fault in fault and self.way_out in fault for fault in self.arm.read().faults)

        eventually(self.clock, told, "the vendor's text among the faults")
        with pytest.raises(DeviceError, match="nothing was sent"):
            self.arm.command(self.arm.read().q)
        self.box.say("push")
        self.box.say("clear")
        self._is_back_and_still()

    def test_a_lost_link_that_comes_back_moves_nothing(self) -> None:
        self.arm.open()
        self._moves()
        self.box.say("drop")

        def gone() -> bool:
            try:
                self.arm.read()
            except DeviceError as error:
                return "trying again" in str(error)
            return False

        eventually(self.clock, gone, "link lost")
        with pytest.raises(DeviceError, match="nothing was sent"):
            self.arm.command(np.zeros(self.arm.spec.n))
        self.box.say("push")
        self.box.say("back")
        self._is_back_and_still()

    def _is_back_and_still(self) -> None:
        state = eventually(self.clock, lambda: BACK in self.arm.read().faults and self.arm.read(), "back")
        middle = (self.arm.spec.q_min + self.arm.spec.q_max) / 2
        far = state.q + np.where(middle > state.q, 0.1, -0.1)
        with pytest.raises(DeviceError, match="re-arm"):
            self.arm.command(far)
        wait(self.clock, 0.2)
        assert np.abs(self.arm.read().q - state.q).max() < 0.01, "the arm moved when it came back"
        self.arm.command(self.arm.read().q)  # from where it stands: what the guard does once re-armed
        assert eventually(self.clock, lambda: not self.arm.read().faults, "no fault left")
        self._moves()

    def test_holding_and_closing_are_legal_while_the_box_is_gone(self) -> None:
        self.arm.hold()
        self.arm.open()
        self.box.say("drop")
        with contextlib.suppress(DeviceError):
            self.arm.hold()
        self.arm.close()
        self.box.say("back")
        self.arm.open()
        assert np.isfinite(self.arm.read().q).all()

    def test_a_box_that_is_not_there_names_the_address(self) -> None:
        arm, _, _ = devices(self.rig, self.box.address.rsplit(".", 1)[0] + ".254")
        with pytest.raises(DeviceError) as raised:
            arm.open()
        assert ".254" in str(raised.value) and "port" in str(raised.value)
        assert "\n" not in str(raised.value)
