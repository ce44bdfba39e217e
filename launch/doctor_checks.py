"""Checks of the machine itself: Python, system libraries, real-time scheduling, disk, ports, cameras, screen.

Nothing here needs a package beyond the standard library, so these answer where an installation is broken.
"""

from __future__ import annotations

import ctypes
import grp
import os
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..robot.clock import RealClock, Stopwatch

Status = Literal["ok", "warn", "fail", "skip"]

SHARED = {  # file that a library's message names -> Debian/Ubuntu package that holds it
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libOpenGL.so.0": "libopengl0",
    "libGLdispatch.so.0": "libglvnd0",
    "libOSMesa.so.8": "libosmesa6",
    "libxcb.so.1": "libxcb1",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
}
NEEDED_LIBRARIES = ("libEGL.so.1", "libGL.so.1", "libgthread-2.0.so.0")
REALTIME_FIX = (
    "sudo groupadd -f realtime; sudo usermod -aG realtime $USER; "
    "printf '@realtime - rtprio 80\\n@realtime - memlock unlimited\\n' | "
    "sudo tee /etc/security/limits.d/90-realtime.conf  # then log in again"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `fail`: broken; `warn`: works, but not as well as it should; `skip`: not here."""

    name: str
    status: Status
    detail: str
    fix: str = ""


def apt(packages: Iterable[str]) -> str:
    """The command that installs these packages on Debian or Ubuntu."""
    return f"sudo apt-get install -y --no-install-recommends {' '.join(dict.fromkeys(packages))}"


def explain(error: BaseException | str) -> tuple[str, str] | None:
    """What a library's own message means, and the fix; None when it is not about a missing library."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("twinloop"):
        extra = "'.[learn]'" if error.name.partition(".")[0] in ("torch", "safetensors") else "."
        return f"the Python package '{error.name}' is missing", f"pip install -c constraints.txt -e {extra}"
    if "eglQueryString" in text or "EGL_NO_DISPLAY" in text or "Cannot initialize a EGL" in text:
        return "libEGL cannot be loaded or finds no driver", apt(["libegl1", "libgl1"])
    if "glGetError" in text or "OSMesa" in text:
        return "libOSMesa cannot be loaded", f"set MUJOCO_GL=egl, or {apt(['libosmesa6'])}"
    if "gladLoadGL" in text or "GLFW" in text:
        return "GLFW finds no screen", "set MUJOCO_GL=egl"
    if match := re.search(r"environment variable MUJOCO_GL: (.*)", text):
        return (
            f"MUJOCO_GL={match[1].strip()} is unknown",
            "set MUJOCO_GL to egl, glfw or osmesa, or leave it unset",
        )
    if match := re.search(r"(lib[\w.+-]+?\.so[.\d]*)", text):
        name = match[1]
        stem = name.partition(".so")[0]
        package = next((p for so, p in SHARED.items() if so.partition(".so")[0] == stem), None)
        fix = apt([package]) if package else f"install the package that holds it: apt-file search {name}"
        return f"{name} cannot be loaded", fix
    return None


def python_version() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - run from a checkout by another Python
        return Check(
            "python", "fail", f"{found}, 3.11 or newer is needed", "sudo apt-get install python3.11-venv"
        )
    return Check("python", "ok", found)


def libraries() -> Check:
    missing = [name for name in NEEDED_LIBRARIES if not loads(name)]
    if missing:
        return Check(
            "system libraries", "fail", f"missing: {', '.join(missing)}", apt(SHARED[n] for n in missing)
        )
    return Check("system libraries", "ok", ", ".join(NEEDED_LIBRARIES))


def usb_library() -> Check:
    if loads("libusb-1.0.so.0"):
        return Check("libusb", "ok", "libusb-1.0.so.0")
    return Check("libusb", "skip", "not found; only RealSense cameras need it", apt(["libusb-1.0-0"]))


def loads(library: str) -> bool:
    """Whether the dynamic loader finds this shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def realtime() -> Check:
    before, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except PermissionError:
        detail = "SCHED_FIFO refused; other programs may delay the loop"
        return Check("real-time scheduling", "warn", detail, REALTIME_FIX)
    os.sched_setscheduler(0, before, priority)
    return Check("real-time scheduling", "ok", "SCHED_FIFO allowed")


def locked_memory() -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and soft < 256 * 2**20:
        detail = f"limit {soft / 2**20:.0f} MB; the loop's memory may be swapped out"
        return Check("locked memory", "warn", detail, REALTIME_FIX)
    return Check("locked memory", "ok", "unlimited" if soft == resource.RLIM_INFINITY else f"{soft >> 20} MB")


def cores() -> Check:
    count = len(os.sched_getaffinity(0))
    detail = f"{count} usable of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}"
    if count < 2:
        return Check("cores", "warn", detail, "give it two: the loop needs one to itself")
    return Check("cores", "ok", detail)


def sleep_lateness() -> Check:
    """How late a 2 ms sleep ends, 50 times."""
    clock = RealClock()
    late = []
    for _ in range(50):
        deadline = clock.now() + 2_000_000
        clock.sleep_until(deadline)
        late.append((clock.now() - deadline) / 1e3)
    late.sort()
    detail = f"median {late[24]:.0f} us, worst {late[-1]:.0f} us of 50"
    if late[24] > 1000 or late[-1] > 5000:
        return Check("sleep lateness", "warn", detail, "end other programs, or allow real-time scheduling")
    return Check("sleep lateness", "ok", detail)


def disk() -> Check:
    free = shutil.disk_usage(".").free
    try:
        with tempfile.NamedTemporaryFile(dir=".", prefix=".twinloop-doctor-") as file:
            watch = Stopwatch()
            file.write(b"\0" * (16 << 20))
            file.flush()
            os.fsync(file.fileno())
            rate = 16 / max(watch.seconds, 1e-6)
    except OSError as error:
        fix = "run in a folder that you may write to, with free space"
        return Check("disk", "fail", f"{Path.cwd()}: {error.strerror}", fix)
    detail = f"{free / 1e9:.1f} GB free here, writes {rate:.0f} MB/s"
    if free < 2e9:
        return Check("disk", "warn", detail, "free 2 GB, or give another --out")
    if rate < 20:
        return Check(
            "disk", "warn", detail, "record to a faster disk: two cameras write about 3 MB/s, in bursts"
        )
    return Check("disk", "ok", detail)


def serial_ports() -> Check:
    by_id = Path("/dev/serial/by-id")
    found = sorted(str(p) for p in by_id.iterdir()) if by_id.exists() else []
    known = {Path(p).resolve() for p in found}
    for pattern in ("ttyUSB*", "ttyACM*"):
        found += sorted(str(p) for p in Path("/dev").glob(pattern) if p.resolve() not in known)
    if not found:
        return Check("serial ports", "skip", "none; an arm would be one", "plug the arm in; check with lsusb")
    return Check("serial ports", "ok", ", ".join(found))


def ftdi_latency() -> Check:
    """FTDI adapters wait 16 ms by default before they hand a reply on."""
    timers = sorted(Path("/sys/bus/usb-serial/devices").glob("*/latency_timer"))
    if not timers:
        return Check("FTDI latency", "skip", "no FTDI adapter")
    slow = [f"{p.parent.name} {p.read_text().strip()} ms" for p in timers if int(p.read_text()) > 1]
    if slow:
        fix = "echo 1 | sudo tee /sys/bus/usb-serial/devices/*/latency_timer"
        return Check("FTDI latency", "warn", f"{', '.join(slow)}; 1 ms is wanted", fix)
    return Check("FTDI latency", "ok", "1 ms")


def serial_group() -> Check:
    try:
        group = grp.getgrnam("dialout")
    except KeyError:
        return Check("dialout group", "skip", "no such group here")
    if os.geteuid() == 0:
        return Check("dialout group", "ok", "root may open serial ports")
    if group.gr_gid in os.getgroups():
        return Check("dialout group", "ok", "member")
    return Check(
        "dialout group", "warn", "not a member", "sudo usermod -aG dialout $USER  # then log in again"
    )


def cameras() -> Check:
    found = sorted(Path("/dev").glob("video*"))
    if not found:
        return Check("cameras", "skip", "no /dev/video*", "plug one in; check with v4l2-ctl --list-devices")
    shut = [str(p) for p in found if not os.access(p, os.R_OK | os.W_OK)]
    if shut:
        fix = "sudo usermod -aG video $USER  # then log in again"
        return Check("cameras", "warn", f"may not open {', '.join(shut)}", fix)
    return Check("cameras", "ok", ", ".join(f"{p} {_camera_name(p)}".strip() for p in found))


def _camera_name(device: Path) -> str:
    name = Path("/sys/class/video4linux") / device.name / "name"
    return f"({name.read_text().strip()})" if name.exists() else ""


def display() -> Check:
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return Check("display", "ok" if shown else "skip", shown or "headless: pictures go to files and reports")
