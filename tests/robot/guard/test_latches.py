"""An e-stop or fault that is latched stays latched, whoever does what at whatever moment."""

import pytest
from guard_fakes import HOME, Bench
from twinloop.robot.guard import Guard
from twinloop.robot.guard.watch import Watch


def moved(bench: Bench) -> float:
    """How far the commands go in the second after the arm has had time to stop."""
    bench.seconds(0.3)
    before = bench.sent()[-1]
    bench.go(HOME + 0.4, 1.0)
    return float(abs(bench.sent()[-1] - before).max())


@pytest.mark.parametrize(
    "where",
    ["_unfit", "_devices.read", "_react", "_course.follow", "_watch.unfit", "_flight.record", "_mover.move"],
)
def test_an_estop_in_the_middle_of_anything_is_not_lost(where, monkeypatch):
    """As a signal handler or another thread would: between any two steps of `submit` and `tick`."""
    bench = Bench()
    bench.go(HOME + 0.2, 0.1)
    *path, name = where.split(".")
    owner = bench.guard
    for part in path:
        owner = getattr(owner, part)
    inner = getattr(owner, name)

    def pressed(*args, **kwargs):
        result = inner(*args, **kwargs)
        bench.guard.estop("pressed")
        return result

    monkeypatch.setattr(owner, name, pressed)
    bench.go(HOME + 0.2, 0.04)
    monkeypatch.undo()
    assert bench.guard.mode == "estop" and bench.guard.reason == "pressed"
    assert moved(bench) == 0.0


def test_pressed_again_while_it_is_re_armed(monkeypatch):
    bench = Bench()
    bench.guard.estop("first")
    bench.seconds(0.3)
    reset = Watch.reset
    monkeypatch.setattr(Watch, "reset", lambda self: (reset(self), bench.guard.estop("second")))
    bench.guard.rearm()
    assert bench.guard.mode == "estop" and moved(bench) == 0.0


def test_an_estop_outlives_closing_and_opening():
    bench = Bench()
    bench.guard.estop("pressed")
    bench.seconds(0.5)
    bench.guard.close(unparked=True)
    assert bench.guard.mode == "estop"
    bench.guard.open()
    assert bench.guard.mode == "estop" and moved(bench) == 0.0
    bench.guard.rearm()
    assert bench.guard.mode == "hold" and moved(bench) > 0.1


def test_pressed_before_it_is_opened():
    bench = Bench()
    guard = Guard(bench.rig, {"arm": bench.arm}, {"gripper": bench.gripper}, bench.clock)
    guard.estop("pressed")
    guard.open()
    assert guard.mode == "estop" and not guard.submit(bench.chunk(HOME))


def test_parking_does_not_clear_a_fault():
    bench = Bench()
    for _ in range(3):
        bench.guard.submit(None)
    assert bench.guard.mode == "fault"
    bench.guard.park()
    bench.seconds(0.3)
    assert bench.guard.mode == "park"
    bench.guard.hold()
    assert bench.guard.mode == "fault" and "bad chunks" in bench.guard.reason
    assert moved(bench) == 0.0
    bench.guard.rearm()
    assert moved(bench) > 0.1
