"""Children that record and are killed with SIGKILL, for test_crash.py.

    crash_lab.py steps BASE STRIDE         child n dies just before its n-th durable step while it saves, for
                                           every STRIDE-th n; prints the n's
    crash_lab.py retract BASE STRIDE       the same while it takes the second episode out again
    crash_lab.py paced BASE COUNT          children record in real time, as fast as their encoders keep up, and
                                           are killed at some moment; prints "folder rows", rows being those
                                           added before the kill

One process imports everything and forks, so that each child costs milliseconds.
"""

import mmap
import os
import random
import shutil
import signal
import struct
import sys
import time
from pathlib import Path

from dataset_samples import FPS, add_rows, spec
from twinloop.data import DatasetWriter

SAVED, OPEN = 5, 12  # rows of the episode saved before, and of the one that is killed


def die_at(step: int) -> None:
    """Let every durable step count, and kill this process right before number `step`."""
    count = 0

    def counted(function):
        def wrapper(*args, **kwargs):
            nonlocal count
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return function(*args, **kwargs)

        return wrapper

    os.replace, os.fsync, os.mkdir = counted(os.replace), counted(os.fsync), counted(os.mkdir)
    os.unlink, os.rmdir, shutil.rmtree = counted(os.unlink), counted(os.rmdir), counted(shutil.rmtree)


def save_and_die(root: Path, step: int) -> None:
    with DatasetWriter(root, spec()) as writer:
        writer.start("pick")
        add_rows(writer, range(SAVED))
        writer.save()
        writer.start("place", {"seed": 7})
        add_rows(writer, range(OPEN), 1)
        die_at(step)
        writer.save({"said": "yes"}, last={"next.success": True})


def retract_and_die(root: Path, step: int) -> None:
    with DatasetWriter(root, spec()) as writer:
        for episode, rows in enumerate((SAVED, OPEN)):
            writer.start("pick")
            add_rows(writer, range(rows), episode)
            writer.save()
        die_at(step)
        writer.retract()


def record_in_real_time(root: Path, counter: mmap.mmap) -> None:
    with DatasetWriter(root, spec()) as writer:
        writer.start("pick")
        start = time.monotonic()
        for k in range(100_000):
            add_rows(writer, range(k, k + 1))
            counter[:8] = struct.pack("q", k + 1)
            time.sleep(max(0.0, start + (k + 1) / FPS - time.monotonic()))
            while writer.backlog:  # on a starved machine only: what waits there is lost, and said to be
                time.sleep(0.001)


def forked(work) -> int:
    """Run `work` in a child; returns its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def main(mode: str, base: Path, *numbers: str) -> None:
    if mode in ("steps", "retract"):
        work = save_and_die if mode == "steps" else retract_and_die
        for step in range(0, 1000, int(numbers[0])):
            pid = forked(lambda step=step: work(base / f"{step:03d}", step))
            _, status = os.waitpid(pid, 0)
            print(step)
            if not os.WIFSIGNALED(status):  # the whole work takes fewer steps
                assert os.waitstatus_to_exitcode(status) == 0, "the child failed instead of being killed"
                return
    else:
        rng = random.Random(3)
        for k in range(int(numbers[0])):
            counter = mmap.mmap(-1, 8)
            pid = forked(lambda k=k, counter=counter: record_in_real_time(base / f"{k:03d}", counter))
            first, more = rng.randrange(8, 30), rng.uniform(0, 1.5 / FPS)
            while struct.unpack("q", counter[:8])[0] < first:
                time.sleep(0.005)
            time.sleep(more)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            print(f"{k:03d}", struct.unpack("q", counter[:8])[0])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
