"""What this machine can do for Twinloop, and how to mend what it cannot.

Checks of packages, rendering, training, video and descriptions; those of the machine are in `doctor_checks`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..robot.clock import RealClock, Stopwatch
from . import doctor_checks as machine
from .doctor_checks import Check, apt, explain

if TYPE_CHECKING:
    from ..robot.machine import LocalRig
    from .devices.ports import Places

INSTALL = "pip install -c constraints.txt -e ."
PACKAGES = (
    "numpy", "scipy", "mujoco", "gymnasium", "opencv-python", "pyserial", "pyarrow", "av", "cattrs", "PyYAML",
    "tyro", "rich", "ruckig", "websockets",
)  # fmt: skip
SHOWN = ("numpy", "opencv-python", "pyarrow", "av", "tyro", "ruckig")
PROBE = "from twinloop.launch.doctor import probe_rendering; probe_rendering()"
PROBE_LIMIT_S = 60


def packages() -> Check:
    missing = [name for name in PACKAGES if version(name) is None]
    if missing:
        return Check("packages", "fail", f"missing: {', '.join(missing)}", INSTALL)
    return Check("packages", "ok", ", ".join(f"{name} {version(name)}" for name in SHOWN))


def mujoco_version() -> Check:
    found = version("mujoco") or "none"
    fix = 'pip install "mujoco>=3.17,<4"'
    numbers = [int(part) if part.isdigit() else 0 for part in f"{found}.0".split(".")[:2]]
    if found == "4.0.0":
        why = "4.0.0: its Newton solver gives wrong accelerations (google-deepmind/mujoco issue 3767)"
        return Check("mujoco", "fail", why, fix)
    if not [3, 17] <= numbers < [4, 0]:
        return Check("mujoco", "fail", f"{found}; tested with 3.17 up to, not with, 4", fix)
    return Check("mujoco", "ok", found)


def rendering() -> Check:
    """Draw the shipped rig in a process of its own, for a broken driver may crash or hang."""
    backend = os.environ.get("MUJOCO_GL") or "egl"
    env = {**os.environ, "MUJOCO_GL": backend}
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE], env=env, capture_output=True, text=True, timeout=PROBE_LIMIT_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Check(
            "rendering", "fail", f"MUJOCO_GL={backend} hung for {PROBE_LIMIT_S} s", "set MUJOCO_GL=egl"
        )
    if done.returncode == 0:
        return Check("rendering", "ok", f"MUJOCO_GL={backend}: {done.stdout.strip().splitlines()[-1]}")
    if done.returncode < 0:
        why, fix = f"the driver crashed (signal {-done.returncode})", apt(["libegl1", "libgl1"])
    else:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        why, fix = explain(last) or (last[:120], apt(["libegl1", "libgl1"]))
    return Check("rendering", "fail", f"MUJOCO_GL={backend}: {why}", fix)


def probe_rendering() -> None:
    """What `rendering` runs: print the renderer's name and the time of a picture; fail if it is blank."""
    import mujoco
    import numpy as np

    from ..robot.rig import load_rig
    from ..sim.render import Renderer
    from ..sim.scene import build_scene

    scene = build_scene(load_rig("so101"))
    data = mujoco.MjData(scene.model)
    data.qpos[scene.arms["arm"].qpos] = scene.descriptions["arm"].rest_q_rad
    mujoco.mj_forward(scene.model, data)
    renderer = Renderer(scene.model)
    times = []
    for height, width in ((96, 96), (480, 640)):
        rgb = np.zeros((height, width, 3), np.uint8)
        renderer.render(data, scene.cameras["front"], rgb)
        if rgb.std() < 1:
            raise RuntimeError("the picture is blank")
        watch = Stopwatch()
        for _ in range(10):
            renderer.render(data, scene.cameras["front"], rgb)
        times.append(f"{watch.seconds * 100:.1f} ms at {width}x{height}")
    from OpenGL.GL import GL_RENDERER, glGetString

    name = glGetString(GL_RENDERER)
    renderer.close()
    print(f"{', '.join(times)}, on {name.decode() if isinstance(name, bytes) else 'an unnamed renderer'}")


def torch_threads() -> Check:
    if version("torch") is None:
        return Check(
            "torch", "fail", "not installed: no training", "pip install -c constraints.txt -e '.[learn]'"
        )
    import torch

    return Check("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")


def gpu() -> Check:
    driver = Path("/proc/driver/nvidia/version")
    loaded = driver.exists()
    named = driver.read_text().partition("Kernel Module")[2].split()[:1] if loaded else []
    if version("torch") is None:
        return Check("GPU", "skip", "torch is not installed")
    import torch

    if torch.cuda.is_available():
        found = f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}, driver {' '.join(named) or '?'}"
        return Check("GPU", "ok", found)
    if loaded and torch.version.cuda is None:
        fix = "pip install --force-reinstall torch  # PyPI has the CUDA build for Linux"
        return Check("GPU", "warn", "an NVIDIA driver is loaded, but this torch is the CPU build", fix)
    if loaded:
        why = f"torch for CUDA {torch.version.cuda} cannot use driver {' '.join(named) or '?'}"
        return Check("GPU", "warn", why, "see nvidia-smi; install a driver for that CUDA version")
    return Check("GPU", "skip", "no NVIDIA driver; training runs on the CPU")


def video() -> Check:
    """Encode a few h264 frames and decode them again."""
    import av
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "probe.mp4")
        with av.open(path, "w") as out:
            stream = out.add_stream("h264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            for k in range(10):
                picture = np.full((480, 640, 3), 20 * k, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode())
        with av.open(path) as back:
            means = [frame.to_ndarray(format="rgb24").mean() for frame in back.decode(video=0)]
    if len(means) != 10 or any(abs(mean - 20 * k) > 12 for k, mean in enumerate(means)):
        fix = "pip install --force-reinstall av"
        return Check("video", "fail", f"{len(means)} of 10 frames came back, or with wrong colours", fix)
    return Check("video", "ok", f"h264 through PyAV {av.__version__}, written and read")


def realsense() -> Check:
    found = version("pyrealsense2")
    if found is None:
        return Check("realsense", "skip", "pyrealsense2 is not installed", "pip install -e '.[realsense]'")
    library = importlib.import_module("pyrealsense2")
    devices = len(library.context().query_devices())
    return Check("realsense", "ok" if devices else "skip", f"pyrealsense2 {found}, {devices} cameras")


def rigs() -> Check:
    from ..robot.rig import load_rig, rig_names

    names = rig_names()
    for name in names:
        load_rig(name)
    return Check("rigs", "ok", ", ".join(names)) if names else Check("rigs", "fail", "none", INSTALL)


def arms() -> Check:
    """Compile every arm description, plug-ins included."""
    from ..robot.models import load_model, model_names

    names = model_names()
    joints = [f"{name} ({len(load_model(name).joints)} joints)" for name in names]
    return Check("arms", "ok", ", ".join(joints)) if names else Check("arms", "fail", "none", INSTALL)


CHECKS: dict[str, Callable[[], Check]] = {
    "python": machine.python_version, "packages": packages, "mujoco": mujoco_version,
    "system libraries": machine.libraries, "rendering": rendering, "video": video, "torch": torch_threads,
    "GPU": gpu, "rigs": rigs, "arms": arms, "disk": machine.disk, "cores": machine.cores,
    "sleep lateness": machine.sleep_lateness, "real-time scheduling": machine.realtime,
    "locked memory": machine.locked_memory, "serial ports": machine.serial_ports,
    "FTDI latency": machine.ftdi_latency, "dialout group": machine.serial_group, "cameras": machine.cameras,
    "realsense": realsense, "libusb": machine.usb_library, "display": machine.display,
}  # fmt: skip
NEEDED = (
    "python", "packages", "mujoco", "system libraries", "rendering", "video", "torch", "rigs", "arms", "disk",
)  # fmt: skip


def examine() -> list[Check]:
    """Run every check; one that raises is a `fail` with its message, never a traceback."""
    return [check for name, run in CHECKS.items() for check in caught(name, lambda run=run: [run()])]


def examine_rig(local: LocalRig, rig: str, places: Places | None = None) -> list[Check]:
    """Look at the devices of `local`, which the user calls `rig`: reads alone, moves nothing, and leaves a bus alone
    that another process owns."""
    from .devices.arm_checks import arm_checks
    from .devices.camera_checks import camera_checks
    from .devices.local import same_port_twice
    from .devices.ports import Places

    places, clock = places or Places(), RealClock()
    found = [Check("machine file", "ok" if local.file.exists() else "skip", _machine(local))]
    if twice := same_port_twice(local):
        found.append(Check("ports", "fail", twice, f"twinloop setup-devices --rig {rig}"))
    for name in local.rig.arms:
        found += caught(f"{name} arm", lambda name=name: arm_checks(local, name, rig, places, clock))
    for name in local.rig.cameras:
        found += caught(f"{name} camera", lambda name=name: camera_checks(local, name, rig, places))
    return found


def caught(name: str, run: Callable[[], Iterable[Check]]) -> list[Check]:
    """What `run` finds; what it raises is a `fail` of `name`."""
    found: list[Check] = []
    try:
        found.extend(run())
    except Exception as error:  # noqa: BLE001 - a broken library may raise anything
        message = str(error).strip().partition("\n")[0] or "no message"
        why, fix = explain(error) or (f"{type(error).__name__}: {message}", INSTALL)
        found.append(Check(name, "fail", why, fix))
    return found


def _machine(local: LocalRig) -> str:
    return f"{local.file}{'' if local.file.exists() else ': none yet; `twinloop setup-devices` writes it'}"


def blocked(found: Iterable[Check]) -> list[str]:
    """Names of the failed checks without which `twinloop demo` cannot run."""
    return [check.name for check in found if check.status == "fail" and check.name in NEEDED]


def version(package: str) -> str | None:
    """Installed version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
