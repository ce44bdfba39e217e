"""An agent of its own, to be killed: drives the emulated arm to and fro through the guard's process.

Run: python emulated.py PORT [chunk validity in ms [fork]]. Says the folder of the session first, then "moving".
With "fork" it has a child that outlives it, as data loaders do.
"""

import os
import sys
import time

import numpy as np
from twinloop.robot.clock import RealClock
from twinloop.robot.process import GuardProcess
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk

MS = 1_000_000


def sway(guard, clock, seconds, valid_ms=100, about=None):
    """Ask for a slow sine of the first joint about where it stands."""
    start = guard.arm_states["arm"].q.copy() if about is None else about
    begin = clock.now()
    while clock.now() - begin < seconds * 1e9:
        now = clock.now()
        goal = start + [0.4 * np.sin(2.0 * (now - begin) * 1e-9), 0, 0, 0, 0]
        guard.submit(ActionChunk(now, 33 * MS, {"arm": goal[None]}, {}, now + valid_ms * MS))
        clock.sleep_until(now + 20 * MS)
        yield now


def main() -> None:
    clock, rig = RealClock(), load_rig("so101")
    guard = GuardProcess(rig, {"arm": sys.argv[1]})
    guard.open()
    print(guard._folder, flush=True)
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(30.0)
        os._exit(0)
    for k, _ in enumerate(sway(guard, clock, 60.0, int(sys.argv[2]) if len(sys.argv) > 2 else 100)):
        if k == 20:
            print("moving", flush=True)


if __name__ == "__main__":
    main()
