"""An agent of its own, to be killed: lifts the emulated arm and drives it to and fro through the guard's process.

Run: python emulated.py PORT [chunk validity in ms [fork | torn FOLDER]]. Says the folder of the session first, then
"moving". With "fork" it has a child that outlives it, as data loaders do. With "torn" it records into FOLDER, and kills
itself, once it is told to go on, with half of an order in the ring.
"""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from twinloop.data import recorder_spec
from twinloop.data.recorder_process import RecorderProcess
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError
from twinloop.robot.loop import ControlLoop
from twinloop.robot.models import load_model
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.ring import HEADER, RingWriter
from twinloop.robot.rig import load_rig
from twinloop.robot.robot import GuardedRobot
from twinloop.robot.types import ActionChunk

MS = 1_000_000


def sway(guard, clock, seconds, valid_ms=100, about=None):
    """Ask for a slow sine of the first joint about a lifted pose."""
    start = load_model("so101").home_q_rad if about is None else about
    begin = clock.now()
    while clock.now() - begin < seconds * 1e9:
        now = clock.now()
        guard.submit(chunk_at(now, begin, valid_ms, start))
        clock.sleep_until(now + 20 * MS)
        yield now


def chunk_at(now, begin, valid_ms, start):
    goal = start + [0.4 * np.sin(2.0 * (now - begin) * 1e-9), 0, 0, 0, 0]
    return ActionChunk(now, 33 * MS, {"arm": goal[None]}, {}, now + valid_ms * MS)


class Swaying:
    """The same as an agent of the loop."""

    def reset(self, seed):
        self.begin, self.steps = None, 0

    def act(self, obs):
        self.begin = self.begin or obs.t_ns
        self.steps += 1
        if self.steps == 40:
            print("moving", flush=True)
            sys.stdin.readline()
            tear_the_next_order()
        return chunk_at(obs.t_ns, self.begin, 100, load_model("so101").home_q_rad)


def tear_the_next_order():
    """From now on a ring's writer dies after half a message."""

    def torn(self, ring, at, kind, parts, length, t_ns):
        if self.path.name != "orders":
            return whole(self, ring, at, kind, parts, length, t_ns)
        place, half = HEADER + at % self._capacity, b"".join(parts)[: length // 2]
        ring[place + 8 : place + 8 + len(half)] = half
        os.kill(os.getpid(), signal.SIGKILL)

    whole, RingWriter._put = RingWriter._put, torn


def record(guard, clock, rig, root):
    """Sway in the control loop, with a recorder that looks on."""
    spec = recorder_spec(
        fps=50, robot_type="so101", arms={"arm": rig.joint_spec("arm")}, grippers=("gripper",)
    )
    with RecorderProcess(Path(root), spec) as recorder:
        recorder.start("sway")
        robot = GuardedRobot(rig, clock, guard, {}, tick=False)
        ControlLoop(robot, Swaying(), 20 * MS, (recorder,)).run(60_000 * MS)


def opened(rig, port):
    """The emulator of a busy machine may answer too late for the first attempt."""
    guard = GuardProcess(rig, {"arm": port})
    for _ in range(2):
        try:
            guard.open()
            return guard
        except DeviceError:
            time.sleep(0.5)
    guard.open()
    return guard


def main() -> None:
    clock, rig = RealClock(), load_rig("so101")
    guard = opened(rig, sys.argv[1])
    print(guard._folder, flush=True)
    if "torn" in sys.argv:
        record(guard, clock, rig, sys.argv[-1])
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(30.0)
        os._exit(0)
    for k, _ in enumerate(sway(guard, clock, 60.0, int(sys.argv[2]) if len(sys.argv) > 2 else 100)):
        if k == 60:
            print("moving", flush=True)


if __name__ == "__main__":
    main()
