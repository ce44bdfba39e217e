"""A deployment in a process of its own, recorded, and where it stands: told by its guard's statuses."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from flight import Flight
from twinloop.robot.guard import read_blackbox
from twinloop.robot.guard.limits import LIMIT_BIT
from twinloop.robot.models import load_model
from twinloop.robot.process.plan import HELLO, PLAN, STATUS_RING
from twinloop.robot.process.ring import RingReader
from twinloop.robot.process.status import StatusCodec
from twinloop.robot.rig import load_rig

RIG = load_rig("so101")
ROWS_BYTES = 12_000
SHARED = re.compile(r"/\S*/twinloop-(?:guard|camera|recorder|emulate)-[^/\n]+")  # folders in memory
NEAR_RAD = 0.15  # of the rest pose, released: it lies there


class Deployed:
    """`twinloop deploy POLICY --emulated --record` below `home`; all its processes are known by their environment."""

    def __init__(self, home: Path, policy: Path, *args: str, fails: str = "none") -> None:
        self.home, self.root = home, home / "recorded"
        program = (str(Path(__file__).with_name("failing.py")), fails)
        options = ("--emulated", "--record", str(self.root), *args)
        self.process = subprocess.Popen(
            [sys.executable, "-u", *program, "deploy", str(policy), *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={**os.environ, "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(home)},
        )  # fmt: skip
        self.folders: set[Path] = set()  # in shared memory

    def processes(self) -> dict[int, str]:
        """Process id -> command line, of all that this deployment has started."""
        mark, found = f"XDG_STATE_HOME={self.home}".encode(), {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    maps = (entry / "maps").read_text()
                    self.folders |= {Path(m) for m in re.findall(SHARED, maps)}
            except OSError:
                continue
        return found

    def pid_of(self, words: str) -> int:
        """The process with these words in its command line."""
        return self.until(lambda: next((pid for pid, line in self.processes().items() if words in line), 0))

    def until(self, condition, seconds=90.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := condition():
                return found
            if self.process.poll() is not None:
                pytest.fail(f"it ended: {self.process.communicate()[0]}")
            time.sleep(0.002)
        pytest.fail("it never came")

    def session(self) -> Path:
        """The folder of its guard's session."""

        def find():
            for line in self.processes().values():
                for word in line.split():
                    if "twinloop-guard-" in word and (Path(word) / PLAN).exists():
                        return Path(word)
            return None

        return self.until(find)

    def reach(self, stage: str) -> None:
        """Wait for a stage: opening, homing, episode, parking or saving, which the recorder is stopped in."""
        folder = self.session()
        if stage == "opening":
            assert not (folder / HELLO).exists()
            return
        self.until((folder / HELLO).exists)
        ring, codec = RingReader(folder / STATUS_RING), StatusCodec(RIG)
        ring.open()

        def there() -> bool:
            message = ring.latest()
            status = None if message is None else codec.unpack(message.data)
            if status is None:
                return False
            if stage in ("homing", "episode"):
                return status.mode == "run" and status.source.startswith(
                    stage[:6].replace("episod", "policy")
                )
            return status.mode == "park" and (stage == "parking" or status.parked)

        if stage == "saving":
            stage = "episode"
            self.until(there)
            os.kill(self.pid_of("recorder_server"), signal.SIGSTOP)
            stage = "saving"
        self.until(there)
        ring.close()
        self.processes()  # notes what they have in shared memory

    def record_some(self) -> None:
        """Wait until some tenths of a second of an episode are on the disk."""
        rows = ".twinloop/capture-*/rows.arrow"
        self.until(lambda: any(path.stat().st_size > ROWS_BYTES for path in self.root.glob(rows)))

    def end(self) -> str:
        """What it said, once it has ended with all its processes, and nothing is left in memory."""
        text = self.process.communicate(timeout=90)[0]
        end = time.monotonic() + 30
        while self.processes() and time.monotonic() < end:
            time.sleep(0.02)
        assert not self.processes(), text
        assert not [folder for folder in self.folders if folder.exists()], text
        return text

    def assert_parked_within_limits(self) -> None:
        """The black box: every command within the limits, the last of them at the rest pose, then let go."""
        path = self.home / "twinloop" / f"{RIG.name}.blackbox"
        flight = Flight.from_blackbox(path)
        flight.assert_sound()
        rest = load_model("so101").rest_q_rad
        assert np.abs(flight.measured[-1][:5] - rest).max() < NEAR_RAD
        columns, rows = read_blackbox(path)
        masks = rows[:, columns.index("limits")].astype(np.int64)
        assert not (masks & LIMIT_BIT["released_unparked"]).any()

    def kill(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
