"""The guard in its own process, on the emulated SO-101: its contract, its e-stop, its orders, its ends.

What happens when somebody dies, hangs or meddles stands in test_faults_*.py. Real time on a shared machine: what is
asserted are the guard's own clock, log and end states, no wall-clock races.
"""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from emulated import sway
from flight import CLOCK, RIG, TORQUE, Watcher, moved, park, register, until
from twinloop.robot.errors import DeviceError, GuardFault
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.orders import Order
from twinloop.robot.process.plan import ORDERS_RING
from twinloop.robot.process.ring import RingWriter
from twinloop.robot.process.sessions import guard_pid
from twinloop.robot.robot import GuardedRobot
from twinloop.robot.stops.page import StopPage
from twinloop.robot.testing import RobotContract
from twinloop.robot.types import ActionChunk

pytestmark = pytest.mark.slow


class TestGuardedByAProcess(RobotContract):
    path = ""
    jitter_s = 3 / RIG.guard.rate_hz

    @pytest.fixture(autouse=True)
    def port(self, emulator):
        type(self).path = emulator.paths["arm"]

    def make(self):
        robot = GuardedRobot(RIG, CLOCK, GuardProcess(RIG, {"arm": self.path}), {}, tick=False)
        robot.open()
        return robot, {"arm": RIG.joint_spec("arm")}


def test_the_process_needs_neither_torch_nor_opencv():
    code = "import twinloop.robot.process.server, sys; print({'torch', 'cv2', 'pyarrow', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_it_says_which_protections_act_on_this_machine(guard):
    found = {p.name: p for p in guard.protections()}
    assert found["own_process"].active and {"real_time", "locked_memory", "no_collector"} <= set(found)
    assert not found["stale_camera"].active
    guard.note_frame("front", CLOCK.now())
    until(lambda: {p.name: p for p in guard.protections()}["stale_camera"].active)


def test_orders_that_were_written_over_are_counted_and_hold_the_arm(guard):
    moved(guard)
    pid = guard_pid(guard._folder)
    os.kill(pid, signal.SIGSTOP)
    for _ in range(20_000):
        guard.note_frame("front", CLOCK.now())
    guard.hold("lost with them")
    os.kill(pid, signal.SIGCONT)
    until(lambda: "orders_lost" in guard.status.limits)
    assert guard.mode == "hold" and guard.status.epoch == 0
    park(guard)


def test_anybody_may_press_the_estop_and_nothing_but_rearm_takes_it_back(guard):
    moved(guard)
    page = StopPage(guard._folder)
    page.open()
    page.press("pedal")
    until(lambda: guard.mode == "estop")
    assert guard.reason == "pedal"
    for _ in sway(guard, CLOCK, 0.3):
        pass
    assert guard.mode == "estop" and guard.collect().limits["rejected_estop"] > 0
    with pytest.raises(GuardFault, match="rearm"):
        guard.park()
    until(lambda: np.abs(guard.arm_states["arm"].dq).max() < 0.05)
    guard.rearm()
    moved(guard)
    guard.estop("again")
    until(lambda: guard.mode == "estop" and guard.reason == "again")
    until(lambda: np.abs(guard.arm_states["arm"].dq).max() < 0.05)
    guard.rearm()
    park(guard)


def test_a_press_that_rearming_did_not_know_of_stays(guard):
    moved(guard)
    guard.estop("first")
    until(lambda: guard.mode == "estop" and np.abs(guard.arm_states["arm"].dq).max() < 0.05)
    known = guard._stop.mark
    guard.estop("second")
    with pytest.raises(GuardFault, match="pressed again"):
        guard._ask(Order.REARM, mark=known)
    assert guard.mode == "estop"
    guard.rearm()
    park(guard)


def test_bad_orders_of_others_do_not_end_the_guard(guard):
    ring = RingWriter(guard._folder / ORDERS_RING)
    ring.open()
    for kind, data in (
        (3, b"{}"),
        (6, b"[]"),
        (6, b'{"t_ns": 1e999}'),
        (1, bytes(40)),
        (77, b"x"),
        (8, b'{"t_ns": "no"}'),
    ):
        head = len(data).to_bytes(4, "little")
        ring.write(kind, head + data, CLOCK.now())
    ring.close()
    time.sleep(0.3)
    assert guard.status.epoch == 0 and guard.mode in ("hold", "fault")
    if guard.mode == "fault":
        guard.rearm()
    moved(guard)
    park(guard)


def test_an_interrupted_close_parks_first(emulator, guard):
    moved(guard)
    robot, real = GuardedRobot(RIG, CLOCK, guard, {}, tick=False), guard.park
    calls = []

    def once():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real()

    guard.park = once
    with pytest.raises(KeyboardInterrupt):
        robot.close()
    assert robot.ended_parked and not guard.is_open and register(emulator, TORQUE) == [0] * 6


def test_sigterm_to_the_guard_parks_and_releases(emulator, guard):
    moved(guard)
    watcher = Watcher(guard._folder)
    os.kill(guard_pid(guard._folder), signal.SIGTERM)
    until(lambda: any(not s.is_open for s in watcher.look()))
    assert "released_unparked" not in watcher.seen[-1].limits and "park" in {s.mode for s in watcher.seen}
    watcher.flight().assert_sound()
    with pytest.raises(GuardFault, match="asked to end"):
        until(lambda: guard.submit(ActionChunk(CLOCK.now(), 1, {}, {}, CLOCK.now())) and None)
    guard.close()
    assert register(emulator, TORQUE) == [0] * 6


def test_a_rig_without_a_port_says_so():
    with pytest.raises(DeviceError, match=r"arm: no port; .*arms.NAME.port"):
        GuardProcess(RIG, {}).open()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "not there; is the cable in"),
        ("/dev/serial/none", "not there; is the cable in"),
        ("/dev/null", "not a serial port"),
        ("/dev/shm", "not a serial port"),
    ],
)
def test_a_port_that_is_none_says_so(path, said):
    with pytest.raises(DeviceError, match=f"port {path or repr('')}: {said}"):
        GuardProcess(RIG, {"arm": path}).open()
