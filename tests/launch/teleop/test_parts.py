"""The parts of a session: rates, the twin's pace, the tally, what rings."""

import numpy as np
import pytest
from twinloop.launch.teleop.rates import Rates
from twinloop.launch.teleop.tally import Tally
from twinloop.robot.rig import load_rig
from twinloop.robot.types import Frame, Observation
from twinloop.sim.pace import PacedClock

MS = 1_000_000
PERIOD = 33 * MS
PICTURE = np.zeros((4, 4, 3), np.uint8)


class Ticks:
    """A clock on which sleeping takes as long as it should, and `busy` longer."""

    def __init__(self, busy=0):
        self.t, self.busy, self.slept = 0, busy, 0

    def now(self):
        return self.t

    def sleep_until(self, deadline_ns):
        self.slept += max(0, deadline_ns - self.t)
        self.t = max(self.t, deadline_ns) + self.busy


def run(rates, walls, seqs, fps_ns=PERIOD):
    rates.begin()
    for k, (wall, seq) in enumerate(zip(walls, seqs, strict=True)):
        frames = {"front": Frame(k * PERIOD, seq, PICTURE)}
        rates.look(wall, Observation(k * PERIOD, {}, {}, frames))
    return rates.found()


@pytest.mark.parametrize(
    ("late_every", "seq_of", "words"),
    [
        (0, lambda k: k, ()),
        (40, lambda k: k, ()),  # 2.5 % late
        (10, lambda k: k, ("9 % of the steps",)),
        (0, lambda k: k // 2, ("camera front delivered 15",)),
        (0, lambda k: k - k // 10, ()),  # 90 % of its rate
        (10, lambda k: 7, ("9 % of the steps", "camera front delivered 0.3 of 30")),
    ],
)
def test_an_episode_that_fell_behind_is_marked(late_every, seq_of, words):
    steps = np.array([PERIOD + (40 * MS if late_every and k % late_every == 0 else 0) for k in range(100)])
    rates = Rates(PERIOD, {"front": 30.0})
    info, behind = run(rates, np.cumsum(steps), [seq_of(k) for k in range(100)])
    assert len(behind) == len(words) and all(w in b for w, b in zip(words, behind, strict=True))
    assert info.get("behind", []) == list(behind)


def test_standing_still_on_purpose_is_not_late():
    rates = Rates(PERIOD, {})
    for wall in (0, PERIOD, 2 * PERIOD):
        rates.look(wall, Observation(wall, {}, {}, {}))
    rates.restart()
    rates.look(10**10, Observation(10**10, {}, {}, {}))
    assert rates.late == 0


def test_the_twin_keeps_pace_and_a_slow_machine_slows_its_time():
    twin, wall = Ticks(), Ticks()
    clock = PacedClock(twin, wall)
    for k in range(1, 11):
        wall.t += 10 * MS  # work between two steps
        clock.sleep_until(k * PERIOD)
    assert wall.now() == 10 * PERIOD + 10 * MS and clock.lost_ns == 0, (
        "as fast as the wall, from the first sleep on"
    )
    wall.t += 50 * MS
    clock.sleep_until(11 * PERIOD)
    assert clock.lost_ns == 17 * MS
    slept = wall.slept
    clock.sleep_until(12 * PERIOD)
    assert wall.slept - slept == PERIOD, "nothing catches up"


def test_the_picture_of_starts_shows_each_of_them():
    rig, tally = load_rig("so101"), Tally()
    empty = tally.picture(rig)
    tally.add(True, {"cube": [0.2, 0.1, 0.01]})
    one = tally.picture(rig)
    tally.add(False, {"cube": [0.3, -0.1, 0.01]})
    two = tally.picture(rig)
    changed = np.argwhere((two != one).any(axis=2))
    assert (one != empty).any() and len(changed)
    row, column = changed.mean(axis=0)
    assert row == pytest.approx(240 - 0.3 / 0.45 * 240, abs=3), "x of W is up"
    assert column == pytest.approx(240 + 0.1 / 0.45 * 240, abs=3), "y of W is to the left"
    tally.remove_last()
    assert (tally.picture(rig) == one).all() and tally.line() == "1 episodes, 1 succeeded (100 %)"
