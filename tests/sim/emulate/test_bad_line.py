"""A bad line on a clock that advances as bytes travel: what damaged and lost answers cost is exact."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from twinloop.robot.buses import Bus, FeetechFraming
from twinloop.sim.emulate.feetech import FeetechServos
from twinloop.sim.emulate.line import Line
from twinloop.sim.emulate.sts3215 import Sts3215
from twinloop.sim.emulate.wire import FreeMotor, WireClock, WirePort

IDS, BAUD, MS = (1, 2, 3, 4, 5, 6), 1_000_000, 1_000_000
BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "bad_line.py"


def wired(**faults):
    clock = WireClock()
    servos = [Sts3215(id, FreeMotor(clock)) for id in IDS]
    for servo in servos:
        servo.write(7, b"\0")  # no delay before an answer
    line = Line(FeetechServos(servos), BAUD)
    for name, value in faults.items():
        setattr(line.faults, name, value)
    bus = Bus(WirePort(line, clock), FeetechFraming(), clock, BAUD)
    bus.open()
    return bus, clock


def test_an_exchange_takes_the_time_of_its_bytes():
    bus, clock = wired()
    begin = clock.now()
    assert set(bus.sync_read(IDS, 56, 8)) == set(IDS)
    assert clock.now() - begin == (14 + 6 * 14) * 10_000  # bytes, ns a byte


def test_a_missing_answer_costs_the_deadline_and_no_more():
    bus, clock = wired(dead={3})
    begin = clock.now()
    assert set(bus.sync_read(IDS, 56, 8)) == set(IDS) - {3}
    assert clock.now() - begin == (14 + 6 * 14) * 10_000 + 3 * MS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rig", "seconds", "longest_ms"),
    [("so101", 20, 5.0), ("koch", 8, 8.0), pytest.param("so101", 120, 5.0, marks=pytest.mark.thorough)],
)
def test_minutes_of_damaged_and_lost_answers_delay_no_cycle_and_move_nothing(rig, seconds, longest_ms):
    """Ten minutes: python benchmarks/bad_line.py."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--seconds", str(seconds), "--alone", "--rig", rig],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = {
        line["name"].removeprefix("bad_line_"): line for line in map(json.loads, done.stdout.splitlines())
    }
    assert all(line.get("ok", True) for line in figures.values()), done.stdout
    cycles, running = figures["cycles"]["value"], figures["running"]["value"]
    assert (
        cycles > 200 * seconds and running * cycles > 0.95 * 200 * seconds
    )  # the others are those of parking
    missing, asked = figures["answers_missing"], int(figures["answers_missing"]["unit"].split()[1])
    assert missing["value"] > 0.015 * asked and missing["damaged"] > 0.005 * asked
    assert 3.0 < figures["longest_cycle"]["value"] < longest_ms  # one deadline, never two
