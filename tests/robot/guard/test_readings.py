"""Readings that cannot be true: never a goal, never an exception out of a tick, always counted."""

from dataclasses import replace

import numpy as np
import pytest
from guard_fakes import HOME, MS, Bench, FakeArm, FakeGripper, ManualClock
from twinloop.robot.errors import DeviceError, UsageError
from twinloop.robot.guard import Guard
from twinloop.robot.rig import load_rig

N = HOME.size
NONSENSE = {
    "nothing": lambda s: None,
    "text": lambda s: "ok",
    "three joints": lambda s: replace(s, q=HOME[:3]),
    "matrix": lambda s: replace(s, q=np.zeros((N, N))),
    "list": lambda s: replace(s, q=HOME.tolist()),
    "no joints": lambda s: replace(s, q=None),
    "NaN": lambda s: replace(s, q=np.full(N, np.nan)),
    "far away": lambda s: replace(s, q=HOME + 1e300),
    "complex": lambda s: replace(s, q=HOME.astype(complex)),
    "short torque": lambda s: replace(s, tau=np.zeros(2)),
    "no temperature": lambda s: replace(s, temperature_c=None),
    "no time": lambda s: replace(s, t_ns=None),
    "from the future": lambda s: replace(s, t_ns=10**30),
    "numbers for faults": lambda s: replace(s, faults=(1,)),
}
NO_WIDTH = {
    "nothing": lambda s: None,
    "NaN": lambda s: replace(s, width_m=float("nan")),
    "text": lambda s: replace(s, width_m="a"),
    "array": lambda s: replace(s, width_m=np.zeros(2)),
    "a mile": lambda s: replace(s, width_m=1609.0),
    "endless force": lambda s: replace(s, force_n=float("inf")),
}


def lie(device, change) -> None:
    """Let `device.read` hand out what `change` makes of the truth."""
    read = device.read
    device.read = lambda: change(read())


def closed() -> tuple[Guard, FakeArm, FakeGripper]:
    rig, clock = load_rig("so101"), ManualClock()
    arm, gripper = FakeArm(rig, clock), FakeGripper(rig, clock)
    return Guard(rig, {"arm": arm}, {"gripper": gripper}, clock), arm, gripper


@pytest.mark.parametrize("change", NONSENSE.values(), ids=NONSENSE)
def test_an_arm_that_lies_at_the_start_is_not_opened(change):
    guard, arm, _ = closed()
    lie(arm, change)
    with pytest.raises(DeviceError, match="arm"):
        guard.open()
    assert not guard.is_open and not arm.commands and not arm.torque


@pytest.mark.parametrize("change", NO_WIDTH.values(), ids=NO_WIDTH)
def test_a_gripper_that_lies_at_the_start_is_not_opened(change):
    guard, arm, gripper = closed()
    lie(gripper, change)
    with pytest.raises(DeviceError, match="gripper"):
        guard.open()
    assert not gripper.commands and not arm.commands


@pytest.mark.parametrize("change", NONSENSE.values(), ids=NONSENSE)
def test_an_arm_that_begins_to_lie_is_counted_and_the_arm_stops(change):
    bench = Bench()
    bench.go(HOME + 0.3, 0.1)
    lie(bench.arm, change)
    bench.go(HOME + 0.3, 1.0)
    assert bench.guard.limits.total["device"] > 100
    assert bench.guard.limits.total["stale_state"] > 100 and bench.guard.mode == "hold"
    sent = bench.sent()
    assert np.isfinite(sent).all() and np.ptp(sent[-50:], axis=0).max() == 0.0


@pytest.mark.parametrize("change", NO_WIDTH.values(), ids=NO_WIDTH)
def test_a_gripper_that_begins_to_lie_is_counted(change):
    bench = Bench()
    lie(bench.gripper, change)
    bench.seconds(0.5)
    assert bench.guard.limits.total["device"] > 50 and bench.guard.mode == "hold"


def test_nobody_re_arms_on_a_reading_that_cannot_be_true():
    bench = Bench()
    bench.guard.estop("test")
    bench.seconds(0.5)
    bench.arm.nan = True
    bench.arm.q = bench.arm.q + 0.2
    with pytest.raises(DeviceError):
        bench.guard.rearm()
    assert bench.guard.mode == "estop"


def test_a_camera_without_a_time_grows_stale():
    bench = Bench()
    bench.guard.note_frame("front", float("nan"))
    assert not bench.guard.submit(bench.chunk(HOME))
    assert bench.guard.limits.total["rejected_stale_camera"] == 1


def test_a_heartbeat_without_a_time_is_refused():
    with pytest.raises(UsageError, match="heartbeat"):
        Bench().guard.heartbeat(float("inf"))


def test_chunks_that_change_their_mind():
    """Masks, mappings that answer differently each time, arrays that their owner writes to afterwards."""
    bench = Bench()
    masked = np.ma.masked_array(HOME[None].copy(), mask=[[1, 0, 0, 0, 0]])
    masked.data[0, 0] = np.nan
    assert not bench.guard.submit(replace(bench.chunk(HOME), q={"arm": masked}))

    class Fickle(dict):
        calls = 0

        def items(self):
            self.calls += 1
            return {"arm": HOME[None] if self.calls == 1 else np.full((1, N), np.nan)}.items()

    assert bench.guard.submit(replace(bench.chunk(HOME), q=Fickle(arm=HOME[None])))

    class Broken(dict):
        def items(self):
            raise KeyError("arm")

    assert not bench.guard.submit(replace(bench.chunk(HOME), q=Broken(arm=HOME[None])))
    assert not bench.guard.submit(replace(bench.chunk(HOME), source=7))
    rows = np.tile(HOME, (5, 1))
    assert bench.guard.submit(bench.chunk(rows))
    rows[:] = np.nan
    bench.tick(20)
    assert np.isfinite(bench.sent()).all()
    assert all(np.isfinite(q).all() for q in bench.guard.collect().asked_q.values())


def test_a_machine_that_has_been_up_for_a_year():
    """Nanoseconds beyond 2^53 are no whole float64 any more."""
    bench = Bench()
    bench.clock.t = 2**55 + 11
    bench.tick(5)
    bench.seconds(0.2)
    with np.errstate(all="raise"):
        for _ in range(20):
            bench.guard.submit(bench.chunk(np.linspace(HOME, HOME + 0.05, 5), dt_ms=1e-6, delay_ms=1))
            bench.tick(4)
    assert np.isfinite(bench.sent()).all()
    assert MS  # the chunks above are 1 ns apart


def test_a_gripper_that_does_not_tell_its_force_still_moves():
    bench = Bench()
    lie(bench.gripper, lambda s: replace(s, force_n=float("nan")))
    bench.seconds(0.5)
    assert not bench.guard.limits.total.get("device") and bench.guard.mode != "fault"


def without(field, joint=slice(None)):
    """What changes a state to one that does not tell `field`, all of it or one joint's."""

    def change(state):
        if field == "force_n":
            return replace(state, force_n=float("nan"))
        values = getattr(state, field).copy()
        values[joint] = np.nan
        return replace(state, **{field: values})

    return change


SILENCES = {
    "torque": (without("tau"), "arm", ("torque",)),
    "torque of one joint": (without("tau", 2), "arm", ("torque",)),
    "temperature": (without("temperature_c"), "arm", ("temperature",)),
    "temperature of one joint": (without("temperature_c", 4), "arm", ("temperature",)),
    "force": (without("force_n"), "gripper", ("gripper_force", "gripper_hold")),
}


def asleep(guard):
    """Protections that the devices' readings decide on and that are said not to act -> why."""
    told = {"torque", "temperature", "gripper_force", "gripper_hold"}
    return {p.name: p.detail for p in guard.protections() if p.name in told and not p.active}


@pytest.mark.parametrize("when", ["from the start", "later", "until now"])
@pytest.mark.parametrize(("change", "device", "names"), SILENCES.values(), ids=SILENCES)
def test_what_a_device_does_not_tell_protects_nothing_and_is_said(change, device, names, when):
    guard, arm, gripper = closed()
    silent = {"arm": arm, "gripper": gripper}[device]
    if when != "later":
        lie(silent, change)
    guard.open()
    if when == "later":
        assert not asleep(guard)
        lie(silent, change)
        arm.clock.t += guard.period_ns
        guard.tick()
    assert tuple(asleep(guard)) == names
    assert all(detail.endswith(f"; not reported by {device}") for detail in asleep(guard).values())
    if when == "until now":
        del silent.read  # the truth again
        arm.clock.t += guard.period_ns
        guard.tick()
        assert not asleep(guard)
    guard.close(unparked=True)


def test_before_any_reading_nothing_is_said_to_protect():
    guard, _, _ = closed()
    assert set(asleep(guard)) == {"torque", "temperature", "gripper_force", "gripper_hold"}
