"""What every clock, arm, gripper and camera must do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..errors import DeviceError, TwinloopError
from ..interfaces import Arm, Camera, Clock, Gripper
from ..types import F64, Frame

MOVE_RAD = 0.15  # how far the arm suite moves a joint
MS = 1_000_000


@contextmanager
def refused(what: str, error: type[Exception] = TwinloopError) -> Iterator[None]:
    """The block must raise `error` with a message."""
    try:
        yield
    except error as raised:
        assert str(raised), f"{what}: refused without a message"
        return
    raise AssertionError(f"{what}: accepted, expected {error.__name__}")


def wait(clock: Clock, seconds: float) -> None:
    """Let `seconds` pass on `clock`."""
    clock.sleep_until(clock.now() + round(seconds * 1e9))


def read_only(array: np.ndarray, what: str) -> None:
    assert not array.flags.writeable, f"{what}: handed-out arrays must be read-only"


class ClockContract:
    """`make()` returns a `Clock`."""

    def make(self) -> Clock:
        raise NotImplementedError

    def test_time_is_whole_nanoseconds_and_never_goes_back(self) -> None:
        clock = self.make()
        times = [clock.now()]
        for _ in range(50):
            clock.sleep_until(times[-1] + MS)
            times.append(clock.now())
        assert all(isinstance(t, int) for t in times)
        assert times == sorted(times)

    def test_sleeps_to_the_deadline(self) -> None:
        clock = self.make()
        for ms in (1, 7, 20):
            deadline = clock.now() + ms * MS
            clock.sleep_until(deadline)
            assert clock.now() >= deadline

    def test_a_deadline_that_has_passed_is_no_deadline(self) -> None:
        clock = self.make()
        clock.sleep_until(clock.now() + 5 * MS)
        before = clock.now()
        clock.sleep_until(before - 3 * MS)
        assert clock.now() >= before


class ArmContract:
    """`make()` returns an unopened `Arm` at rest, away from its limits, and its clock."""

    settle_s = 1.5  # time given to a move of `MOVE_RAD`
    reach_rad = 0.08  # how far from its goal a soft servo may stay under gravity
    still_rad = 0.03  # movement that counts as none: encoder noise, sag when torque comes on
    unreported: tuple[str, ...] = ()  # of tau, temperature_c, voltage_v: NaN, because the arm does not tell

    def make(self) -> tuple[Arm, Clock]:
        raise NotImplementedError

    def _opened(self) -> tuple[Arm, Clock]:
        arm, clock = self.make()
        arm.open()
        wait(clock, 0.1)
        return arm, clock

    def test_spec_is_complete(self) -> None:
        arm, _ = self.make()
        spec = arm.spec
        assert spec.names and len(set(spec.names)) == spec.n
        for field in ("q_min", "q_max", "dq_max", "ddq_max", "dddq_max", "tau_max"):
            values = getattr(spec, field)
            assert values.shape == (spec.n,) and np.isfinite(values).all(), f"{field}: {values}"
        assert (spec.q_min < spec.q_max).all()
        for field in ("dq_max", "ddq_max", "dddq_max", "tau_max"):
            assert (getattr(spec, field) > 0).all(), f"{field} must be above 0"

    def test_reads_its_joints(self) -> None:
        arm, clock = self._opened()
        first = arm.read()
        for field in ("q", "dq", "tau", "temperature_c", "voltage_v"):
            values = getattr(first, field)
            known = np.isnan if field in self.unreported else np.isfinite
            assert values.shape == (arm.spec.n,) and known(values).all(), f"{field}: {values}"
        read_only(first.q, "ArmState.q")
        kept = first.q.copy()
        wait(clock, 0.1)
        second = arm.read()
        assert first.t_ns < second.t_ns <= clock.now(), "t_ns is when it was measured"
        assert (first.q == kept).all(), "a state that was handed out must not change afterwards"
        arm.close()

    def test_torque_comes_on_without_a_jump(self) -> None:
        arm, clock = self._opened()
        before = arm.read().q
        wait(clock, 0.4)
        assert np.abs(arm.read().q - before).max() < self.still_rad
        arm.close()

    def test_goes_where_it_is_told(self) -> None:
        arm, clock = self._opened()
        start = arm.read().q
        middle = (arm.spec.q_min + arm.spec.q_max) / 2
        goal = start + np.where(middle > start, MOVE_RAD, -MOVE_RAD)
        self._move(arm, clock, goal)
        moved = arm.read().q
        assert np.abs(moved - goal).max() < self.reach_rad, f"{moved} instead of {goal}"
        self._move(arm, clock, start)
        assert np.abs(arm.read().q - start).max() < self.reach_rad
        arm.close()

    def _move(self, arm: Arm, clock: Clock, goal: F64) -> None:
        start, steps = arm.read().q, 40
        for k in range(1, steps + 1):
            arm.command(start + (goal - start) * k / steps)
            wait(clock, self.settle_s / steps / 2)
        wait(clock, self.settle_s / 2)

    def test_hold_stops_where_it_is(self) -> None:
        arm, clock = self._opened()
        start = arm.read().q
        middle = (arm.spec.q_min + arm.spec.q_max) / 2
        arm.command(start + np.where(middle > start, MOVE_RAD, -MOVE_RAD))
        wait(clock, 0.05)
        arm.hold()
        arm.hold()
        wait(clock, 0.5)
        stopped = arm.read().q
        wait(clock, 0.3)
        assert np.abs(arm.read().q - stopped).max() < self.still_rad
        arm.close()

    def test_refuses_a_goal_that_is_no_goal(self) -> None:
        arm, clock = self._opened()
        start, n = arm.read().q, arm.spec.n
        for what, goal in (
            ("NaN", np.full(n, np.nan)),
            ("infinity", np.r_[np.inf, start[1:]]),
            ("too many values", np.zeros(n + 1)),
            ("one value for all", np.zeros(1) if n > 1 else np.zeros(2)),
        ):
            with refused(what):
                arm.command(goal)
        wait(clock, 0.3)
        assert np.abs(arm.read().q - start).max() < self.still_rad, "a refused goal moved the arm"
        arm.close()

    def test_closes_twice_and_opens_again(self) -> None:
        arm, clock = self.make()
        arm.close()
        arm.open()
        wait(clock, 0.05)
        arm.close()
        arm.close()
        arm.open()
        wait(clock, 0.05)
        assert np.isfinite(arm.read().q).all()
        arm.close()


class GripperContract:
    """`make()` returns an unopened `Gripper` with nothing between its pads, and its clock."""

    settle_s = 2.0
    reach_m = 0.004
    reports_force = True  # False: force_n is NaN, because the gripper does not tell

    def make(self) -> tuple[Gripper, Clock]:
        raise NotImplementedError

    def _opened(self) -> tuple[Gripper, Clock]:
        gripper, clock = self.make()
        gripper.open()
        wait(clock, 0.1)
        return gripper, clock

    def test_spec_is_complete(self) -> None:
        gripper, _ = self.make()
        spec = gripper.spec
        assert 0 <= spec.width_min < spec.width_max < 1, "widths are metres between the pads"
        assert min(spec.speed_max, spec.accel_max, spec.jerk_max, spec.force_max) > 0

    def test_goes_to_a_width(self) -> None:
        gripper, clock = self._opened()
        spec = gripper.spec
        for share in (0.5, 0.8, 0.3):
            goal = spec.width_min + share * (spec.width_max - spec.width_min)
            start = gripper.read().width_m
            for k in range(1, 41):
                gripper.command(start + (goal - start) * k / 40)
                wait(clock, self.settle_s / 80)
            wait(clock, self.settle_s / 2)
            state = gripper.read()
            assert abs(state.width_m - goal) < self.reach_m, f"{state.width_m} m instead of {goal} m"
            assert np.isfinite(state.force_n) == self.reports_force and state.t_ns <= clock.now()
        gripper.close()

    def test_torque_comes_on_without_a_jump(self) -> None:
        gripper, clock = self._opened()
        before = gripper.read().width_m
        wait(clock, 0.4)
        assert abs(gripper.read().width_m - before) < self.reach_m
        gripper.close()

    def test_refuses_a_width_that_is_no_number(self) -> None:
        gripper, clock = self._opened()
        before = gripper.read().width_m
        for width in (float("nan"), float("inf")):
            with refused(str(width)):
                gripper.command(width)
        wait(clock, 0.3)
        assert abs(gripper.read().width_m - before) < self.reach_m
        gripper.close()

    def test_closes_twice_and_opens_again(self) -> None:
        gripper, clock = self.make()
        gripper.close()
        gripper.open()
        gripper.close()
        gripper.close()
        gripper.open()
        wait(clock, 0.05)
        assert np.isfinite(gripper.read().width_m)
        gripper.close()


class CameraContract:
    """`make()` returns an unopened `Camera` and its clock."""

    def make(self) -> tuple[Camera, Clock]:
        raise NotImplementedError

    def _frames(self, camera: Camera, clock: Clock, seconds: float) -> list[Frame]:
        frames = []
        end = clock.now() + round(seconds * 1e9)
        while clock.now() < end:
            frames.append(camera.read())
            wait(clock, 0.5 / camera.spec.fps)
        return frames

    def test_a_closed_camera_says_so(self) -> None:
        camera, _ = self.make()
        with refused("reading before open()", DeviceError):
            camera.read()

    def test_frames_are_what_the_spec_says(self) -> None:
        camera, clock = self.make()
        spec = camera.spec
        assert spec.width > 0 and spec.height > 0 and spec.fps > 0
        camera.open()
        wait(clock, 0.3)
        frame = camera.read()
        assert frame.rgb.shape == (spec.height, spec.width, 3) and frame.rgb.dtype == np.uint8
        read_only(frame.rgb, "Frame.rgb")
        if spec.depth:
            assert frame.depth_m is not None
            assert frame.depth_m.shape == (spec.height, spec.width) and frame.depth_m.dtype == np.float32
            assert (frame.depth_m >= 0).all(), "depth is metres, 0 = unknown"
            read_only(frame.depth_m, "Frame.depth_m")
        else:
            assert frame.depth_m is None
        camera.close()

    def test_frames_are_numbered_and_stamped_when_they_were_taken(self) -> None:
        camera, clock = self.make()
        camera.open()
        wait(clock, 0.3)
        frames = self._frames(camera, clock, 1.0)
        camera.close()
        numbers, times = [f.seq for f in frames], [f.t_ns for f in frames]
        assert numbers == sorted(numbers) and times == sorted(times)
        assert len(set(numbers)) > 2, "no new frame came within a second"
        assert times[-1] < clock.now(), "t_ns is mid-exposure, which is before now"
        for a, b in zip(frames, frames[1:], strict=False):
            assert (a.seq == b.seq) == (a.t_ns == b.t_ns), "one number, one time"
            if a.seq == b.seq:
                assert (a.rgb == b.rgb).all(), "one number, one picture"

    def test_a_frame_that_was_handed_out_does_not_change(self) -> None:
        camera, clock = self.make()
        camera.open()
        wait(clock, 0.3)
        frame = camera.read()
        kept = frame.rgb.copy()
        self._frames(camera, clock, 0.3)
        assert (frame.rgb == kept).all()
        camera.close()

    def test_closes_twice_and_opens_again(self) -> None:
        camera, clock = self.make()
        camera.close()
        camera.open()
        camera.close()
        camera.close()
        with refused("reading after close()", DeviceError):
            camera.read()
        camera.open()
        wait(clock, 0.3)
        assert camera.read().rgb.size
        camera.close()
