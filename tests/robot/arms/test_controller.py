"""The thread between an arm's devices and its control box, with a scripted box."""

import threading

import numpy as np
import pytest
from boxes import eventually
from twinloop.robot.arms.controller import BACK, Link, Sample, VendorFault, ended, vendor_module
from twinloop.robot.arms.hand import Hand
from twinloop.robot.arms.remote import RemoteArm
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError
from twinloop.robot.rig import load_rig

RIG = load_rig("ur5e")
SPEC = RIG.joint_spec("arm")
N = SPEC.n
NAN = np.full(N, np.nan)


class ScriptedBox:
    """Follows goals at once; a test may hold its calls up, or make them fail."""

    def __init__(self):
        self.q = np.zeros(N)
        self.sent = []
        self.log = []
        self.open = threading.Event()  # calls wait until it is set
        self.open.set()
        self.error: DeviceError | None = None
        self.faults = ()

    def connect(self):
        self._call("connect")

    def sample(self):
        self._call("sample")
        return Sample(self.q.copy(), NAN, NAN, NAN, NAN, faults=self.faults)

    def send(self, q, width_m):
        self._call("send")
        self.sent.append((q.copy(), width_m))
        self.q = q.copy()

    def release(self):
        self.log.append("release")

    def _call(self, what):
        self.log.append(what)
        self.open.wait(20.0)
        if self.error is not None:
            raise self.error


@pytest.fixture
def driven():
    box, clock = ScriptedBox(), RealClock()
    arm = RemoteArm("arm", SPEC, Link("arm", box, clock), clock)
    arm.open()
    yield arm, box, clock
    box.open.set()
    arm.close()


def test_an_sdk_that_hangs_holds_up_neither_reading_nor_commanding_and_gets_the_newest_goal(driven):
    arm, box, clock = driven
    box.open.clear()
    for k in range(1, 201):  # 200 commands, none of which the box takes: each returns
        arm.command(np.full(N, k / 1000.0))
        arm.read()
    box.open.set()
    eventually(clock, lambda: box.sent and box.sent[-1][0][0] == 0.2, "the newest goal")
    assert len(box.sent) <= 3, "goals in between are dropped, not queued"


def test_a_goal_that_is_none_reaches_no_box(driven):
    arm, box, _ = driven
    for goal in (np.full(N, np.nan), np.zeros(N + 1)):
        with pytest.raises(DeviceError, match="nothing was sent"):
            arm.command(goal)
    assert not box.sent


def test_a_state_that_does_not_change_hands_is_stale_and_says_its_age(driven):
    arm, box, clock = driven
    box.open.clear()
    error = None
    end = clock.now() + 5_000_000_000
    while error is None and clock.now() < end:
        try:
            arm.read()
        except DeviceError as raised:
            error = raised
    assert "ms old" in str(error)


def test_after_an_interruption_only_a_goal_near_the_arm_is_obeyed(driven):
    arm, box, clock = driven
    arm.command(np.full(N, 0.1))
    box.error = DeviceError("cable out")
    eventually(clock, lambda: not _readable(arm), "lost")
    sent = len(box.sent)
    box.q = np.full(N, 0.5)  # somebody moved it
    box.error = None
    eventually(clock, lambda: BACK in arm.read().faults, "back")
    with pytest.raises(DeviceError, match="re-arm"):
        arm.command(np.full(N, 0.1))
    assert len(box.sent) == sent, "no goal from before may be sent again"
    arm.command(np.full(N, 0.51))
    eventually(clock, lambda: len(box.sent) > sent, "sent")
    assert arm.read().faults == ()


class Gaps(threading.Condition):
    """Whatever another thread could do as soon as the link's thread leaves the lock: `try_it` is called there."""

    def __init__(self, try_it):
        super().__init__()
        self.try_it = try_it
        self._trying = False

    def __exit__(self, *error):
        super().__exit__(*error)
        if threading.current_thread() is not threading.main_thread() and not self._trying:
            self._trying = True
            self.try_it()
            self._trying = False


def test_no_moment_of_coming_back_lets_a_goal_of_before_through():
    box, clock, told = ScriptedBox(), RealClock(), []
    link = Link("arm", box, clock)

    def old_goal():
        if not lost.is_set():
            return
        try:
            link.command("arm", np.full(N, 0.1))
        except DeviceError as error:
            told.append(str(error))
        else:
            told.append("obeyed")

    lost = threading.Event()
    link._changed = Gaps(old_goal)
    arm = RemoteArm("arm", SPEC, link, clock)
    arm.open()
    try:
        arm.command(np.full(N, 0.1))
        eventually(clock, lambda: box.sent, "sent")
        lost.set()
        box.error = DeviceError("cable out")
        eventually(clock, lambda: not _readable(arm), "lost")
        sent = len(box.sent)
        box.q = np.full(N, 0.5)  # it sagged meanwhile
        told.clear()
        box.error = None
        eventually(clock, lambda: BACK in arm.read().faults, "back")
        eventually(clock, lambda: any(BACK in text for text in told), "refused as one from before")
        assert "obeyed" not in told
        assert len(box.sent) == sent and BACK in arm.read().faults
    finally:
        lost.clear()
        arm.close()


def test_the_arms_own_error_is_a_fault_with_the_last_state(driven):
    arm, box, clock = driven
    box.faults = ("joint 3 is on fire; fetch water",)
    eventually(clock, lambda: arm.read().faults == box.faults, "fault")
    with pytest.raises(DeviceError, match="fetch water; nothing was sent"):
        arm.command(arm.read().q)
    box.faults = ()
    eventually(clock, lambda: arm.read().faults == (BACK,), "back, to be re-armed")
    box.error = VendorFault("still smoking")
    eventually(clock, lambda: "still smoking" in arm.read().faults, "no state, but the fault")


def test_a_box_that_refuses_at_the_start_is_released():
    box, clock = ScriptedBox(), RealClock()
    box.error = VendorFault("brakes\nstuck")
    arm = RemoteArm("arm", SPEC, Link("arm", box, clock), clock)
    with pytest.raises(VendorFault, match="^arm: brakes stuck$"):
        arm.open()
    assert box.log == ["connect", "release"]
    arm.hold()
    arm.close()


def test_the_last_device_releases_the_box():
    box, clock = ScriptedBox(), RealClock()
    link = Link("arm", box, clock)
    link.open("arm")
    link.open("gripper")
    link.close("arm")
    assert "release" not in box.log
    link.command("gripper", width_m=0.02)
    eventually(clock, lambda: box.sent, "sent")
    assert box.sent[0][1] == 0.02 and (box.sent[0][0] == 0.0).all(), "a width alone moves no joint"
    link.close("gripper")
    assert box.log[-1] == "release"


def test_a_package_that_is_missing_names_the_extra():
    with pytest.raises(DeviceError, match=r"no_such_sdk.*pip install 'twinloop\[xarm\]'"):
        vendor_module("no_such_sdk", "xarm")


def test_a_farewell_that_fails_is_over():
    def fails():
        raise RuntimeError("gone")

    assert ended(fails)


class SlowHand:
    """A move takes until it is let go."""

    def __init__(self):
        self.at = 0.08
        self.moves = []
        self.free = threading.Event()

    def width(self):
        return self.at

    def move(self, width_m, closing):
        self.moves.append((width_m, closing))
        self.free.wait(20.0)
        self.at = width_m

    def close(self):
        self.moves.append("closed")


def test_a_hand_moves_once_a_goal_and_skips_those_in_between():
    calls, clock = SlowHand(), RealClock()
    hand = Hand("hand", calls, clock)
    try:
        hand.go(0.07)
        eventually(clock, lambda: calls.moves == [(0.07, True)], "first move")
        before = hand.latest[1]
        for width in (0.06, 0.05, 0.04, 0.0401):
            hand.go(width)
        eventually(clock, lambda: hand.latest[1] > before, "the width is read while it moves")
        calls.free.set()
        eventually(clock, lambda: len(calls.moves) == 2, "second move")
        assert calls.moves[1] == (0.0401, True)
        hand.go(0.0403)  # nearer than `STEP_M`
        hand.go(0.06)
        eventually(clock, lambda: len(calls.moves) == 3, "third move")
        assert calls.moves[2] == (0.06, False)
    finally:
        calls.free.set()
        hand.close()
    assert calls.moves[-1] == "closed"


def _readable(arm):
    try:
        arm.read()
    except DeviceError:
        return False
    return True
