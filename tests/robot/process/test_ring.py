"""Rings between processes: order, gaps, slow readers, killed writers."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from twinloop.robot.errors import DeviceError, UsageError
from twinloop.robot.process.ring import RingReader, RingWriter


def opened(tmp_path, capacity=4096, **options):
    writer = RingWriter(tmp_path / "ring", capacity)
    writer.open()
    reader = RingReader(tmp_path / "ring", **options)
    reader.open()
    return writer, reader


def test_messages_arrive_in_order_whatever_their_size(tmp_path):
    writer, reader = opened(tmp_path)
    rng, sent = np.random.default_rng(0), []
    for k in range(3000):
        data = rng.bytes(int(rng.integers(0, 900)))
        cut = int(rng.integers(0, len(data) + 1))
        whole = rng.random() < 0.5
        writer.write(k + 1, data if whole else [data[:cut], memoryview(data)[cut:]], k)
        sent.append((k + 1, data))
        if rng.random() < 0.7 or len(sent) > 1:
            got = [(m.kind, m.data) for m in reader.poll()]
            assert got == sent
            newest = reader.latest()
            assert newest is not None and (newest.kind, newest.data, newest.t_ns) == (*sent[-1], k)
            assert newest.pid == os.getpid()
            sent = []
    assert reader.lost == reader.damaged == 0


def test_a_slow_reader_loses_the_old_and_goes_on_with_the_new(tmp_path):
    writer, reader = opened(tmp_path)
    for k in range(500):
        writer.write(1, bytes(64), k)
    assert list(reader.poll()) == [] and reader.lost > 0
    writer.write(2, b"new", 500)
    assert [m.data for m in reader.poll()] == [b"new"]


def test_a_reader_begins_with_what_comes_next_or_with_all_there_is(tmp_path):
    writer = RingWriter(tmp_path / "ring")
    writer.open()
    writer.write(1, b"before", 0)
    for from_start, expected in ((False, [b"after"]), (True, [b"before", b"after"])):
        reader = RingReader(tmp_path / "ring", from_start=from_start)
        reader.open()
        if not from_start:
            writer.write(1, b"after", 1)
        assert [m.data for m in reader.poll()] == expected


def test_a_message_too_large_is_refused(tmp_path):
    writer, reader = opened(tmp_path)
    with pytest.raises(UsageError, match="limit 1024"):
        writer.write(1, bytes(2000), 0)
    assert reader.latest() is None


def test_no_ring(tmp_path):
    with pytest.raises(DeviceError, match="No such file"):
        RingReader(tmp_path / "none").open()


WRITER = """
import sys
from pathlib import Path
from twinloop.robot.process.ring import RingWriter
writer = RingWriter(Path(sys.argv[1]), 65536)
writer.open()
k = 0
while True:
    writer.write(1 + k % 7, bytes([k % 251]) * (k % 3000), k)
    k += 1
    if k == 100:
        print("go", flush=True)
"""


def test_what_is_read_beside_a_busy_writer_is_whole_and_killing_it_leaves_a_ring(tmp_path):
    path, last = tmp_path / "ring", 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"go\n"
        reader = RingReader(path)
        reader.open()
        seen = 0
        while seen < 2000:
            for message in reader.poll():
                k = message.t_ns
                assert message.kind == 1 + k % 7 and message.data == bytes([k % 251]) * (k % 3000)
                seen += 1
            newest = reader.latest()
            if newest is not None:
                assert newest.data == bytes([newest.t_ns % 251]) * (newest.t_ns % 3000)
        process.send_signal(signal.SIGKILL)
        process.wait()
        writer = RingWriter(path)  # the next one goes on behind it
        writer.open()
        at = writer.write(9, b"mine", 0)
        newest = reader.latest()
        assert newest is not None and newest.data == b"mine" and at > last
        last = at
