"""The control loop: absolute deadlines, no catch-up after a stall, hold before every exit that is no normal one."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from twinloop.robot.loop import STALL_PERIODS, ControlLoop
from twinloop.robot.types import ActionChunk, Applied, Observation

sys.path.insert(0, str(Path(__file__).with_name("guard")))
from guard_fakes import BareClock

PERIOD = 20_000_000


class Robot:
    """Counts; its clock wakes up late where `late_ns` says so."""

    def __init__(self, late_ns=()):
        self.clock = Sleepy(late_ns)
        self.held = 0
        self.times: list[int] = []

    def observe(self):
        self.times.append(self.clock.now())
        return Observation(self.clock.now(), {}, {}, {})

    def apply(self, chunk):
        return Applied(self.clock.now(), {}, {}, {}, {}, source=chunk.source)

    def hold(self):
        self.held += 1

    def close(self): ...


class Sleepy(BareClock):
    def __init__(self, late_ns):
        super().__init__()
        self.late = list(late_ns)

    def sleep_until(self, deadline_ns):
        super().sleep_until(deadline_ns + (self.late.pop(0) if self.late else 0))


class Script:
    """An agent that fails at its n-th step."""

    def __init__(self, fail_at=None, error=RuntimeError):
        self.fail_at, self.error, self.seeds, self.count = fail_at, error, [], 0

    def reset(self, seed):
        self.seeds.append(seed)

    def act(self, obs):
        self.count += 1
        if self.count == self.fail_at:
            raise self.error
        return ActionChunk(obs.t_ns, PERIOD, {}, {}, obs.t_ns + 5 * PERIOD, "script")


class Watcher:
    def __init__(self):
        self.seen = []

    def on_step(self, step):
        self.seen.append((step.obs.t_ns, step.chunk.t0_ns, step.applied.t_ns))


def test_runs_at_its_rate_and_shows_every_step():
    robot, agent, watcher = Robot(), Script(), Watcher()
    report = ControlLoop(robot, agent, PERIOD, [watcher]).run(50 * PERIOD, seed=7)
    assert report.steps == 50 and agent.seeds == [7] and robot.held == 0
    assert [t - robot.times[0] for t in robot.times] == [k * PERIOD for k in range(50)]
    # A step is what was seen, what was answered, and what the guard did until the next observation.
    assert watcher.seen == [(t, t, after) for t, after in itertools.pairwise(robot.times)]
    assert report.stalls == 0 and report.lateness_ns.max() == 0


def test_lateness_does_not_add_up():
    """Deadlines are absolute: a step that wakes up late is followed by one that is on time."""
    robot = Robot(late_ns=[3_000_000] * 10)
    report = ControlLoop(robot, Script(), PERIOD).run(20 * PERIOD)
    assert report.steps == 20
    assert (robot.times[15] - robot.times[0]) == 15 * PERIOD
    assert report.lateness_ns[:10].tolist() == [3_000_000] * 10


def test_no_catch_up_after_a_stall():
    stall = (STALL_PERIODS + 6) * PERIOD
    robot = Robot(late_ns=[0, stall])
    report = ControlLoop(robot, Script(), PERIOD).run(30 * PERIOD)
    assert report.stalls == 1
    steps = [b - a for a, b in zip(robot.times, robot.times[1:], strict=False)]
    assert min(steps) == PERIOD, "steps were squeezed to make up for the stall"
    assert report.steps == 30 - (STALL_PERIODS + 6)


def test_stop_ends_the_run_after_the_step_that_asked():
    robot = Robot()
    report = ControlLoop(robot, Script(), PERIOD).run(
        50 * PERIOD, stop=lambda obs, applied: len(robot.times) == 4
    )
    assert report.steps == 4 and robot.held == 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_holds_before_an_error_leaves(error):
    robot = Robot()
    with pytest.raises(error):
        ControlLoop(robot, Script(fail_at=3, error=error), PERIOD).run(50 * PERIOD)
    assert robot.held == 1 and len(robot.times) == 3


def test_an_observer_that_fails_leaves_the_robot_holding():
    class Broken:
        def on_step(self, step):
            raise OSError("disk")

    robot = Robot()
    with pytest.raises(OSError, match="disk"):
        ControlLoop(robot, Script(), PERIOD, [Broken()]).run(50 * PERIOD)
    assert robot.held == 1


def test_observers_see_what_a_disturbed_agent_meant():
    class Noisy(Script):
        intended = None

        def act(self, obs):
            self.intended = super().act(obs)
            return replace(self.intended, t0_ns=0)

    watcher = Watcher()
    ControlLoop(Robot(), Noisy(), PERIOD, [watcher]).run(5 * PERIOD)
    assert [meant for _, meant, _ in watcher.seen] == [t for t, _, _ in watcher.seen]


def test_overruns_are_counted_and_the_summary_names_them():
    report = ControlLoop(Robot(late_ns=[5_000_000]), Script(), PERIOD).run(10 * PERIOD)
    summary = report.summary()
    assert summary["steps"] == 10 and summary["overruns"] == report.overruns
    assert summary["lateness_max_ms"] == 5.0
