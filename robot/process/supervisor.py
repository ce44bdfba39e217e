"""Keeps the guard's process alive, and the one of the rig's e-stop sources: `python supervisor.py FOLDER`.

It imports nothing that may fail, waits, and starts the guard anew when it was killed, broke down or hangs; the new
one takes the port again, and goes on from where the arm stands with a fault latched. The agent's pipe is handed on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ENDED = (0, 3)  # it was asked to, or could not open
MOST, WITHIN_S = 5, 60.0  # so many starts in that time, then the arm is left as it is
LOOK_S = 0.25
PAUSE_S = 1.0  # between two starts of the e-stop sources' process
HUNG_LOOKS = 20  # looks in a row without a word from a guard that had spoken
HEAD_AT, HEAD_BYTES = 16, 8  # where the ring of the guard's words has its head, which moves with every word


def words(folder: Path) -> bytes:
    """What changes with every cycle of the guard."""
    with contextlib.suppress(OSError), (folder / "status").open("rb") as ring:
        ring.seek(HEAD_AT)
        return ring.read(HEAD_BYTES)
    return b""


class Sources:
    """The process that looks after the e-stop sources, if the rig has any; started anew when it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started = -WITHIN_S
        try:
            self._wanted = bool(json.loads((folder / "plan.json").read_text())["rig"].get("estop"))
        except (OSError, ValueError, LookupError, AttributeError):
            self._wanted = False  # the guard will say what is wrong with the plan

    def look(self) -> None:
        if not self._wanted or (self._process is not None and self._process.poll() is None):
            return
        if time.monotonic() - self._started < PAUSE_S:
            return
        if self._process is not None:
            note(
                self._folder,
                f"the e-stop sources' process ended with {self._process.poll()}; starting it anew",
            )
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "twinloop.robot.stops.server", str(self._folder)], stdin=subprocess.DEVNULL
        )

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def wait(guard: subprocess.Popen[bytes], folder: Path, sources: Sources) -> int:
    """The exit code of the guard, which is killed when it hangs: it holds the port, and nobody holds the arm.

    Looks are counted, not seconds: a machine that slept is no hung guard.
    """
    known, spoke, same = words(folder), False, 0
    while same < HUNG_LOOKS:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return guard.wait(LOOK_S)
        sources.look()
        told = words(folder)
        spoke = spoke or told != known  # opening the arms may take as long as it likes
        same = same + 1 if spoke and told == known else 0
        known = told
    note(folder, "the guard hangs")
    guard.kill()
    return guard.wait()


def note(folder: Path, text: str) -> None:
    """Add a line to the guard's log, if there is room for it."""
    with contextlib.suppress(OSError), (folder / "guard.log").open("a") as log:
        log.write(f"supervisor: {text}\n")


def main() -> int:
    folder, agent = Path(sys.argv[1]), os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent gets Ctrl-C, and says what to do
    sources = Sources(folder)
    sources.look()
    try:
        return keep(folder, agent, sources)
    finally:
        sources.end()


def keep(folder: Path, agent: int, sources: Sources) -> int:
    """Start the guard, and anew until it ends in order; the exit code."""
    pipe = select.poll()
    pipe.register(0, select.POLLHUP | select.POLLERR)
    epoch, starts = 0, []
    while True:
        starts = [at for at in starts if time.monotonic() - at < WITHIN_S] + [time.monotonic()]
        if len(starts) > MOST:
            note(folder, "it keeps dying; given up: the arm stays as it is, its torque on")
            return 1
        guard = subprocess.Popen(
            [sys.executable, "-m", "twinloop.robot.process.server", str(folder), str(epoch)]
        )
        signal.signal(signal.SIGTERM, lambda *_, guard=guard: guard.terminate())
        code = wait(guard, folder, sources)
        if code in ENDED:
            if pipe.poll(0) or os.getppid() != agent:
                shutil.rmtree(folder, ignore_errors=True)  # nobody else is left to do it
            return code
        if not folder.is_dir():  # somebody removed it: no guard can begin there
            return 1
        note(folder, f"the guard ended with {code}; starting it anew")
        epoch += 1


if __name__ == "__main__":
    sys.exit(main())
