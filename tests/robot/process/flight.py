"""What a guard did, tick by tick, and whether it kept its promises: read from its statuses or its black box."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from emulated import sway
from twinloop.robot.arms.so101 import BAUD
from twinloop.robot.buses import Bus, FeetechFraming, SerialPort
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError
from twinloop.robot.guard import read_blackbox
from twinloop.robot.guard.limits import LIMIT_BIT
from twinloop.robot.guard.modes import MODES
from twinloop.robot.models import load_model
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.plan import STATUS_RING
from twinloop.robot.process.ring import RingReader
from twinloop.robot.process.status import StatusCodec
from twinloop.robot.rig import load_rig

RIG = load_rig("so101")
CLOCK = RealClock()
SPEC, JAW = RIG.joint_spec("arm"), RIG.grippers["gripper"]
WIDTH_M = load_model("so101").gripper_width_max_m
LOW, HIGH = np.append(SPEC.q_min, 0.0), np.append(SPEC.q_max, WIDTH_M)
LIMITS = (
    np.append(SPEC.dq_max, JAW.speed_m_s),
    np.append(SPEC.ddq_max, JAW.acceleration_m_s2),
    np.append(SPEC.dddq_max, JAW.jerk_m_s3),
)
PERIOD_S = 1.0 / RIG.guard.rate_hz
TORQUE, GOAL = 40, 42  # registers of a servo
STEP_RAD = np.radians(0.5)  # no goal may jump by more when somebody comes back
RELATIVE = 1e-6  # docs/safety.md, Tolerances
HELD_RAD = 0.2  # servos sag by 0.04; an arm without torque is farther off in half a second
SETTLED_S = 0.4  # after the beginning of a stop the arm stands
SAGGED = 0.05  # rad, m: farther outside its range no stop lets a joint fall
ANCHOR_RAD = 0.05  # a tick of motion, and what the servos measured a cycle before


@dataclass
class Flight:
    """Ticks in order; `anew[k]`: the commands of tick k may begin anew at the measured pose."""

    t_ns: np.ndarray  # (K,)
    sent: np.ndarray  # (K, 6) rad, m
    measured: np.ndarray  # (K, 6)
    mode: np.ndarray  # (K,) of str
    anew: np.ndarray  # (K,) of bool
    stalled: np.ndarray  # (K,) of bool, counted as a stall
    blind: np.ndarray  # (K,) of bool: what was measured is out of date

    @classmethod
    def from_statuses(cls, statuses):
        """The ticks that a watcher saw; where it missed some, another piece begins."""
        kept = [statuses[0]] + [b for a, b in zip(statuses, statuses[1:], strict=False) if b.t_ns != a.t_ns]
        kept = [s for s in kept if s.is_open and s.arms and s.grippers]
        pairs = list(zip(kept, kept[1:], strict=False))
        stalled = [False] + [b.limits.get("stall", 0) > a.limits.get("stall", 0) for a, b in pairs]
        gap = [False] + [b.epoch != a.epoch or b.ticks > a.ticks + 1 for a, b in pairs]
        blind = [False] + [_grew(a, b, "stale_state") for a, b in pairs]
        mode = np.array([s.mode for s in kept])
        return cls(
            np.array([s.t_ns for s in kept]),
            np.array([s.sent for s in kept]),
            np.array([np.append(s.arms["arm"].q, s.grippers["gripper"].width_m) for s in kept]),
            mode,
            np.array(gap) | np.array(stalled) | _rearmed(mode) | _sees_again(np.array(blind)),
            np.array(stalled),
            np.array(blind),
        )

    @classmethod
    def from_blackbox(cls, path):
        columns, rows = read_blackbox(path)
        place = {name: k for k, name in enumerate(columns)}
        names = [c.removeprefix("sent ") for c in columns if c.startswith("sent ")]
        masks = rows[:, place["limits"]].astype(np.int64)
        mode = np.array([MODES[int(m)] for m in rows[:, place["mode"]]])
        stalled = masks & LIMIT_BIT["stall"] != 0
        gap = np.append(False, np.diff(rows[:, 0]) != 1)
        blind = masks & LIMIT_BIT["stale_state"] != 0
        return cls(
            rows[:, place["t_ns"]],
            rows[:, [place[f"sent {name}"] for name in names]],
            rows[:, [place[f"measured {name}"] for name in names]],
            mode,
            gap | stalled | _rearmed(mode) | _sees_again(blind),
            stalled,
            blind,
        )

    def assert_limits(self):
        """Position, and velocity, acceleration and jerk as finite differences, of every command. An arm that was found
        a little outside its range (it had been dropped onto the table) goes no farther."""
        begins = [0, *np.flatnonzero(self.anew), len(self.sent)]
        beyond = np.maximum(LOW - self.sent, self.sent - HIGH)
        assert beyond.max() < SAGGED, (
            f"joint {np.argmax(beyond.max(axis=0))}: {beyond.max()} beyond its range"
        )
        looked = 0
        for begin, end in zip(begins, begins[1:], strict=False):
            values = self.sent[begin:end]
            assert (beyond[begin:end] <= np.maximum(beyond[begin:end][:1], 1e-8) + 1e-8).all()
            for name, limit in zip(("velocity", "acceleration", "jerk"), LIMITS, strict=True):
                values = np.diff(values, axis=0) / PERIOD_S
                worst = np.abs(values / limit).max(initial=0.0)
                assert worst <= 1 + RELATIVE, f"{name}: {worst:.4f} of the limit"
            looked += len(values)
        assert looked > 10

    def assert_begun_anew_where_it_stood(self):
        """Where commands begin anew they do at the measured pose, or stay where they were."""
        for k in np.flatnonzero(self.anew):
            to_measured = np.abs(self.sent[k] - self.measured[k])[:5].max()
            to_before = np.abs(self.sent[k] - self.sent[k - 1])[:5].max()
            assert min(to_measured, to_before) < ANCHOR_RAD, (to_measured, to_before)

    def assert_held(self):
        """It never dropped: standing, the arm is where it was told to be."""
        still = np.append(np.inf, np.abs(np.diff(self.sent[:, :5], axis=0)).max(axis=1)) < 1e-9
        moved_ns = self.t_ns[0]
        for k in range(len(still)):
            if not still[k] or self.blind[k]:
                moved_ns = self.t_ns[k]
            elif self.t_ns[k] - moved_ns > SETTLED_S * 1e9:
                off = np.abs(self.sent[k] - self.measured[k])[:5].max()
                assert off < HELD_RAD, f"{off:.2f} rad off while it stands ({self.mode[k]})"

    def assert_sound(self):
        """What holds in every flight, whatever happened."""
        self.assert_limits()
        self.assert_begun_anew_where_it_stood()
        self.assert_held()

    def assert_late_ticks_are_stalls(self):
        """A tick that came more than three periods after the last counts as one, and none comes to catch up."""
        since = np.diff(self.t_ns) * 1e-9
        gaps = since > 3.0 * PERIOD_S
        assert (self.stalled[1:] >= gaps).all()
        assert since.min() > 0.5 * PERIOD_S - 1e-6


def _grew(before, after, limit):
    return after.limits.get(limit, 0) > before.limits.get(limit, 0)


def _rearmed(mode):
    latched = np.isin(mode, ("fault", "estop"))
    return np.append(False, latched[:-1] & ~latched[1:])


def _sees_again(blind):
    return np.append(False, blind[:-1] & ~blind[1:])


class Watcher:
    """Reads every status of a session, as a viewer would."""

    def __init__(self, folder: Path) -> None:
        self.ring = RingReader(folder / STATUS_RING)
        self.ring.open()
        self.codec = StatusCodec(RIG)
        self.seen = []

    def look(self):
        self.seen += [self.codec.unpack(message.data) for message in self.ring.poll(5000)]
        return self.seen

    def flight(self):
        return Flight.from_statuses(self.look())

    def reasons(self):
        """Mode and reason, each change once."""
        found = []
        for status in self.look():
            if not found or found[-1] != (status.mode, status.reason):
                found.append((status.mode, status.reason))
        return found


def until(condition, seconds=30.0):
    """Wait for a condition, patiently."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    pytest.fail("it never came")


def opened(*args, **options):
    """An opened guard; the emulator of a busy machine may answer too late for the first attempt."""
    for left in (2, 1, 0):
        guard = GuardProcess(*args, **options)
        try:
            guard.open()
            return guard
        except DeviceError as error:
            if "no answer" not in str(error) or not left:
                raise
            time.sleep(0.5)
    raise AssertionError


def moved(guard, watcher=None, seconds=0.0):
    """Sway for that long and until the arm is lifted and well on its way."""
    begin = CLOCK.now()
    for now in sway(guard, CLOCK, seconds + 15.0):
        if watcher is not None:
            watcher.look()
        state = guard.arm_states["arm"]
        ready = abs(state.dq[0]) > 0.4 and abs(state.q[1] - HOME[1]) < 0.2
        if now - begin > seconds * 1e9 and ready and guard.mode == "run":
            return
    pytest.fail(f"it does not move: {guard.mode}, {guard.reason}")


def standing(guard):
    """Wait until the arm stands."""
    until(lambda: np.abs(guard.arm_states["arm"].dq).max() < 0.05)


def park(guard, watcher=None):
    guard.park()
    until(lambda: (watcher and watcher.look() and False) or guard.parked)
    guard.close()


def bus_on(emulator):
    """The servos themselves, once nobody holds the port."""
    bus = Bus(SerialPort(emulator.paths["arm"], BAUD, CLOCK), FeetechFraming(), CLOCK, BAUD)
    bus.open()
    return bus


def register(emulator, address, size=1):
    """A register of all servos, once nobody holds the port."""
    bus = bus_on(emulator)
    try:
        return [int.from_bytes(bus.read(id, address, size), "little") for id in range(1, 7)]
    finally:
        bus.close()


HOME = load_model("so101").home_q_rad
