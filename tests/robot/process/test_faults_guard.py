"""Faults of the guard's process and of the machine: killed, hung, a clock that jumps, memory and disks that fill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from emulated import MS
from flight import (
    CLOCK,
    RIG,
    STEP_RAD,
    TORQUE,
    Flight,
    Watcher,
    moved,
    opened,
    park,
    register,
    standing,
    until,
)
from twinloop.robot.errors import DeviceError, GuardFault
from twinloop.robot.guard import read_blackbox
from twinloop.robot.guard.blackbox import read_events
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.plan import LOG
from twinloop.robot.process.sessions import guard_pid
from twinloop.robot.robot import GuardedRobot
from twinloop.robot.types import ActionChunk

pytestmark = pytest.mark.slow
ANEW = ("fault", "the guard's process died and was started anew")


def test_a_killed_guard_is_started_anew_with_a_fault_and_without_a_jump(emulator, guard):
    watcher = Watcher(guard._folder)
    moved(guard, watcher)
    os.kill(guard_pid(guard._folder), signal.SIGKILL)
    until(lambda: guard.status.epoch == 1 and (guard.mode, guard.reason) == ANEW)
    watcher.look()
    before = [s for s in watcher.seen if s.epoch == 0][-1]
    after = [s for s in watcher.seen if s.epoch == 1][0]
    measured = after.arms["arm"].q
    assert np.abs(after.sent[:5] - measured).max() < STEP_RAD  # goal := present
    assert np.abs(measured - before.sent[:5]).max() < 0.2  # the servos had held meanwhile
    now = CLOCK.now()
    guard.submit(ActionChunk(now, 33 * MS, {"arm": measured[None]}, {}, now + 90 * MS))
    until(lambda: guard.collect().limits.get("rejected_fault"))
    standing(guard)
    guard.rearm()
    moved(guard, watcher)
    watcher.flight().assert_sound()
    park(guard)
    assert register(emulator, TORQUE) == [0] * 6


def test_a_hung_guard_is_killed_and_started_anew(guard):
    watcher = Watcher(guard._folder)
    moved(guard, watcher)
    os.kill(guard_pid(guard._folder), signal.SIGSTOP)
    until(lambda: guard.status.epoch == 1 and (guard.mode, guard.reason) == ANEW)
    assert "the guard hangs" in (guard._folder / LOG).read_text()
    watcher.look()
    standing(guard)
    guard.rearm()
    moved(guard, watcher)
    watcher.flight().assert_sound()
    park(guard)


def test_the_black_box_outlives_a_killed_guard(emulator, tmp_path):
    path = tmp_path / "arm.blackbox"
    guard = opened(RIG, emulator.paths, blackbox=path)
    moved(guard)
    os.kill(guard_pid(guard._folder), signal.SIGKILL)
    until(lambda: guard.status.epoch == 1 and guard.mode == "fault")
    before = path.with_name(path.name + ".previous")
    columns, rows = read_blackbox(before)
    assert len(rows) > 10 and rows[-1, columns.index("mode")] == 0  # it was running
    assert [e["mode"] for e in read_events(before)][:2] == ["hold", "run"]
    Flight.from_blackbox(before).assert_sound()
    assert ANEW[1] in read_events(path)[-1]["reason"]
    park(guard)


def test_an_estop_outlives_its_guard_and_closing_and_opening(guard):
    watcher = Watcher(guard._folder)
    moved(guard, watcher)
    guard.estop("hand in the cell")
    until(lambda: guard.mode == "estop")
    os.kill(guard_pid(guard._folder), signal.SIGKILL)
    until(lambda: guard.status.epoch == 1)
    until(lambda: guard.mode == "estop")
    assert guard.reason == "hand in the cell"
    watcher.flight().assert_sound()
    guard.close(unparked=True)
    guard.open()
    until(lambda: guard.mode == "estop")
    standing(guard)
    guard.rearm()
    moved(guard)
    park(guard)


def test_a_killed_supervisor_the_guard_parks_and_releases_by_itself(emulator, guard):
    moved(guard)
    watcher = Watcher(guard._folder)
    os.kill(guard._process.pid, signal.SIGKILL)
    guard._process.wait()
    moved(guard, watcher, 0.5)  # the guard itself is there
    watcher.flight().assert_sound()
    robot = GuardedRobot(RIG, CLOCK, guard, {}, tick=False)
    robot.close()
    assert robot.ended_parked and register(emulator, TORQUE) == [0] * 6


def test_a_guard_killed_with_its_supervisor_leaves_an_arm_that_holds_and_says_so(emulator, guard, caplog):
    moved(guard)
    pid = guard_pid(guard._folder)
    guard._process.kill()
    guard._process.wait()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists())
    with pytest.raises(GuardFault, match=r"killed \(signal 9\); close\(\) and open"):
        guard.park()
    guard.close()
    assert guard.abandoned and "torque may still be on" in caplog.text
    assert register(emulator, TORQUE) == [1] * 6
    guard.open()  # takes the holding arm up again
    assert not guard.abandoned
    park(guard)


def test_a_second_process_is_refused_by_name(emulator, guard):
    watcher = Watcher(guard._folder)
    moved(guard, watcher)
    pid = guard_pid(guard._folder)
    other = GuardProcess(RIG, emulator.paths)
    with pytest.raises(DeviceError, match=f"in use by process .*{pid}"):
        other.open()
    assert not other.is_open
    moved(guard, watcher)  # the first one was not disturbed
    watcher.flight().assert_sound()
    assert guard.status.epoch == 0
    park(guard)


def test_a_wall_clock_that_jumps_by_an_hour_changes_nothing(emulator, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import itertools, time\n"
        "real, turn = time.time, itertools.cycle((3600.0, -3600.0))\n"
        "time.time = lambda: real() + next(turn)\n"
        "time.time_ns = lambda: int(1e9 * time.time())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    guard = opened(RIG, emulator.paths)
    try:
        watcher = Watcher(guard._folder)
        moved(guard, watcher, 2.0)
        watcher.flight().assert_sound()
        ended = watcher.seen[-1]  # a busy machine delays some cycles, that clock would every second one
        assert (
            sum(ended.limits.get(name, 0) for name in ("stall", "expired", "stale_state")) < ended.ticks / 4
        )
        park(guard)
    finally:
        guard.close(unparked=True)


def in_namespace(size, where, code, *args):
    """Run `code` where a tmpfs of `size` is mounted on `where`, in a mount namespace of its own."""
    script = f'mount -t tmpfs -o size={size} none {where} || exit 77; exec "$0" "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, "-c", code, *args],
        capture_output=True, text=True, timeout=200, check=False, env={**os.environ, "TWINLOOP_MEMORY": "/dev/shm"},
    )  # fmt: skip
    if done.returncode == 77 or "Operation not permitted" in done.stderr:
        pytest.skip("mounting is not allowed here")
    return done


HERE = "import sys, pathlib, time; sys.path.insert(0, sys.argv[2]); from test_faults_guard import *\n"


def test_a_full_memory_is_said_before_anything_moves(emulator):
    """Where the folder of sessions has no room for a ring."""
    code = HERE + (
        "try: GuardProcess(RIG, {'arm': sys.argv[1]}).open()\n"
        "except DeviceError as error: print('said:', error)\n"
    )
    done = in_namespace("200k", "/dev/shm", code, emulator.paths["arm"], str(Path(__file__).parent))
    assert "said:" in done.stdout and "No space left" in done.stdout, done.stdout + done.stderr


FILL = (
    "def fill(path):\n"
    "    with open(path, 'wb', buffering=0) as f:\n"
    "        try:\n"
    "            while f.write(bytes(512)): pass\n"
    "        except OSError as error: print(error)\n"
)


def test_a_memory_that_fills_up_during_a_run_stops_nothing(emulator):
    """Every order goes on, and the arm parks and is released."""
    code = HERE + FILL + (
        "g = opened(RIG, {'arm': sys.argv[1]}, blackbox=pathlib.Path('/dev/shm/arm.blackbox'))\n"
        "fill('/dev/shm/filler')\n"
        "w = Watcher(g._folder); moved(g, w)\n"
        "g.estop('full'); until(lambda: g.mode == 'estop')\n"
        "standing(g); g.rearm(); moved(g, w)\n"
        "g.note_frame('front', CLOCK.now()); time.sleep(0.6)\n"  # one more protection to tell of
        "os.kill(guard_pid(g._folder), signal.SIGKILL)\n"
        "until(lambda: w.look() and g.status.epoch == 1 and g.mode == 'fault')\n"
        "w.flight().assert_sound()\n"
        "park(g); print('released')\n"
    )  # fmt: skip
    port, here = os.path.realpath(emulator.paths["arm"]), str(Path(__file__).parent)
    done = in_namespace("8m", "/dev/shm", code, port, here)
    assert "No space left" in done.stdout and "released" in done.stdout, done.stdout + done.stderr
    assert register(emulator, TORQUE) == [0] * 6


def test_a_full_disk_costs_the_black_boxs_file_and_nothing_else(emulator, tmp_path):
    code = HERE + FILL + (
        "box = pathlib.Path(sys.argv[3]) / 'arm.blackbox'; fill(box.parent / 'filler')\n"
        "g = opened(RIG, {'arm': sys.argv[1]}, blackbox=box)\n"
        "w = Watcher(g._folder); moved(g, w); w.flight().assert_sound()\n"
        "print((g._folder / LOG).read_text())\n"
        "park(g); print('released')\n"
    )  # fmt: skip
    port, here = os.path.realpath(emulator.paths["arm"]), str(Path(__file__).parent)
    done = in_namespace("1m", str(tmp_path), code, port, here, str(tmp_path))
    assert "No space left on device; kept in memory alone" in done.stdout, done.stdout + done.stderr
    assert "released" in done.stdout and register(emulator, TORQUE) == [0] * 6
