"""Keeps the guard's process alive: `python supervisor.py FOLDER`.

It imports nothing that may fail, waits, and starts the guard anew when it was killed or broke down; the new one
takes the port again, and goes on from where the arm stands with a fault latched. The agent's pipe is handed on.
"""

from __future__ import annotations

import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ENDED = (0, 3)  # it was asked to, or could not open
MOST, WITHIN_S = 5, 60.0  # so many starts in that time, then the arm is left as it is


def main() -> int:
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent gets Ctrl-C, and says what to do
    alone = select.poll()
    alone.register(0, select.POLLHUP | select.POLLERR)
    epoch, starts = 0, []
    while True:
        starts = [at for at in starts if time.monotonic() - at < WITHIN_S] + [time.monotonic()]
        if len(starts) > MOST:
            (folder / "guard.log").open("a").write("supervisor: it keeps dying; given up\n")
            return 1
        guard = subprocess.Popen(
            [sys.executable, "-m", "twinloop.robot.process.server", str(folder), str(epoch)]
        )
        signal.signal(signal.SIGTERM, lambda *_, guard=guard: guard.terminate())
        code = guard.wait()
        if code in ENDED:
            if alone.poll(0):
                shutil.rmtree(folder, ignore_errors=True)  # nobody else is left to do it
            return code
        (folder / "guard.log").open("a").write(f"supervisor: the guard ended with {code}; starting it anew\n")
        epoch += 1


if __name__ == "__main__":
    sys.exit(main())
