"""Serial ports and cameras in folders that look like /dev and /sys, with pseudo-terminals for devices."""

import os
import pty
import subprocess
import sys
import time

import pytest
from twinloop.launch.devices.camera_checks import usb_speed, video_cameras
from twinloop.launch.devices.ports import Places, latency_check, port_check, serial_devices, stable_name


@pytest.fixture
def machine(tmp_path):
    """A `Places` of its own, and a function that plugs an adapter in: returns its node."""
    places = Places(tmp_path / "dev", tmp_path / "sys")
    (places.dev / "serial/by-id").mkdir(parents=True)
    ends = []

    def plug(name, *, by_id=None, serial="", vendor="1a86", latency=None):
        master, slave = pty.openpty()
        ends.extend((master, slave))
        node = os.ttyname(slave)
        (places.dev / name).symlink_to(node)
        if by_id:
            (places.dev / "serial/by-id" / by_id).symlink_to(node)
        usb = tmp_path / "usb" / name
        tty = usb / "1-2:1.0"
        tty.mkdir(parents=True)
        for field, value in (
            ("idVendor", vendor),
            ("idProduct", "55d3"),
            ("serial", serial),
            ("product", "Bus"),
        ):
            (usb / field).write_text(f"{value}\n")
        if latency is not None:
            (tty / "latency_timer").write_text(f"{latency}\n")
        (places.sys / "class/tty" / os.path.basename(node)).mkdir(parents=True)
        (places.sys / "class/tty" / os.path.basename(node) / "device").symlink_to(tty)
        return node

    yield places, plug
    for end in ends:
        os.close(end)


def test_a_port_is_listed_once_by_the_name_that_stays(machine):
    places, plug = machine
    node = plug("ttyACM0", by_id="usb-1a86_one", serial="58FA")
    plug("ttyUSB0")
    named, plain = serial_devices(places)
    assert (named.path, named.node) == (str(places.dev / "serial/by-id/usb-1a86_one"), node)
    assert (named.usb, named.serial, named.product) == ("1a86:55d3", "58FA", "Bus")
    assert plain.path.endswith("/ttyUSB0")
    assert stable_name(str(places.dev / "ttyACM0"), places) == named.path
    assert stable_name("/dev/elsewhere", places) == "/dev/elsewhere"


def test_a_link_whose_device_went_away_is_no_port(machine):
    places, plug = machine
    plug("ttyACM0", by_id="usb-a")
    (places.dev / "serial/by-id/usb-gone").symlink_to("/dev/pts/999999")
    (places.dev / "ttyUSB9").symlink_to("/dev/null")
    assert [device.path for device in serial_devices(places)] == [str(places.dev / "serial/by-id/usb-a")]


def test_what_is_wrong_with_a_port_is_named(machine, tmp_path):
    places, plug = machine
    node = plug("ttyACM0", by_id="usb-a")
    path = str(places.dev / "serial/by-id/usb-a")
    sound = port_check("arm", path, " (from x)", places)
    assert sound.status == "ok" and sound.detail == f"{path} (from x) -> {node}, Bus 1a86:55d3"
    missing = port_check("arm", "/dev/ttyACM7", "", places)
    assert missing.status == "fail" and "not there" in missing.detail and path in missing.fix
    (tmp_path / "file").touch()
    assert "not a serial port" in port_check("arm", str(tmp_path / "file"), "", places).detail
    assert "not a serial port" in port_check("arm", "/dev/null", "", places).detail


def test_who_has_the_port_is_named(machine):
    places, plug = machine
    path = plug("ttyACM0")
    owner = subprocess.Popen([sys.executable, "-c", f"f = open({path!r}); import time; time.sleep(60)"])
    try:
        end = time.monotonic() + 30
        while (check := port_check("arm", path, "", places)).status == "ok" and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        owner.kill()
        owner.wait()
    assert check.status == "warn" and f"in use by process {owner.pid} (python" in check.detail
    assert check.detail.endswith("left alone")


@pytest.mark.parametrize(("timer", "status"), [(16, "warn"), (1, "ok")])
def test_ftdis_timer(machine, timer, status):
    places, plug = machine
    path = plug("ttyUSB0", vendor="0403", latency=timer)
    check = latency_check("arm", path, places)
    assert check is not None and check.status == status
    assert status == "ok" or "latency_timer" in check.fix
    assert latency_check("arm", plug("ttyACM0"), places) is None


def test_cameras_by_name_speed_and_first_stream(machine, tmp_path):
    places, _ = machine
    for k, (name, index, speed) in enumerate(
        [("C920", 0, 480), ("C920", 1, 480), ("Cam", 0, 5000), ("Intel RealSense D405", 0, 5000)]
    ):
        (places.dev / f"video{k}").touch()
        about = places.sys / "class/video4linux" / f"video{k}"
        about.mkdir(parents=True)
        (about / "name").write_text(f"{name}\n")
        (about / "index").write_text(f"{index}\n")
        usb = tmp_path / "usbs" / str(k)
        (usb / "interface").mkdir(parents=True)
        (usb / "speed").write_text(f"{speed}\n")
        (about / "device").symlink_to(usb / "interface")
    (places.dev / "v4l/by-id").mkdir(parents=True)
    (places.dev / "v4l/by-id/usb-C920-video-index0").symlink_to(places.dev / "video0")
    found = video_cameras(places)
    assert [(c.device, c.name, c.usb_mbit) for c in found] == [
        (str(places.dev / "v4l/by-id/usb-C920-video-index0"), "C920", 480),
        (str(places.dev / "video2"), "Cam", 5000),
    ]
    assert usb_speed("/dev/video99", places) is None
