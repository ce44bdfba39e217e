"""From a leader arm's servos to its follower's, through a whole recorded session. One JSON line a figure.

Run: python benchmarks/teleop.py [--quick] [--seconds N]

What `twinloop record --device leader` runs, as it runs: session, agent, a guard's process for each arm (200 Hz), three
480x640 cameras at 30 fps in their processes, the recorder in its own. Emulated are the two arms, which carry every byte
at the wire's speed and are delayed by nobody where the system allows it (as servos are not), and the cameras, which
show ready-made pictures: rendered ones would leave two cores nothing for what is measured. A scripted hand sways the
leader's first joint, then moves it in steps.

Times are from the wire, where nobody's code but the emulator's notes them (`_tap`):
  software: from the last byte of the leader's answers to the first byte of a goal, on the follower's line, that was
  reckoned from that reading. Which goal is known from the guard, which says whose chunk it follows; a chunk's first row
  is due at once. The wire's own time, which is the limit, is not in it: it stands beside.
  hand to goal: the hand moves the standing leader; from the first count that its servo moves to the first goal that is
  another by two counts. That asks none of our clocks, and is the same for LeRobot 0.6.1's own `teleop_loop`
  with its own SO101Leader and SO101Follower, which then runs on the same two ports (without cameras and recorder;
  benchmarks/peers/lerobot_env.sh makes its environment, or TWINLOOP_LEROBOT_PYTHON names its interpreter).
  lag: the shift in time at which the follower's goals are most like the leader's positions, both as registers say them.
Late steps: more than two periods after the one before.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _figures import emit
from _lead import CLOCK, LEAD_S, Led, Workplace
from _tap import COUNT_RAD, Motion, Seen, TappedArm, pose_of, wire_ms
from twinloop.robot.errors import TwinloopError
from twinloop.robot.types import F64

HERE = Path(__file__).parent
PEER = Path(os.environ.get("TWINLOOP_LEROBOT_PYTHON", HERE / "peers/.venv-lerobot/bin/python"))
PEER_NAME = "LeRobot 0.6.1"
COUNTS = 2  # a goal that is another
STEP_WAIT_NS, STOOD_NS = 450_000_000, 60_000_000
LONGEST_LAG_MS = 1000.0
READ_BYTES = (8 + 6, 6 * (6 + 8))  # a sync read's request to six servos, their answers
WRITE_BYTES = 8 + 6 * 3  # a sync write of six goals


def ms(values: F64) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(float(np.max(values)), 1)}


def chain(led: Led) -> tuple[F64, F64]:
    """Software time, ms, of every step while the hand moved, and of it the time until its chunk was handed over."""
    followed: dict[int, int] = {}  # chunk -> the guard's first tick that follows it
    for k, status in enumerate(led.statuses):
        if status.source.startswith("person "):
            followed.setdefault(int(status.source.split()[1]), k)
    for number in range(len(led.looks) - 2, -1, -1):  # one that another overtook is in the other's goal
        if number not in followed and number + 1 in followed:
            followed[number] = followed[number + 1]
    ticks = [status.t_ns for status in led.statuses]
    asked = [read[0] for read in led.leader.reads]
    wrote = [write[0] for write in led.follower.writes]
    first, handed = [], []
    until = led.motion.begin_ns + round(led.motion.sway_s * 1e9)
    for look in led.looks:
        tick = followed.get(look.number)
        read = bisect.bisect_right(asked, look.read_ns) - 1
        moving = led.motion.begin_ns < look.submitted_ns < until
        if not look.read_ns or read < 0 or tick is None or not moving:
            continue
        answered = led.leader.reads[read][1]
        holds = max(bisect.bisect_left(ticks, look.due_ns), tick)
        if holds < len(ticks) and (at := bisect.bisect_left(wrote, ticks[holds])) < len(wrote):
            first.append((wrote[at] - answered) * 1e-6)
        handed.append((look.submitted_ns - answered) * 1e-6)
    return np.array(first), np.array(handed)


def onsets(leader: Seen, follower: Seen, steps_ns: list[int]) -> F64:
    """Hand to goal, ms, of every step of the hand that was seen on both lines and began with goals that stood."""
    moved, writes = np.array(leader.moved), np.array(follower.writes)
    found = []
    for step in steps_ns:
        begin = np.searchsorted(moved[:, 0], step)
        if begin == len(moved):
            continue
        at = moved[begin, 0]
        rows = writes[(writes[:, 0] > at) & (writes[:, 0] < at + STEP_WAIT_NS)]
        before = writes[writes[:, 0] <= at]
        stood = before[before[:, 0] > at - STOOD_NS]
        if not len(rows) or not len(stood) or np.ptp(stood[:, 2]) >= COUNTS:
            continue
        other = np.flatnonzero(np.abs(rows[:, 2] - before[-1, 2]) >= COUNTS)
        if len(other):
            found.append((rows[other[0], 0] - at) * 1e-6)
    return np.array(found)


def lag_ms(leader: Seen, follower: Seen, motion: Motion) -> float:
    """By how much the goals follow the leader while it sways."""
    begin, end = motion.begin_ns + 500_000_000, motion.begin_ns + round(motion.sway_s * 1e9)
    moved, writes = np.array(leader.moved, float), np.array(follower.writes, float)
    times = np.arange(begin, end, 2_000_000, dtype=float)
    goals = np.interp(times, writes[:, 0], writes[:, 2])
    shifts = np.arange(0.0, LONGEST_LAG_MS, 1.0)
    off = [np.std(goals - np.interp(times - 1e6 * shift, moved[:, 0], moved[:, 1])) for shift in shifts]
    return float(shifts[int(np.argmin(off))])


def ours(work: Workplace, hz: float, sway_s: float, steps_s: float) -> F64:
    """Figures of one session; hand to goal, ms."""
    led = work.run(hz, sway_s, steps_s)
    name = f"leader at {hz:g} Hz"
    first, handed = chain(led)
    limit = wire_ms(sum(READ_BYTES)) + wire_ms(WRITE_BYTES)
    whole = first + limit
    emit(
        f"{name}: software, reading to the first goal with it, p99", float(np.percentile(first, 99)), "ms", **ms(first),
        handed_to_the_guard=ms(handed), steps=len(first), real_time=work.real_time,
    )  # fmt: skip
    emit(
        f"{name}: with the wire, over the wire alone, p50",
        float(np.median(whole)) / limit,
        "ratio",
        wire_ms=limit,
    )
    begun = np.array([look.submitted_ns for look in led.looks if look.submitted_ns > led.motion.begin_ns])
    gaps = np.diff(begun) * 1e-9
    emit(f"{name}: rate kept", 100.0 * len(gaps) / (gaps.sum() * hz), "%", gap_ms=ms(1e3 * gaps))
    emit(f"{name}: late steps", int((gaps > 2.0 / hz).sum()), "steps", seconds=round(float(gaps.sum()), 1))
    ticks = [s for s in led.statuses if s.t_ns > led.motion.begin_ns]
    missed = ticks[-1].missed - ticks[0].missed
    emit(f"{name}: follower's guard, periods missed", 100.0 * missed / (missed + len(ticks)), "%", late_ms=ms(
        np.array([s.late_ns * 1e-6 for s in ticks])))  # fmt: skip
    rates = led.info.get("rates", {})
    emit(f"{name}: rows recorded", led.rows, "rows", rates=rates)
    asked = Seen(writes=[(s.t_ns, 0, round(s.asked[0] / COUNT_RAD)) for s in led.statuses])
    lags = [lag_ms(led.leader, goals, led.motion) for goals in (led.follower, asked)]
    emit(f"{name}: lag of the follower's goals", lags[0], "ms", of_what_the_guard_is_asked=lags[1])
    found = onsets(led.leader, led.follower, led.steps_ns)
    if len(found):
        emit(
            f"{name}: hand to goal, p50", float(np.median(found)), "ms", **ms(found), steps=len(found),
            to_what_the_guard_is_asked=ms(onsets(led.leader, asked, led.steps_ns)),
        )  # fmt: skip
    return found


class LeRobot:
    """Its process; it imports while we are measured, and then waits."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(PEER), str(HERE / "peers/lerobot_teleop.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def lead(self, leader: TappedArm, follower: TappedArm, fps: int, motion: Motion) -> tuple[Motion, str]:
        """The motion as it was made, and what ended the loop early."""
        assert self._process.stdin is not None
        leader.move(Motion(motion.pose, 2**62, 0.0, 0.0))  # it stands at home before anybody follows it
        time.sleep(2.0)
        seconds = motion.sway_s + motion.steps_s + LEAD_S
        order = {"leader": leader.path, "follower": follower.path, "fps": fps, "seconds": seconds}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer = self._answer()
        leader.seen(), follower.seen()
        begin = CLOCK.now() + round(LEAD_S * 1e9)
        made = Motion(motion.pose, begin, motion.sway_s, motion.steps_s)
        if "error" not in answer:
            leader.move(made)
            answer = self._answer()
        return made, answer["error"]

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("LeRobot's process ended")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def theirs(peer: LeRobot, work: Workplace, hz: int, sway_s: float, steps_s: float) -> F64:
    """Figures of LeRobot's loop; hand to goal, ms."""
    motion, error = peer.lead(work.leader, work.follower, hz, Motion(pose_of("so101"), 0, sway_s, steps_s))
    leader, follower = work.leader.seen(), work.follower.seen()
    name = f"{PEER_NAME} at {hz:g} Hz"
    if error:
        emit(f"{name}: ended early, goals written", len(follower.writes), "goals", why=error)
        return np.zeros(0)
    wrote = np.array([w[0] for w in follower.writes])
    answered = np.array([r[1] for r in leader.reads])
    before = np.searchsorted(answered, wrote) - 1  # its loop reads, then writes
    software = (wrote - answered[before])[before >= 0] * 1e-6
    emit(
        f"{name}: software, reading to its goal, p99",
        float(np.percentile(software, 99)),
        "ms",
        **ms(software),
    )
    gaps = np.diff(wrote[wrote > motion.begin_ns]) * 1e-9
    emit(f"{name}: rate kept", 100.0 * len(gaps) / (gaps.sum() * hz), "%", gap_ms=ms(1e3 * gaps))
    emit(f"{name}: late steps", int((gaps > 2.0 / hz).sum()), "steps", seconds=round(float(gaps.sum()), 1))
    emit(f"{name}: lag of the follower's goals", lag_ms(leader, follower, motion), "ms")
    found = onsets(leader, follower, motion.steps_ns().tolist())
    if len(found):
        emit(f"{name}: hand to goal, p50", float(np.median(found)), "ms", **ms(found), steps=len(found))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, help="a measurement")
    parser.add_argument("--hz", type=float, nargs="*", help="rates of the loop")
    options = parser.parse_args()
    seconds = options.seconds or (10.0 if options.quick else 60.0)
    rates = options.hz or ([60.0] if options.quick else [30.0, 60.0, 100.0, 200.0])
    sway_s, steps_s = 0.5 * seconds, 0.5 * seconds
    peer = LeRobot() if PEER.exists() else None
    if peer is None:
        print(f"no {PEER}: LeRobot's loop is not measured", file=sys.stderr)
    mine: dict[float, F64] = {}
    with tempfile.TemporaryDirectory() as folder, Workplace(Path(folder)) as work:
        work.open()
        try:
            for hz in rates:
                mine[hz] = ours(work, hz, sway_s, steps_s)
        finally:
            try:
                work.close()
            except TwinloopError as error:  # a machine that is too busy for the lines; the figures stay
                print(error, file=sys.stderr)
        if peer is not None:
            for hz in [hz for hz in rates if hz <= 100.0]:
                found = theirs(peer, work, round(hz), sway_s, steps_s)
                if len(found) and len(mine[hz]):
                    emit(
                        f"hand to goal at {hz:g} Hz, {PEER_NAME}'s over ours, p50",
                        float(np.median(found) / np.median(mine[hz])), "ratio",
                    )  # fmt: skip
            peer.close()
    emit(
        "load average while measuring",
        os.getloadavg()[0],
        "programs",
        cores=os.cpu_count(),
        servos_undelayed=work.undelayed,
    )


if __name__ == "__main__":
    main()
