"""A worker that is killed while it holds the queue's lock takes nobody with it."""

import subprocess
import sys

SCRIPT = """
import multiprocessing, os, signal, time
from pathlib import Path
from twinloop.launch.pool import worker_pool

def begin():
    pass

def job(duration_s):
    time.sleep(duration_s)
    return os.getpid()

def reads_a_pipe(pid):
    return Path(f"/proc/{pid}/syscall").read_text().startswith("0 ")

if __name__ == "__main__":
    with worker_pool(2, begin) as pool:
        started = set()
        while len(started) < 2:
            started.update([future.result() for future in [pool.submit(job, 0.1) for _ in range(2)]])
        running = pool.submit(job, 1.0)
        time.sleep(0.3)
        idle = [child.pid for child in multiprocessing.active_children() if reads_a_pipe(child.pid)]
        assert len(idle) == 1, idle
        os.kill(idle[0], signal.SIGKILL)
        running.result()
"""


def test_a_killed_idle_worker_is_one_error_and_no_hang(tmp_path):
    """The idle worker waits for jobs with the lock in its hands; the busy one would then wait for it for ever."""
    (tmp_path / "killed.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "killed.py")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "TwinloopError: one of 2 worker processes died" in done.stderr
