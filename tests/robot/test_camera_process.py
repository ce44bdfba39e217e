"""Cameras in capture processes of their own: files in place of a device, a device that hangs, dies, freezes."""

import os
import signal
import subprocess
import time

import cv2
import numpy as np
import pytest
from twinloop.robot.cameras.frames import decode
from twinloop.robot.cameras.process import CameraProcess
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError, StaleData
from twinloop.robot.rig import parse_rig
from twinloop.robot.testing import CameraContract
from twinloop.robot.types import Frame

CLOCK = RealClock()
SIZE = (64, 48)


def rig(device, **changes):
    camera = {"width": SIZE[0], "height": SIZE[1], "fps": 30, "device": str(device), **changes}
    return parse_rig({"name": "r", "arms": {"arm": {"model": "so101"}}, "cameras": {"front": camera}}, "r")


@pytest.fixture
def shots(tmp_path):
    """Numbered pictures, each of another brightness."""
    for k in range(20):
        cv2.imwrite(str(tmp_path / f"{k:04d}.png"), np.full((96, 128, 3), (10 * k, 20, 200), np.uint8))
    return tmp_path / "%04d.png"


class TestPicturesInAFolder(CameraContract):
    pattern = ""

    @pytest.fixture(autouse=True)
    def files(self, shots):
        type(self).pattern = shots

    def make(self):
        return CameraProcess("front", rig(self.pattern)), CLOCK


def test_a_video_plays_at_its_rate_in_rgb(tmp_path):
    path = tmp_path / "film.avi"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, SIZE)
    for k in range(10):
        film.write(np.full((SIZE[1], SIZE[0], 3), (200, 20, 15 * k), np.uint8))  # blue, in OpenCV's order
    film.release()
    camera = CameraProcess("front", rig(path), CLOCK)
    camera.open()
    try:
        first = camera.read()
        assert first.rgb[..., 2].mean() > 150 > first.rgb[..., 0].mean() + 10  # blue is last
        time.sleep(1.0)  # it began anew at its end
        last = camera.read()
        assert 10 < last.seq - first.seq < 60
        assert abs((last.t_ns - first.t_ns) * 1e-9 - (last.seq - first.seq) / 30) < 0.1
        assert camera.drops > 0  # nobody looked meanwhile
    finally:
        camera.close()


@pytest.mark.parametrize(
    ("device", "words"), [("none.avi", "no file none.avi"), ("/dev/video77", "/dev/video77 is not there")]
)
def test_a_camera_that_is_not_there_says_so_at_once(device, words):
    with pytest.raises(DeviceError, match=words):
        CameraProcess("front", rig(device)).open()


class Scripted:
    """A source for the tests below, loaded by its name: `options` say what goes wrong when."""

    def __init__(self, options):
        self.options, self.seq = options, 0

    def open(self):
        if self.seq and time.time() < self.back:
            raise DeviceError("camera front: gone")

    def close(self):
        pass

    def next(self):
        time.sleep(0.02)
        self.seq += 1
        if self.seq == self.options.get("gone_at"):
            self.back = time.time() + 0.7
            raise DeviceError("camera front: pulled out")
        same = self.seq > self.options.get("frozen_from", 1 << 30)
        return Frame(
            CLOCK.now(), self.seq, np.full((SIZE[1], SIZE[0], 3), 7 if same else self.seq % 200, np.uint8)
        )


def connect(name, config, clock, options):
    return Scripted(options)


def scripted(monkeypatch, **options):
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))
    camera = CameraProcess("front", rig("none"), CLOCK, source="test_camera_process:connect", options=options)
    camera.open()
    return camera


def until_stale(camera):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            camera.read()
        except StaleData:
            return
        time.sleep(0.01)
    pytest.fail("never stale")


def until_fresh(camera):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            return camera.read()
        except StaleData:
            time.sleep(0.01)
    pytest.fail("never fresh again")


def test_a_frozen_picture_is_stale(monkeypatch):
    camera = scripted(monkeypatch, frozen_from=20)
    try:
        until_stale(camera)
    finally:
        camera.close()


def test_a_camera_that_comes_back_leaves_a_gap(monkeypatch):
    camera = scripted(monkeypatch, gone_at=30)
    try:
        until_stale(camera)
        again = until_fresh(camera)
        assert again.seq > 30
    finally:
        camera.close()


def test_a_capture_process_that_hangs_is_stale_and_one_that_dies_is_started_anew(monkeypatch):
    camera = scripted(monkeypatch)
    try:
        before = camera.read().seq
        pid = camera._process.pid
        os.kill(pid, signal.SIGSTOP)
        until_stale(camera)
        os.kill(pid, signal.SIGKILL)
        again = until_fresh(camera)
        assert again.seq > before and camera._process.pid != pid
    finally:
        camera.close()


@pytest.mark.parametrize("size", [0, 3, 32, 1000])
def test_bytes_that_are_no_picture(size):
    with pytest.raises(DeviceError, match="a picture of"):
        decode(b"\x01" * size)


def until_gone(folder):
    end = time.monotonic() + 20
    while os.path.exists(folder):
        assert time.monotonic() < end, os.listdir(folder)
        time.sleep(0.02)


def test_the_process_ends_with_whoever_started_it(shots):
    code = (
        "import sys, time; from twinloop.robot.cameras.process import CameraProcess;"
        "from twinloop.robot.rig import parse_rig; import json;"
        "c = CameraProcess('front', parse_rig(json.loads(sys.argv[1]), 'r')); c.open();"
        "import os; child = os.fork();"  # as a data loader does; it keeps every pipe open
        "child or time.sleep(60);"
        "print(c._process.pid, child, c._folder, flush=True); time.sleep(60)"
    )
    import json
    import sys

    from twinloop.robot.process.plan import rig_to_json

    agent = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(rig_to_json(rig(shots)))], stdout=subprocess.PIPE, text=True
    )
    assert agent.stdout is not None
    pid, child, folder = agent.stdout.readline().split()
    agent.kill()
    agent.wait()
    until_gone(folder)
    os.kill(int(child), signal.SIGKILL)
    end = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
        if open(f"/proc/{pid}/stat").read().split()[2] == "Z":
            break
        time.sleep(0.02)
    else:
        assert not os.path.exists(f"/proc/{pid}")
