import logging

import numpy as np
import pytest
from guard_fakes import HOME, MS, BareClock, FakeArm, FakeCamera, FakeGripper, ManualClock
from twinloop.robot.errors import DeviceError
from twinloop.robot.guard import Guard
from twinloop.robot.interfaces import Clock
from twinloop.robot.rig import load_rig
from twinloop.robot.robot import GuardedRobot
from twinloop.robot.types import ActionChunk


class Cell:
    """A guarded robot made of fakes, on a clock of the given kind."""

    def __init__(self, clock=None, tick: bool = True) -> None:
        rig = load_rig("so101")
        self.clock = clock or ManualClock()
        self.arm, self.gripper = FakeArm(rig, self.clock), FakeGripper(rig, self.clock)
        self.front, self.wrist = FakeCamera(self.clock), FakeCamera(self.clock)
        self.guard = Guard(rig, {"arm": self.arm}, {"gripper": self.gripper}, self.clock)
        cameras = {"front": self.front, "wrist": self.wrist}
        self.robot = GuardedRobot(rig, self.clock, self.guard, cameras, tick=tick)

    def run(self, seconds: float, q=HOME) -> None:
        clock = self.robot.clock
        for _ in range(round(seconds * 50)):
            deadline = clock.now() + 20 * MS
            self.robot.observe()
            now = clock.now()
            rows = np.array(q, dtype=float)[None]
            self.robot.apply(ActionChunk(now, 20 * MS, {"arm": rows}, {}, now + 100 * MS))
            clock.sleep_until(deadline)


@pytest.mark.parametrize("clock", [ManualClock, BareClock])
def test_the_guard_ticks_while_the_clock_sleeps(clock):
    cell = Cell(clock())
    cell.robot.open()
    assert isinstance(cell.robot.clock, Clock)
    cell.run(1.0, HOME + [0.2, 0, 0, 0, 0])
    times = np.diff([t for t, _ in cell.arm.commands[1:]])
    assert len(times) >= 198 and (times == cell.guard.period_ns).all()
    np.testing.assert_allclose(cell.arm.q, HOME + [0.2, 0, 0, 0, 0], atol=1e-3)
    assert "stall" not in cell.guard.limits.total


def test_observation_holds_states_and_newest_frames():
    cell = Cell()
    cell.robot.open()
    cell.run(0.5)
    obs = cell.robot.observe()
    assert (
        set(obs.arms) == {"arm"}
        and set(obs.grippers) == {"gripper"}
        and set(obs.frames) == {"front", "wrist"}
    )
    assert 0 <= obs.t_ns - obs.arms["arm"].t_ns <= 6 * MS
    assert obs.frames["front"].t_ns >= obs.t_ns - 40 * MS


def test_observation_reads_no_device():
    cell = Cell()
    cell.robot.open()
    cell.run(0.1)
    cell.arm.silent = True
    assert cell.robot.observe().arms["arm"].t_ns > 0


@pytest.mark.parametrize("switch", ["frozen", "stale", "broken"])
def test_a_bad_camera_raises_nothing_but_the_guard_holds(switch):
    cell = Cell()
    cell.robot.open()
    cell.run(0.3)
    setattr(cell.front, switch, True)
    cell.run(0.5)
    assert cell.guard.mode == "hold"
    assert cell.guard.limits.total["rejected_stale_camera"] > 3
    assert "front" in cell.robot.observe().frames  # the last one, with its old time
    setattr(cell.front, switch, False)
    cell.run(0.1)
    assert cell.guard.mode == "run"


def test_a_camera_that_never_delivered_holds_as_well():
    cell = Cell()
    cell.front.broken = True
    cell.robot.open()
    cell.run(0.2)
    assert cell.guard.mode == "hold" and "front" not in cell.robot.observe().frames


def test_apply_reports_rejections():
    cell = Cell()
    cell.robot.open()
    now = cell.clock.now()
    applied = cell.robot.apply(ActionChunk(now, 1, {"arm": np.full((1, 5), np.nan)}, {}, now + 100 * MS))
    assert applied.limits == {"rejected_nonfinite": 1} and applied.mode == "hold"


def test_close_parks_then_releases_everything():
    cell = Cell()
    with cell.robot:
        cell.run(0.5, HOME + [0.5, 0, 0, 0, 0])
    assert not cell.arm.torque and cell.gripper.closed == 1
    assert cell.front.closed == cell.wrist.closed == 1
    np.testing.assert_allclose(cell.arm.q, cell.guard._parking._rest[:5], atol=0.05)
    assert "released_unparked" not in cell.guard.limits.total
    cell.robot.close()
    assert cell.arm.closed == 1


def test_close_parks_out_of_a_fault_too():
    cell = Cell()
    cell.robot.open()
    cell.guard.fault("test")
    cell.robot.close()
    assert "released_unparked" not in cell.guard.limits.total


def test_after_an_estop_close_moves_nothing_and_says_so(caplog):
    cell = Cell()
    cell.robot.open()
    cell.run(0.1)
    cell.guard.estop("pedal")
    cell.run(0.5)
    before = cell.arm.commands[-1][1]
    with caplog.at_level(logging.WARNING):
        cell.robot.close()
    np.testing.assert_array_equal(cell.arm.commands[-1][1], before)
    assert not cell.arm.torque and "above the rest pose" in caplog.text
    assert cell.front.closed == 1


def test_an_arm_that_cannot_park_is_given_up_after_a_while_and_that_is_said(caplog):
    cell = Cell()
    cell.robot.open()
    cell.arm.blocked = True
    start = cell.clock.now()
    with caplog.at_level(logging.WARNING):
        cell.robot.close()
    assert 15e9 < cell.clock.now() - start < 30e9
    assert not cell.arm.torque and cell.guard.limits.total["released_unparked"] == 1


def test_cameras_are_closed_even_when_the_arm_fails():
    cell = Cell()
    cell.robot.open()

    def fail() -> None:
        raise DeviceError("arm: port gone")

    cell.arm.close = fail  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="port gone"):
        cell.robot.close()
    assert cell.front.closed == cell.wrist.closed == 1 and cell.gripper.closed == 1


def test_nothing_stays_open_when_opening_fails():
    cell = Cell()
    cell.arm.silent = True
    with pytest.raises(DeviceError):
        cell.robot.open()
    assert cell.front.closed == 1 and not cell.arm.torque


def test_an_interrupt_while_parking_releases_and_says_so(caplog):
    cell = Cell()
    cell.robot.open()

    def interrupt() -> None:
        raise KeyboardInterrupt

    cell.clock.every(300 * MS, lambda: None)
    cell.clock.events[-1][0] += 300 * MS
    cell.clock.events[-1][2] = interrupt
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        cell.robot.close()
    assert not cell.arm.torque and cell.front.closed == 1 and "above the rest pose" in caplog.text
