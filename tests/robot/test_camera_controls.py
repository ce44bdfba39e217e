"""V4L2 cameras through OpenCV: no device is here, so a stand-in for `cv2.VideoCapture` takes what one takes."""

import cv2
import numpy as np
import pytest
from twinloop.robot.cameras import opencv
from twinloop.robot.errors import DeviceError, RigError
from twinloop.robot.rig import CameraConfig

MS = 1_000_000
WIDTH, HEIGHT, FPS = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS


class Device:
    """A camera with one size and rate, some controls, and the driver's stamps of its pictures."""

    def __init__(self, **values):
        self.values = {WIDTH: 640.0, HEIGHT: 480.0, FPS: 30.0}
        self.fixed = {WIDTH, HEIGHT, FPS}
        self.refused = set()
        self.set_in_order = []
        self.opened = True
        self.stamps_ms: list[float] = []

    def isOpened(self):
        return self.opened

    def set(self, prop, value):
        self.set_in_order.append(prop)
        if prop in self.refused:
            return False
        if prop not in self.fixed:
            self.values[prop] = float(value)
        return True

    def get(self, prop):
        if prop == cv2.CAP_PROP_POS_MSEC:
            return self.stamps_ms.pop(0)
        return self.values.get(prop, 0.0)

    def read(self):
        size = int(self.values[HEIGHT]), int(self.values[WIDTH]), 3
        return True, np.zeros(size, np.uint8)

    def release(self):
        pass


class Clock:
    t = 10_000 * MS

    def now(self):
        return self.t

    def sleep_until(self, deadline_ns):
        self.t = deadline_ns


@pytest.fixture
def device(monkeypatch):
    made = Device()
    monkeypatch.setattr(opencv.cv2, "VideoCapture", lambda *_: made)
    monkeypatch.setattr(opencv, "port_owners", lambda path: [4711])
    return made


def source(options=None, **config):
    camera = CameraConfig(device="/dev/null", latency_ms=30.0, **config)
    return opencv.connect("front", camera, Clock(), options or {})


def test_controls_are_set_after_the_format_and_their_automatics_are_ended(device):
    camera = source({"fourcc": "MJPG", "exposure": 100, "white_balance": 4600, "focus": 0, "gain": 10})
    camera.open()
    order = device.set_in_order
    assert order[0] == cv2.CAP_PROP_FOURCC
    for automatic, manual in (
        (cv2.CAP_PROP_AUTO_EXPOSURE, cv2.CAP_PROP_EXPOSURE),
        (cv2.CAP_PROP_AUTO_WB, cv2.CAP_PROP_WB_TEMPERATURE),
        (cv2.CAP_PROP_AUTOFOCUS, cv2.CAP_PROP_FOCUS),
    ):
        assert order.index(WIDTH) < order.index(automatic) < order.index(manual)
    assert device.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1  # V4L2's manual


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"exposition": 3}, "did you mean 'exposure'"),
        ({"gain": "high"}, "must be a number"),
        ({"gain": True}, "must be a number"),
        ({"fourcc": "MJPEG"}, "four letters"),
    ],
)
def test_options_that_are_none_say_what_would_be(options, told):
    with pytest.raises(RigError, match=told):
        source(options)


def test_a_control_that_the_camera_does_not_take_is_no_small_matter(device):
    device.refused = {cv2.CAP_PROP_FOCUS}
    with pytest.raises(DeviceError, match="does not take focus 3"):
        source({"focus": 3}).open()
    device.fixed.add(cv2.CAP_PROP_EXPOSURE)
    with pytest.raises(DeviceError, match="exposure 5 became 0"):
        source({"exposure": 5}).open()
    device.fixed.add(cv2.CAP_PROP_FOURCC)
    device.values[cv2.CAP_PROP_FOURCC] = cv2.VideoWriter.fourcc(*"YUYV")
    with pytest.raises(DeviceError, match="MJPG became YUYV"):
        source({"fourcc": "MJPG"}).open()


def test_another_shape_is_refused_and_another_size_is_said(device, caplog):
    with pytest.raises(DeviceError, match="delivers 640 x 480 px, another shape than 1280 x 720"):
        source(width=1280, height=720).open()
    source(width=320, height=240, fps=60.0).open()
    assert "resized to 320 x 240" in caplog.text and "30 Hz, 60 were asked" in caplog.text


def test_a_camera_that_another_process_has_is_refused_with_its_id(device):
    device.opened = False
    with pytest.raises(DeviceError, match="process 4711 has it open"):
        source().open()


def test_a_set_exposure_moves_the_stamp_to_its_middle(device):
    """The driver stamps the end of the exposure: 10 ms of it began 5 ms before the middle."""
    for options, middle in (({}, 9980), ({"exposure": 100}, 9975)):
        camera = source(options)
        camera.open()
        device.stamps_ms = [9980.0]
        assert camera.next().t_ns == middle * MS


def test_a_stamp_of_another_clock_is_none(device):
    camera = source()
    camera.open()
    device.stamps_ms = [1_700_000_000_000.0]
    assert camera.next().t_ns == 9970 * MS  # arrival less the rig's latency


def test_pictures_that_did_not_come_leave_a_gap(device):
    camera = source()
    camera.open()
    device.stamps_ms = [9700.0, 9733.0, 9835.0, 9870.0]  # two are missing before the third
    assert [camera.next().seq for _ in range(4)] == [1, 2, 5, 6]
