"""The RealSense driver on pyrealsense2's own pipeline, with a software device at the other end of the cable."""

import os
import threading
import time

import numpy as np
import pytest
from twinloop.robot.cameras.process import CameraProcess
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError, StaleData
from twinloop.robot.rig import parse_rig
from twinloop.robot.testing import CameraContract

rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)
CLOCK, SIZE, FPS = RealClock(), (64, 48), 30


def rig(**changes):
    camera = {"width": SIZE[0], "height": SIZE[1], "fps": FPS, "kind": "realsense", **changes}
    return parse_rig({"name": "r", "arms": {"arm": {"model": "so101"}}, "cameras": {"front": camera}}, "r")


class Scripted:
    """A software device whose pictures count, 1 mm deeper each; `options` say when it stops."""

    def __init__(self, config, options):
        from twinloop.sim.emulate.realsense import SoftwareCamera

        class Source:
            seq = 0

            def open(self):
                pass

            close = open

            def next(self):
                from twinloop.robot.types import Frame

                time.sleep(1 / FPS)
                self.seq += 1
                if self.seq > options.get("stops_after", 1 << 30):
                    raise DeviceError("silent")
                rgb = np.full((SIZE[1], SIZE[0], 3), self.seq % 250, np.uint8)
                depth = np.full((SIZE[1], SIZE[0]), 0.5 + 0.001 * self.seq, np.float32)
                return Frame(CLOCK.now() - 20_000_000, self.seq, rgb, depth)

        self._inner = SoftwareCamera("front", config, Source())
        self.device, self.begin, self.end = self._inner.device, self._inner.begin, self._inner.end


def open_device(name, config, clock, options):
    return Scripted(config, options)


def camera(monkeypatch, **options):
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))
    options = {"device": "test_realsense:open_device", "depth_size": list(SIZE), **options}
    return CameraProcess("front", rig(), CLOCK, options=options)


@pytest.mark.slow
class TestSoftwareDevice(CameraContract):
    @pytest.fixture(autouse=True)
    def patch(self, monkeypatch):
        self.monkeypatch = monkeypatch

    def make(self):
        return camera(self.monkeypatch), CLOCK


@pytest.mark.slow
def test_colour_depth_lens_and_time(monkeypatch):
    made = camera(monkeypatch)
    made.open()
    try:
        time.sleep(1.0)
        frame = made.read()
        assert frame.depth_m is not None
        shown = int(frame.rgb[24, 32, 0])  # the number that the device gave this picture
        assert frame.depth_m[24, 32] == pytest.approx(0.5 + 0.001 * shown, abs=1e-3)
        lens = made.intrinsics
        assert lens is not None and (lens.width, lens.height) == SIZE
        assert lens.fx == pytest.approx(0.5 * SIZE[1] / np.tan(np.radians(25)), rel=1e-5)
        age_ms = (CLOCK.now() - frame.t_ns) * 1e-6
        assert (
            4 < age_ms < 250
        )  # the way through the pipeline and half the exposure; the device said 20 ms more
    finally:
        made.close()


@pytest.mark.slow
def test_a_stalled_device_is_stale(monkeypatch):
    made = camera(monkeypatch, stops_after=30)
    made.open()
    try:
        end = time.monotonic() + 20
        with pytest.raises(StaleData):
            while time.monotonic() < end:
                made.read()
                time.sleep(0.01)
    finally:
        made.close()


def test_what_cannot_be_had_is_said():
    from twinloop.robot.cameras.realsense import RealSenseSource

    config = rig(serial="000111").cameras["front"]
    with pytest.raises(DeviceError, match="no RealSense with serial 000111; there is: none"):
        RealSenseSource("front", config, CLOCK, {}).open()
    with pytest.raises(DeviceError, match="camera front: no RealSense is connected"):
        RealSenseSource("front", rig().cameras["front"], CLOCK, {}).open()
    assert threading.active_count() < 50
