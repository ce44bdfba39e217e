import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from guard_fakes import HOME, Bench
from twinloop.robot.errors import UsageError
from twinloop.robot.guard import BlackBox, mask_names, read_blackbox


def test_ring_keeps_the_last_rows_in_order():
    box = BlackBox(("a", "b"), 5)
    for k in range(12):
        row = box.begin()
        row[:] = k, -k
        box.end()
    np.testing.assert_array_equal(box.rows(), [[k, k, -k] for k in range(7, 12)])


def test_a_row_that_was_being_written_is_left_out(tmp_path):
    box = BlackBox(("a",), 4, tmp_path / "box")
    box.open()
    for k in range(6):
        box.begin()[0] = k
        box.end()
    box.begin()[0] = 99.0  # over the oldest row, 2
    np.testing.assert_array_equal(read_blackbox(tmp_path / "box")[1][:, 1], [3, 4, 5])


def test_guard_keeps_ten_seconds_of_everything():
    bench = Bench()
    bench.go(HOME + [5.0, 0, 0, 0, 0], 0.5, width=0.05)
    bench.seconds(12)
    rows, names = bench.guard.blackbox.rows(), bench.guard.blackbox.columns
    assert len(rows) == 2000 and np.diff(rows[:, names.index("t_ns")]).max() == bench.period
    bench.go(HOME + [5.0, 0, 0, 0, 0], 0.5)
    rows = bench.guard.blackbox.rows()
    assert "position" in mask_names(int(rows[-10, names.index("limits")]))
    assert rows[-1, names.index("asked arm.shoulder_pan")] == 5.0 + HOME[0]
    assert rows[-1, names.index("sent arm.shoulder_pan")] == bench.arm.commands[-1][1][0]
    assert rows[-1, names.index("mode")] == 0


VICTIM = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from guard_fakes import HOME, Bench
bench = Bench(blackbox=Path(sys.argv[2]))
k = 0
while True:
    bench.go(HOME + 0.1, 0.02)
    k += 4
    print(k, flush=True)
"""


def test_the_file_survives_kill_nine(tmp_path):
    path = tmp_path / "run" / "blackbox"
    command = [sys.executable, "-c", VICTIM, str(Path(__file__).parent), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = 0
        for line in process.stdout:
            last = int(line)
            if last >= 40:
                break
        os.kill(process.pid, signal.SIGKILL)
    columns, rows = read_blackbox(path)
    assert len(rows) >= last and columns[0] == "row"
    np.testing.assert_array_equal(np.diff(rows[:, 0]), 1)


def test_an_older_file_is_kept_and_a_foreign_one_is_refused(tmp_path):
    path = tmp_path / "box"
    for _ in range(2):
        box = BlackBox(("a",), 4, path)
        box.open()
        box.begin()[0] = 1.0
        box.end()
        box.close()
    assert read_blackbox(tmp_path / "box.previous")[1].shape == (1, 2)
    path.write_bytes(b"something else")
    with pytest.raises(UsageError, match="not a Twinloop black box"):
        read_blackbox(path)
