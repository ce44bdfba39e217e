"""Faults of the agent: killed, hung, killed in the middle of a word, talking nonsense; and a machine that is busy."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from emulated import MS
from flight import CLOCK, HOME, RIG, TORQUE, Flight, Watcher, moved, opened, park, register, standing, until
from twinloop.data import Dataset
from twinloop.data.check import check
from twinloop.robot.process.orders import Order, Request
from twinloop.robot.types import ActionChunk

pytestmark = pytest.mark.slow


def parked_and_released(emulator, watcher):
    """The end that a dead agent's arm comes to."""
    until(lambda: any(not s.is_open for s in watcher.look()))
    watcher.flight().assert_sound()
    modes = [s.mode for s in watcher.seen]
    last = max(k for k, mode in enumerate(modes) if mode == "run")
    assert modes[last + 1] == "hold" and "park" in modes[last:]
    assert ("hold", "the agent's process died") in watcher.reasons()
    assert "released_unparked" not in watcher.seen[-1].limits
    assert register(emulator, TORQUE) == [0] * 6
    until(lambda: not watcher.ring.path.exists())


@pytest.mark.parametrize(
    "arguments",
    [
        (100,),
        pytest.param((2000,), marks=pytest.mark.thorough),
        pytest.param((100, "fork"), marks=pytest.mark.thorough),
    ],
)
def test_a_killed_agent_the_arm_holds_parks_and_is_released(emulator, agent, arguments):
    process, watcher = agent(*arguments)
    watcher.look()
    process.kill()
    process.wait()
    parked_and_released(emulator, watcher)


def test_an_agent_killed_while_it_writes_an_order_and_its_recorder_an_episode(emulator, agent, tmp_path):
    process, watcher = agent(100, "torn", tmp_path / "d")
    watcher.look()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait(30) == -signal.SIGKILL
    parked_and_released(emulator, watcher)
    assert "rejected_dtype" not in watcher.seen[-1].limits  # half an order is none
    until(lambda: check(tmp_path / "d").ok and Dataset(tmp_path / "d").open().num_episodes == 1)
    episode = Dataset(tmp_path / "d").open().episode(0)
    assert episode.info["ended"] == "the agent's process died" and episode.length > 30
    assert (np.diff(episode.columns["time.observation"].ravel()) > 0).all()


def test_a_hung_agent_the_arm_holds_and_goes_on_with_it(agent):
    process, watcher = agent()
    process.send_signal(signal.SIGSTOP)
    until(lambda: watcher.look() and watcher.seen[-1].mode == "hold")
    held = next(k for k in range(len(watcher.seen) - 1, 0, -1) if watcher.seen[k - 1].mode == "run")
    assert watcher.seen[held].reason == "chunk expired" and watcher.seen[held].limits["expired"] >= 1
    time.sleep(0.4)
    watcher.look()
    still = np.array([s.sent for s in watcher.seen if s.t_ns > watcher.seen[held].t_ns + 300 * MS])
    assert np.ptp(still, axis=0).max() < 1e-9
    process.send_signal(signal.SIGCONT)
    until(lambda: watcher.look()[-1].mode == "run")
    watcher.flight().assert_sound()


def chunk(q):
    now = CLOCK.now()
    return ActionChunk(now, 33 * MS, {"arm": q}, {}, now + 90 * MS)


NONSENSE = {
    "nonfinite": lambda: chunk(np.full((1, 5), np.nan)),
    "nonfinite ": lambda: chunk(np.array([[0.0, np.inf, 0.0, 0.0, 0.0]])),
    "shape": lambda: chunk(HOME[None, :4]),
    "shape ": lambda: chunk(np.zeros((0, 5))),
    "names": lambda: replace(chunk(HOME[None]), q={"left": HOME[None]}),
    "range": lambda: chunk(HOME[None] + 1e3),
    "times": lambda: replace(chunk(HOME[None]), dt_ns=-1),
}


def test_nonsense_is_rejected_within_a_tick_named_and_latched_the_third_time(guard):
    """Written into the ring as it is, past the agent's own check: by a broken agent."""
    moved(guard)
    watcher = Watcher(guard._folder)
    for kind, make in NONSENSE.items():
        limit = f"rejected_{kind.strip()}"
        moved(guard, watcher)
        before = watcher.look()[-1].limits.get(limit, 0)
        written = CLOCK.now()
        guard._write(Request(Order.CHUNK, chunk=make()))
        until(lambda limit=limit, before=before: watcher.look()[-1].limits.get(limit, 0) > before)
        told = next(k for k, s in enumerate(watcher.seen) if s.limits.get(limit, 0) > before)
        after = next(k for k, s in enumerate(watcher.seen) if s.t_ns >= written)
        assert told <= after + 1, kind
        assert watcher.seen[told].mode == "run"  # one is no reason to stop: the last sound chunk goes on
    for _ in range(3):
        guard._write(Request(Order.CHUNK, chunk=NONSENSE["nonfinite"]()))
    until(lambda: watcher.look()[-1].mode == "fault")
    assert watcher.seen[-1].reason == "3 bad chunks in a row, the last: nonfinite"
    watcher.flight().assert_sound()
    park(guard)


def test_three_malformed_chunks_latch_a_fault_and_are_told_once(guard):
    moved(guard)
    for _ in range(3):
        assert not guard.submit(chunk(np.full((1, 5), np.nan)))
    until(lambda: guard.mode == "fault")
    assert "nonfinite" in guard.reason
    limits = guard.collect().limits
    time.sleep(0.05)
    for name, ticks in guard.collect().limits.items():
        limits[name] = limits.get(name, 0) + ticks
    assert limits["rejected_nonfinite"] == 3  # told once, here or there
    park(guard)


def test_a_target_that_jumps_is_gone_to_within_the_limits(guard):
    watcher = Watcher(guard._folder)
    moved(guard, watcher)
    for sign in (1.0, -1.0):
        goal = HOME + [1.2 * sign, 0.5, -0.5, -0.6 * sign, 0.8 * sign]
        end = CLOCK.now() + 1500 * MS
        while CLOCK.now() < end and np.abs(guard.status.sent[:5] - goal).max() > 1e-6:
            guard.submit(chunk(goal[None]))
            watcher.look()
            CLOCK.sleep_until(CLOCK.now() + 20 * MS)
    acted = watcher.look()[-1].limits
    assert {"velocity", "acceleration", "jerk"} <= set(acted)
    watcher.flight().assert_sound()
    park(guard)


def test_eight_busy_programs_cost_ticks_that_are_counted_and_not_made_up_for(emulator, tmp_path):
    """All on the guard's own core, and so the other tests have the others."""
    path, core = tmp_path / "arm.blackbox", min(os.sched_getaffinity(0))
    guard = opened(RIG, emulator.paths, blackbox=path, cpu=core)
    moved(guard)
    hog = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    hogs = [subprocess.Popen([sys.executable, "-c", hog]) for _ in range(8)]
    try:
        end = CLOCK.now() + 3000 * MS
        goal = HOME.copy()
        while CLOCK.now() < end:
            now = CLOCK.now()
            goal[0] = 0.4 * np.sin(2e-9 * now)
            guard.submit(ActionChunk(now, 33 * MS, {"arm": goal[None]}, {}, now + 200 * MS))
            CLOCK.sleep_until(now + 20 * MS)
        assert guard.status.epoch == 0
    finally:
        for process in hogs:  # all, before any is waited for: one that is killed needs the core to end
            process.kill()
        for process in hogs:
            process.wait()
        until(lambda: guard.mode in ("run", "hold"))
        if guard.mode == "hold":
            standing(guard)
    flight = Flight.from_blackbox(path)
    flight.assert_sound()
    flight.assert_late_ticks_are_stalls()
    status = guard.status
    assert status.latest_ns < 15 * MS or status.missed > 0  # whole periods that were late are told
    moved(guard)
    park(guard)
    assert register(emulator, TORQUE) == [0] * 6
