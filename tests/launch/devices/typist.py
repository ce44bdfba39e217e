"""A person at the terminal of a `twinloop` command: reads what it says, types answers."""

import os
import select
import signal
import subprocess
import sys
import time

PATIENT_S = 60.0


class Typist:
    """Runs a command; `waits_for` reads until a text appears, `types` sends a line."""

    def __init__(self, *command, **environment):
        self.said = ""
        self._seen = 0
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "twinloop.launch.cli", *map(str, command)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )  # fmt: skip

    def waits_for(self, text):
        """All that was said since the last text that was waited for."""
        end = time.monotonic() + PATIENT_S
        while (at := self.said.find(text, self._seen)) < 0:
            assert time.monotonic() < end, f"'{text}' did not come after:\n{self.said[self._seen :]}"
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, f"it ended before '{text}':\n{self.said}"
                self.said += data.decode()
        part, self._seen = self.said[self._seen : at + len(text)], at + len(text)
        return part

    def types(self, line=""):
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def interrupts(self):
        os.killpg(self.process.pid, signal.SIGINT)

    def ends(self):
        """Its exit code; all that it said is in `said`."""
        rest, _ = self.process.communicate(timeout=PATIENT_S)
        self.said += rest.decode()
        assert "Traceback" not in self.said, self.said
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
