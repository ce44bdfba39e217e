"""What this machine can do for Twinloop, and how to mend what it cannot."""

from __future__ import annotations

import ctypes.util
import grp
import importlib.metadata
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..robot.clock import RealClock, Stopwatch

Status = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `fail` means the demo cannot run; `warn` that something else cannot."""

    name: str
    status: Status
    detail: str
    fix: str = ""


def python_version() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - run from a checkout by another Python
        return Check("python", "fail", found, "install Python 3.11 or newer")
    return Check("python", "ok", found)


def packages() -> Check:
    wanted = (
        "numpy",
        "scipy",
        "mujoco",
        "gymnasium",
        "opencv-python",
        "pyarrow",
        "av",
        "ruckig",
        "cattrs",
        "tyro",
    )
    missing = [name for name in wanted if _version(name) is None]
    if missing:
        return Check(
            "packages", "fail", f"missing: {', '.join(missing)}", "pip install -c constraints.txt -e ."
        )
    return Check(
        "packages", "ok", ", ".join(f"{n} {_version(n)}" for n in ("numpy", "mujoco", "av", "pyarrow"))
    )


def mujoco_version() -> Check:
    found = _version("mujoco") or "none"
    if found.split(".")[0] != "3":
        return Check("mujoco", "fail", f"{found}: 4.0.0 has a solver bug", 'pip install "mujoco>=3.17,<4"')
    return Check("mujoco", "ok", found)


def libraries() -> Check:
    wanted = {"EGL": "libegl1", "GL": "libgl1", "gthread-2.0": "libglib2.0-0"}
    missing = [package for library, package in wanted.items() if not ctypes.util.find_library(library)]
    if missing:
        return Check("system libraries", "fail", f"missing: {' '.join(missing)}", _apt(missing))
    return Check("system libraries", "ok", ", ".join(f"lib{name}" for name in wanted))


def usb_library() -> Check:
    if ctypes.util.find_library("usb-1.0"):
        return Check("libusb", "ok", "found")
    return Check("libusb", "skip", "not found; only RealSense cameras need it", _apt(["libusb-1.0-0"]))


def rendering() -> Check:
    code = (
        "import time, numpy as np, mujoco\n"
        "from twinloop.sim.render import Renderer\n"
        'm = mujoco.MjModel.from_xml_string(\'<mujoco><worldbody><light pos="0 0 3"/>'
        '<geom type="box" size=".1 .1 .1"/><camera name="c" pos="0 -1 0.5" xyaxes="1 0 0 0 .4 .9"/>'
        "</worldbody></mujoco>')\n"
        "m.vis.global_.offwidth, m.vis.global_.offheight = 640, 480\n"
        "d = mujoco.MjData(m); mujoco.mj_forward(m, d); r = Renderer(m); out = []\n"
        "for h, w in ((96, 96), (480, 640)):\n"
        "    rgb = np.zeros((h, w, 3), np.uint8); r.render(d, 0, rgb); t = time.perf_counter()\n"
        "    for _ in range(10): r.render(d, 0, rgb)\n"
        "    out.append(f'{(time.perf_counter() - t) * 100:.1f} ms at {w}x{h}'); assert rgb.std() > 1\n"
        "print(', '.join(out)); r.close()\n"
    )
    backend = os.environ.get("MUJOCO_GL", "egl")
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check(
            "rendering", "fail", f"MUJOCO_GL={backend} hung for 60 s", "MUJOCO_GL=egl twinloop doctor"
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Check("rendering", "fail", f"MUJOCO_GL={backend}: {last[:90]}", _apt(["libegl1", "libgl1"]))
    return Check("rendering", "ok", f"MUJOCO_GL={backend}, {done.stdout.strip()}")


def torch_and_gpu() -> Check:
    if _version("torch") is None:
        return Check(
            "torch", "fail", "not installed: no training", "pip install -c constraints.txt -e '.[learn]'"
        )
    import torch

    if torch.cuda.is_available():
        return Check("torch", "ok", f"{torch.__version__}, {torch.cuda.get_device_name(0)}")
    driver = Path("/proc/driver/nvidia/version")
    if driver.exists():
        return Check(
            "torch",
            "warn",
            f"{torch.__version__} sees no GPU, though a driver is loaded",
            "pip install torch (CUDA build)",
        )
    return Check("torch", "ok", f"{torch.__version__}, CPU, {torch.get_num_threads()} threads")


def video() -> Check:
    import av
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "probe.mp4")
        with av.open(path, "w") as out:
            stream = out.add_stream("h264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for k in range(5):
                picture = np.full((48, 64, 3), 40 * k, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode())
        with av.open(path) as back:
            count = sum(1 for _ in back.decode(video=0))
    if count != 5:
        return Check("video", "fail", f"{count} of 5 frames came back", "pip install --force-reinstall av")
    return Check("video", "ok", f"h264 through PyAV {av.__version__}")


def realtime() -> Check:
    try:
        before = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        os.sched_setscheduler(0, before, os.sched_param(0))
    except PermissionError:
        return Check(
            "real-time scheduling",
            "warn",
            "SCHED_FIFO refused",
            "add '@realtime - rtprio 80' to limits.conf, log in again",
        )
    return Check("real-time scheduling", "ok", "SCHED_FIFO allowed")


def locked_memory() -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and soft < 256 * 2**20:
        return Check(
            "locked memory", "warn", f"limit {soft / 2**20:.0f} MB", "add '@realtime - memlock unlimited'"
        )
    return Check("locked memory", "ok", "enough")


def cores() -> Check:
    count = len(os.sched_getaffinity(0))
    status: Status = "ok" if count >= 2 else "warn"
    return Check(
        "cores", status, str(count), "" if count >= 2 else "two or more keep training off the loop's core"
    )


def sleep_jitter() -> Check:
    clock = RealClock()
    late = []
    for _ in range(50):
        deadline = clock.now() + 2_000_000
        clock.sleep_until(deadline)
        late.append((clock.now() - deadline) / 1e3)
    late.sort()
    status: Status = "ok" if late[24] < 1000 else "warn"
    return Check("sleep lateness", status, f"median {late[24]:.0f} us, worst {late[-1]:.0f} us")


def disk() -> Check:
    free = shutil.disk_usage(".").free
    try:
        with tempfile.NamedTemporaryFile(dir=".") as file:
            watch = Stopwatch()
            file.write(b"\0" * (32 << 20))
            file.flush()
            os.fsync(file.fileno())
            rate = 32 / max(watch.seconds, 1e-6)
    except OSError as error:
        return Check(
            "disk", "warn", f"{Path.cwd()}: {error.strerror}", "run in a folder that you may write to"
        )
    status: Status = "ok" if free > 2e9 else "warn"
    return Check(
        "disk", status, f"{free / 1e9:.0f} GB free, {rate:.0f} MB/s", "" if free > 2e9 else "free 2 GB"
    )


def serial_ports() -> Check:
    by_id = Path("/dev/serial/by-id")
    found = sorted(p.name for p in by_id.iterdir()) if by_id.exists() else []
    found += sorted(str(p) for pattern in ("ttyUSB*", "ttyACM*") for p in Path("/dev").glob(pattern))
    if not found:
        return Check("serial ports", "skip", "none; an arm would be one")
    slow = [
        p.parent.name
        for p in Path("/sys/bus/usb-serial/devices").glob("*/latency_timer")
        if int(p.read_text()) > 1
    ]
    if slow:
        return Check(
            "serial ports", "warn", f"{', '.join(found)}; latency timer of {', '.join(slow)} above 1 ms",
            "echo 1 | sudo tee /sys/bus/usb-serial/devices/*/latency_timer",
        )  # fmt: skip
    return Check("serial ports", "ok", ", ".join(found))


def serial_group() -> Check:
    try:
        members = grp.getgrnam("dialout")
    except KeyError:
        return Check("dialout group", "skip", "no such group")
    if os.geteuid() == 0 or members.gr_gid in os.getgroups():
        return Check("dialout group", "ok", "may open serial ports")
    return Check("dialout group", "warn", "not a member", "sudo usermod -aG dialout $USER, log in again")


def cameras() -> Check:
    found = sorted(str(p) for p in Path("/dev").glob("video*"))
    return Check("cameras", "ok", ", ".join(found)) if found else Check("cameras", "skip", "no /dev/video*")


def realsense() -> Check:
    if importlib.util.find_spec("pyrealsense2") is None:
        return Check("realsense", "skip", "pyrealsense2 is not installed", "pip install -e '.[realsense]'")
    return Check("realsense", "ok", f"pyrealsense2 {_version('pyrealsense2')}")


def display() -> Check:
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return Check("display", "ok" if shown else "skip", shown or "headless: pictures go to files and reports")


def rigs() -> Check:
    from ..robot.rig import load_rig, rig_names

    names = rig_names()
    for name in names:
        load_rig(name)
    return Check("rigs", "ok", ", ".join(names))


CHECKS: tuple[Callable[[], Check], ...] = (
    python_version, packages, mujoco_version, libraries, usb_library, rendering, torch_and_gpu, video, realtime,
    locked_memory, cores, sleep_jitter, disk, serial_ports, serial_group, cameras, realsense, display, rigs,
)  # fmt: skip


def examine() -> list[Check]:
    """Run every check; one that raises is a `fail` with its message, never a traceback."""
    found = []
    for check in CHECKS:
        try:
            found.append(check())
        except Exception as error:  # noqa: BLE001 - a broken library may raise anything
            name = check.__name__.replace("_", " ")
            found.append(Check(name, "fail", f"{type(error).__name__}: {error}", "see the message"))
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _apt(names: list[str]) -> str:
    return f"sudo apt-get install -y --no-install-recommends {' '.join(names)}"
