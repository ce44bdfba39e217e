"""The guard in its own process, on the emulated SO-101: what happens when somebody dies, hangs or meddles.

Real time on a shared machine: what is asserted are the guard's own clock, log and end states, no wall-clock races.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from emulated import MS, sway
from twinloop.robot.arms.so101 import BAUD
from twinloop.robot.buses import Bus, FeetechFraming, SerialPort
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError, GuardFault
from twinloop.robot.guard import read_blackbox
from twinloop.robot.guard.blackbox import read_events
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.estop import StopPage
from twinloop.robot.process.orders import Order
from twinloop.robot.process.plan import LOG, ORDERS_RING, STATUS_RING
from twinloop.robot.process.ring import RingReader, RingWriter
from twinloop.robot.process.sessions import guard_pid
from twinloop.robot.process.status import StatusCodec
from twinloop.robot.rig import load_rig
from twinloop.robot.robot import GuardedRobot
from twinloop.robot.testing import RobotContract
from twinloop.robot.types import ActionChunk
from twinloop.sim.emulate.process import EmulatorProcess

RIG = load_rig("so101")
CLOCK = RealClock()
TORQUE, GOAL = 40, 42  # registers of a servo
COUNT_RAD = 2 * np.pi / 4096
STEP_RAD = np.radians(0.5)  # no goal may jump by more when somebody comes back
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def emulator():
    with EmulatorProcess(RIG) as made:
        yield made


@pytest.fixture
def guard(emulator):
    made = GuardProcess(RIG, emulator.paths)
    made.open()
    yield made
    if made.is_open:
        made.close(unparked=True)


def until(condition, seconds=30.0):
    """Wait for a condition, patiently."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    pytest.fail("it never came")


def moved(guard, watcher=None, seconds=0.0):
    """Sway for that long and until the arm is well on its way."""
    begin = CLOCK.now()
    for now in sway(guard, CLOCK, seconds + 10.0):
        if watcher is not None:
            watcher.look()
        fast = abs(guard.arm_states["arm"].dq[0]) > 0.4
        if now - begin > seconds * 1e9 and fast and guard.mode == "run":
            return
    pytest.fail(f"it does not move: {guard.mode}, {guard.reason}")


def park(guard):
    guard.park()
    until(lambda: guard.parked)
    guard.close()


def register(emulator, address, size=1):
    """A register of all servos, once nobody holds the port."""
    bus = Bus(SerialPort(emulator.paths["arm"], BAUD, CLOCK), FeetechFraming(), CLOCK, BAUD)
    bus.open()
    try:
        return [int.from_bytes(bus.read(id, address, size), "little") for id in range(1, 7)]
    finally:
        bus.close()


class Watcher:
    """Reads every status of a session, as a viewer would."""

    def __init__(self, folder: Path) -> None:
        self.ring = RingReader(folder / STATUS_RING)
        self.ring.open()
        self.codec = StatusCodec(RIG)
        self.seen = []

    def look(self):
        self.seen += [self.codec.unpack(message.data) for message in self.ring.poll(1000)]
        return self.seen

    def sent(self, since_ns=0):
        """Times (K,) s and commanded joints (K, 5), ticks that were late left out with the step after them."""
        kept = [s for s in self.seen if s.t_ns >= since_ns and s.is_open]
        return np.array([s.t_ns for s in kept]) * 1e-9, np.array([s.sent[:5] for s in kept])

    def assert_limits(self):
        """No command moved by more than a tick at the velocity limit: a late tick moves by no more than one.

        After a stall, and in a guard that was started anew, commands begin anew at the measured pose.
        """
        spec = RIG.joint_spec("arm")
        kept = [s for s in self.seen if s.is_open]
        q = np.array([s.sent[:5] for s in kept])
        anew = np.diff([s.limits.get("stall", 0) + 1000 * s.epoch for s in kept]) != 0
        steps = np.abs(np.diff(q, axis=0)).max(axis=1)[~anew]
        assert steps.max() <= spec.dq_max[0] / RIG.guard.rate_hz * 1.0001
        assert (q > spec.q_min - 1e-8).all() and (q < spec.q_max + 1e-8).all()


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


@pytest.fixture
def agent(emulator):
    """Starts an agent in a process of its own, on its way; and somebody who watches."""
    begun = []

    def start(*args):
        script = Path(__file__).with_name("emulated.py")
        command = [sys.executable, str(script), emulator.paths["arm"], *map(str, args)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        watcher = Watcher(Path(process.stdout.readline().strip()))
        begun.append((process, watcher))
        assert process.stdout.readline() == "moving\n"
        return process, watcher

    yield start
    for process, watcher in begun:
        process.kill()
        process.wait()
        until(lambda watcher=watcher: any(not s.is_open for s in watcher.look()))


@pytest.mark.parametrize("arguments", [(100,), (2000,), (100, "fork")])
def test_a_killed_agent_the_arm_holds_parks_and_is_released(emulator, agent, arguments):
    process, watcher = agent(*arguments)
    watcher.look()
    process.kill()
    process.wait()
    until(lambda: any(not s.is_open for s in watcher.look()))
    watcher.assert_limits()
    modes = [s.mode for s in watcher.seen]
    last = max(k for k, mode in enumerate(modes) if mode == "run")
    assert modes[last + 1] == "hold" and "park" in modes[last:]
    reasons = {s.reason for s in watcher.seen[last:]}
    assert "the agent's process died" in reasons
    assert "released_unparked" not in watcher.seen[-1].limits
    assert register(emulator, TORQUE) == [0] * 6
    until(lambda: not watcher.ring.path.exists())


def test_a_hung_agent_the_arm_holds_and_goes_on_with_it(agent):
    process, watcher = agent()
    process.send_signal(signal.SIGSTOP)
    until(lambda: watcher.look() and watcher.seen[-1].mode == "hold")
    held = next(k for k in range(len(watcher.seen) - 1, 0, -1) if watcher.seen[k - 1].mode == "run")
    assert watcher.seen[held].reason == "chunk expired" and watcher.seen[held].limits["expired"] >= 1
    time.sleep(0.4)
    watcher.look()
    still = watcher.sent(watcher.seen[held].t_ns + 300 * MS)[1]
    assert np.ptp(still, axis=0).max() < 1e-9
    process.send_signal(signal.SIGCONT)
    until(lambda: watcher.look()[-1].mode == "run")
    watcher.assert_limits()


def test_a_killed_guard_is_started_anew_with_a_fault_and_without_a_jump(emulator, guard):
    watcher = Watcher(guard._folder)
    moved(guard)
    watcher.look()
    pid = guard_pid(guard._folder)
    os.kill(pid, signal.SIGKILL)
    until(lambda: guard.status.epoch == 1 and guard.mode == "fault" and "started anew" in guard.reason)
    watcher.look()
    before = [s for s in watcher.seen if s.epoch == 0][-1]
    after = [s for s in watcher.seen if s.epoch == 1][0]
    measured = after.arms["arm"].q
    assert np.abs(after.sent[:5] - measured).max() < STEP_RAD  # goal := present
    assert np.abs(measured - before.sent[:5]).max() < 0.2  # the servos had held meanwhile
    now = CLOCK.now()
    guard.submit(ActionChunk(now, 33 * MS, {"arm": measured[None]}, {}, now + 90 * MS))
    until(lambda: guard.collect().limits.get("rejected_fault"))
    until(lambda: np.abs(guard.arm_states["arm"].dq).max() < 0.05)
    guard.rearm()
    moved(guard)
    park(guard)
    assert register(emulator, TORQUE) == [0] * 6


def test_a_hung_guard_is_killed_and_started_anew(emulator, guard):
    watcher = Watcher(guard._folder)
    moved(guard)
    os.kill(guard_pid(guard._folder), signal.SIGSTOP)
    until(lambda: guard.status.epoch == 1 and guard.mode == "fault" and "started anew" in guard.reason)
    assert "the guard hangs" in (guard._folder / LOG).read_text()
    watcher.look()
    watcher.assert_limits()
    until(lambda: np.abs(guard.arm_states["arm"].dq).max() < 0.05)
    guard.rearm()
    moved(guard)
    park(guard)


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


def test_the_black_box_outlives_a_killed_guard(emulator, tmp_path):
    path = tmp_path / "arm.blackbox"
    guard = GuardProcess(RIG, emulator.paths, blackbox=path)
    guard.open()
    moved(guard)
    os.kill(guard_pid(guard._folder), signal.SIGKILL)
    until(lambda: guard.status.epoch == 1 and guard.mode == "fault")
    before = path.with_name(path.name + ".previous")
    columns, rows = read_blackbox(before)
    assert len(rows) > 10 and rows[-1, columns.index("mode")] == 0  # it was running
    assert [e["mode"] for e in read_events(before)] == ["hold", "run"]
    assert "started anew" in read_events(path)[-1]["reason"]
    park(guard)


def test_a_second_process_is_refused_by_name(emulator, guard):
    pid = guard_pid(guard._folder)
    other = GuardProcess(RIG, emulator.paths)
    with pytest.raises(DeviceError, match=f"in use by process .*{pid}"):
        other.open()
    assert not other.is_open
    moved(guard)  # the first one was not disturbed
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


def test_an_estop_outlives_its_guard_and_closing_and_opening(emulator, guard):
    moved(guard)
    guard.estop("hand in the cell")
    until(lambda: guard.mode == "estop")
    os.kill(guard_pid(guard._folder), signal.SIGKILL)
    until(lambda: guard.status.epoch == 1)
    until(lambda: guard.mode == "estop")
    assert guard.reason == "hand in the cell"
    guard.close(unparked=True)
    guard.open()
    until(lambda: guard.mode == "estop")
    until(lambda: np.abs(guard.arm_states["arm"].dq).max() < 0.05)
    guard.rearm()
    moved(guard)
    park(guard)


def test_a_press_that_rearming_did_not_know_of_stays(guard):
    moved(guard)
    guard.estop("first")
    until(lambda: guard.mode == "estop" and np.abs(guard.arm_states["arm"].dq).max() < 0.05)
    known = guard._stop.presses
    guard.estop("second")
    with pytest.raises(GuardFault, match="pressed again"):
        guard._ask(Order.REARM, presses=known)
    assert guard.mode == "estop"
    guard.rearm()
    park(guard)


def test_a_killed_supervisor_the_guard_parks_and_releases_by_itself(emulator, guard):
    moved(guard)
    watcher = Watcher(guard._folder)
    os.kill(guard._process.pid, signal.SIGKILL)
    guard._process.wait()
    moved(guard, watcher)  # the guard itself is there
    robot = GuardedRobot(RIG, CLOCK, guard, {}, tick=False)
    robot.close()
    assert robot.ended_parked and register(emulator, TORQUE) == [0] * 6


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
    watcher.assert_limits()
    with pytest.raises(GuardFault, match="ended"):
        until(lambda: guard.submit(ActionChunk(CLOCK.now(), 1, {}, {}, CLOCK.now())) and None)
    guard.close()
    assert register(emulator, TORQUE) == [0] * 6


def test_three_malformed_chunks_latch_a_fault(guard):
    moved(guard)
    for _ in range(3):
        now = CLOCK.now()
        assert not guard.submit(
            ActionChunk(now, 33 * MS, {"arm": np.full((1, 5), np.nan)}, {}, now + 90 * MS)
        )
    until(lambda: guard.mode == "fault")
    assert "nonfinite" in guard.reason
    limits = guard.collect().limits
    time.sleep(0.05)
    for name, ticks in guard.collect().limits.items():
        limits[name] = limits.get(name, 0) + ticks
    assert limits["rejected_nonfinite"] == 3  # told once, here or there
    park(guard)


def test_an_unplugged_arm_comes_back_where_it_stands(emulator, guard):
    moved(guard)
    watcher = Watcher(guard._folder)
    emulator.unplug("arm")
    until(lambda: guard.mode == "hold" and "stale" in guard.reason)
    watcher.look()
    emulator.plug("arm")
    until(lambda: guard.status.t_ns - guard.arm_states["arm"].t_ns < 20 * MS)
    time.sleep(0.2)
    watcher.look()
    assert {"stale_state", "device"} <= set(watcher.seen[-1].limits)
    sent = watcher.sent()[1]
    assert np.abs(np.diff(sent, axis=0)).max() < STEP_RAD * 2.1  # a tick of full speed is 1 degree
    moved(guard)
    park(guard)


def test_a_bad_line_costs_nothing_but_readings(emulator, guard):
    emulator.faults("arm", damaged=0.01, lost=0.01)
    try:
        watcher = Watcher(guard._folder)
        moved(guard, watcher, 6.0)
        watcher.assert_limits()
        assert watcher.seen[-1].mode == "run"
    finally:
        emulator.faults("arm", damaged=0.0, lost=0.0)
    park(guard)


def test_a_hot_servo_slows_the_arm_and_then_stops_it(emulator, guard):
    try:
        watcher = Watcher(guard._folder)
        emulator.heat("arm", 3, 63.0)
        moved(guard, watcher)
        until(lambda: watcher.look()[-1].limits.get("temperature", 0) > 0 or (moved(guard) and False))
        assert guard.arm_states["arm"].temperature_c[2] == 63.0
        emulator.heat("arm", 3, 66.0)
        for _ in sway(guard, CLOCK, 0.6):
            watcher.look()
        until(lambda: watcher.look()[-1].mode == "hold")
        assert watcher.seen[-1].limits["rejected_temperature"] > 0
        emulator.heat("arm", 3, 40.0)
        moved(guard, watcher)
    finally:
        emulator.heat("arm", 3, None)
    park(guard)


def test_an_overload_that_a_servo_reports_latches_and_names_it(emulator, guard):
    moved(guard)
    emulator.overload("arm", 2)
    until(lambda: guard.mode == "fault")
    assert "shoulder_lift: overload" in guard.reason
    guard.close(unparked=True)  # somebody holds it; torque off and on clears the servo
    again = GuardProcess(RIG, emulator.paths)
    again.open()
    moved(again)
    park(again)


def test_one_silent_servo_holds_the_arm(emulator, guard):
    moved(guard)
    emulator.faults("arm", dead=frozenset((4,)))
    try:
        until(lambda: guard.mode == "hold" and "stale" in guard.reason)
        assert "stale_state" in guard.collect().limits
    finally:
        emulator.faults("arm", dead=frozenset())
    moved(guard)
    park(guard)


def test_a_wall_clock_that_jumps_by_an_hour_changes_nothing(emulator, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import itertools, time\n"
        "real, turn = time.time, itertools.cycle((3600.0, -3600.0))\n"
        "time.time = lambda: real() + next(turn)\n"
        "time.time_ns = lambda: int(1e9 * time.time())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    guard = GuardProcess(RIG, emulator.paths)
    guard.open()
    try:
        watcher = Watcher(guard._folder)
        moved(guard, watcher, 2.0)
        watcher.assert_limits()
        ended = watcher.seen[-1]  # a busy machine delays some cycles, that clock would every second one
        assert (
            sum(ended.limits.get(name, 0) for name in ("stall", "expired", "stale_state")) < ended.ticks / 4
        )
        park(guard)
    finally:
        guard.close(unparked=True)


def test_a_full_memory_is_said_before_anything_moves(emulator, tmp_path):
    """In a mount namespace of its own, where the folder of sessions has no room for a ring."""
    code = (
        "import sys; from twinloop.robot.rig import load_rig; from twinloop.robot.process import GuardProcess\n"
        "from twinloop.robot.errors import DeviceError\n"
        "try: GuardProcess(load_rig('so101'), {'arm': sys.argv[1]}).open()\n"
        "except DeviceError as error: print('said:', error)\n"
    )
    script = 'mount -t tmpfs -o size=200k none /dev/shm || exit 77; exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, code, emulator.paths["arm"]],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "Operation not permitted" in done.stderr:
        pytest.skip("mounting is not allowed here")
    assert "said:" in done.stdout and "No space left" in done.stdout, done.stdout + done.stderr


def test_a_memory_that_fills_up_during_a_run_stops_nothing(emulator):
    """In a mount namespace of its own: every order goes on, and the arm parks and is released."""
    code = (
        "import sys, time, pathlib; sys.path.insert(0, sys.argv[2]); from test_guard_process import *\n"
        "g = GuardProcess(RIG, {'arm': sys.argv[1]}, blackbox=pathlib.Path('/dev/shm/arm.blackbox')); g.open()\n"
        "with open('/dev/shm/filler', 'wb', buffering=0) as f:\n"
        "    try:\n"
        "        while f.write(bytes(512)): pass\n"
        "    except OSError as error: print(error)\n"
        "moved(g)\n"
        "g.estop('full'); until(lambda: g.mode == 'estop')\n"
        "until(lambda: np.abs(g.arm_states['arm'].dq).max() < 0.05); g.rearm(); moved(g)\n"
        "g.note_frame('front', CLOCK.now()); time.sleep(0.6)\n"  # one more protection to tell of
        "os.kill(guard_pid(g._folder), signal.SIGKILL)\n"
        "until(lambda: g.status.epoch == 1 and g.mode == 'fault')\n"
        "park(g); print('released')\n"
    )
    script = 'mount -t tmpfs -o size=8m none /dev/shm || exit 77; exec "$0" -c "$1" "$2" "$3"'
    port, here = os.path.realpath(emulator.paths["arm"]), str(Path(__file__).parent)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, code, port, here],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "Operation not permitted" in done.stderr:
        pytest.skip("mounting is not allowed here")
    assert "No space left" in done.stdout and "released" in done.stdout, done.stdout + done.stderr
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
