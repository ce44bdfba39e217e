"""How old is what a browser shows: the joints' numbers, the arm as drawn, the cameras. One JSON line a figure.

Run: python benchmarks/page.py [--quick]

The page's own process, in front of a loop that hands it steps with three 480x640 cameras (30 fps) and does nothing
else; headless Chromium on the same machine, drawing in software, which a phone or a laptop would do by itself. Each
step's number is in what is shown: in the place of a joint within its range, and as black and white stripes in the
pictures. Whenever the browser draws (requestAnimationFrame) a script reads what stands on the page, and the age is that
of the step with this number: from the observation, or a frame's mid-exposure, to the drawing. What the compositor takes
after it, a screen's picture at most, is not in it. The arm's view cannot carry a number: there the pose jumps, and the
first other picture is waited for.
"Over the period": of the loop. Half a period is the least that is possible: what is drawn at once is so old on average.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _figures import emit
from twinloop.robot.clock import RealClock
from twinloop.robot.models import load_model
from twinloop.robot.rig import Rig, parse_rig
from twinloop.robot.types import ActionChunk, Applied, ArmState, Frame, Observation, Step
from twinloop.teleop.page import PageProcess
from twinloop.teleop.page.link import make_link

HERE = Path(__file__).parent
CLOCK = RealClock()
CAMERAS, FPS, HEIGHT, WIDTH = 3, 30.0, 480, 640
EXPOSURE_NS = 4_000_000
BITS, RANGE = 10, 1000  # numbers go from 0 to RANGE - 1, and begin anew
TELL_NS = 200_000_000
JUMP_S, JUMP_RAD = 0.9, 1.2
SCRIPT = """
window.seen = []; window.views = [];
const small = document.createElement('canvas'), paint = small.getContext('2d', { willReadFrequently: true });
small.width = BITS * 4; small.height = 4;
const other = document.createElement('canvas'), look = other.getContext('2d', { willReadFrequently: true });
other.width = 64; other.height = 48;
let before = null, source = '';
function each() {
  const now = performance.now();
  const at = document.querySelector('#numbers .joint .place i'), place = at && parseFloat(at.style.left.slice(5));
  const image = document.querySelector('figure[data-name="camera0"] img');
  let number = null;
  if (image && image.complete && image.naturalWidth) {
    paint.drawImage(image, 0, 0, small.width, small.height);
    const data = paint.getImageData(0, 2, small.width, 1).data;
    number = 0;
    for (let k = 0; k < BITS; k++) number = 2 * number + (data[4 * (4 * k + 1)] > 127 ? 1 : 0);
  }
  window.seen.push([now, at ? Math.round(place * 10) : null, number]);
  const view = document.querySelector('figure[data-name="3d"] img');
  if (view && view.complete && view.naturalWidth && view.src !== source) {
    source = view.src;
    look.drawImage(view, 0, 0, 64, 48);
    const pixels = look.getImageData(0, 0, 64, 48).data;
    let off = 0;
    if (before) for (let k = 0; k < pixels.length; k++) off += Math.abs(pixels[k] - before[k]);
    before = pixels;
    window.views.push([now, off]);
  }
  requestAnimationFrame(each);
}
requestAnimationFrame(each);
""".replace("BITS", str(BITS))


def bench_rig(control_hz: float) -> Rig:
    camera = {"width": WIDTH, "height": HEIGHT, "fps": FPS, "device": "0"}
    return parse_rig(
        {
            "name": "bench",
            "control_hz": control_hz,
            "arms": {"arm": {"model": "so101"}},
            "cameras": {f"camera{k}": camera for k in range(CAMERAS)},
        },
        "bench",
    )


class Numbered:
    """Steps that carry their number."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._spec = rig.joint_spec("arm")
        self._home = np.array(load_model("so101").home_q_rad)
        rng = np.random.default_rng(0)
        self._scene = rng.integers(60, 200, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        self._frames: dict[str, Frame] = {}
        self._frame_due_ns = 0
        self.poses: dict[int, int] = {}  # number -> time
        self.pictures: dict[int, int] = {}

    def step(self, number: int, now: int, pan_rad: float | None = None) -> Step:
        """`pan_rad` in the place of the number, for the arm's view."""
        if now >= self._frame_due_ns:
            self._frame_due_ns = max(self._frame_due_ns + round(1e9 / FPS), now)
            self._frames = {name: self._frame(number, now) for name in self._rig.cameras}
            self.pictures[number] = now - EXPOSURE_NS
        q = self._home.copy()
        share = number / RANGE
        q[0] = self._spec.q_min[0] + share * (self._spec.q_max[0] - self._spec.q_min[0])
        if pan_rad is not None:
            q[0] = pan_rad
        self.poses[number] = now
        state = ArmState(now, q, 0 * q, 0 * q, 30.0 + 0 * q, 12.0 + 0 * q)
        obs = Observation(now, {"arm": state}, {}, dict(self._frames))
        chunk = ActionChunk(now, 33_000_000, {"arm": q[None]}, {}, now + 100_000_000, "person")
        return Step(obs, chunk, Applied(now, {"arm": q}, {"arm": q}, {}, {}, source="person"))

    def _frame(self, number: int, now: int) -> Frame:
        rgb = self._scene.copy()
        bits = [number >> (BITS - 1 - k) & 1 for k in range(BITS)]
        rgb[HEIGHT // 3 : 2 * HEIGHT // 3] = (
            np.repeat(bits, WIDTH // BITS).astype(np.uint8)[None, :, None] * 255
        )
        return Frame(now - EXPOSURE_NS, number, rgb)


def browser_offset_ns(tab: Any) -> tuple[int, int]:
    """The monotonic clock less the browser's `performance.now()`, and how far off that can be, ns."""
    found = []
    for _ in range(50):
        before = CLOCK.now()
        value = tab.run("performance.now()")
        after = CLOCK.now()
        found.append((after - before, (before + after) // 2 - round(value * 1e6)))
    return min(found)[1], min(found)[0] // 2


def ms(values: np.ndarray) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "max": round(float(values.max()), 1)}


def run(
    page: PageProcess, numbered: Numbered, hz: float, seconds: float, jumps: bool
) -> tuple[list[int], np.ndarray]:
    """Hand steps over on time; times of the pose's jumps, and what handing over took, ms."""
    period, handed, at = round(1e9 / hz), [], []
    due, told, pan = CLOCK.now(), 0, JUMP_RAD / 2
    end, jump = due + seconds * 1e9, due + JUMP_S * 1e9
    number = 0
    while due < end:
        now = CLOCK.now()
        if jumps and now >= jump:
            pan, jump = -pan, now + JUMP_S * 1e9
            at.append(now)
        step = numbered.step(number % RANGE, now, pan if jumps else None)
        before = time.perf_counter()
        page.on_step(step)
        if now - told > TELL_NS:
            told = now
            page.tell(
                {"state": "recording", "mode": "run", "device": "leader", "episode": "1", "rate_hz": hz}
            )
        handed.append(1e3 * (time.perf_counter() - before))
        number += 1
        due = max(due + period, now)
        CLOCK.sleep_until(due)
    return at, np.array(handed)


def measure(chromium: Any, hz: float, seconds: float, folder: Path) -> None:
    rig = bench_rig(hz)
    numbered = Numbered(rig)
    name = f"loop at {hz:g} Hz"
    with PageProcess(rig, make_link("127.0.0.1", 0), folder) as page:
        tab = chromium.tab(page.url, SCRIPT, width=1200, height=900)
        try:
            run(page, numbered, hz, 3.0, jumps=False)  # until everything is drawn
            offset, off = browser_offset_ns(tab)
            tab.run("window.seen = []; true")
            numbered.poses.clear()
            numbered.pictures.clear()
            began = CLOCK.now()
            _, handed = run(page, numbered, hz, seconds, jumps=False)
            seen = json.loads(tab.run("JSON.stringify(window.seen)"))
            pose, picture = [], []
            for now, number, shown in seen:
                t_ns = now * 1e6 + offset
                if t_ns < began + 5e8:
                    continue
                pose += ages(numbered.poses, number, t_ns)
                picture += ages(numbered.pictures, shown, t_ns)
            tab.run("window.views = []; true")
            jumped, _ = run(page, numbered, hz, max(6.0, seconds / 2), jumps=True)
            views = [
                (now * 1e6 + offset, change) for now, change in json.loads(tab.run("JSON.stringify(views)"))
            ]
        finally:
            tab.close()
    poses, period = np.array(pose), 1e3 / hz
    emit(
        f"{name}: age of the pose that is drawn, p50", float(np.median(poses)), "ms", **ms(poses),
        clock_off_ms=round(off * 1e-6, 2), drawn_a_s=round(len(seen) / (seconds), 1),
        over_the_period=round(float(np.median(poses)) / period, 2),
    )  # fmt: skip
    pictures = np.array(picture)
    emit(
        f"{name}: age of the camera's picture that is drawn, p50",
        float(np.median(pictures)),
        "ms",
        **ms(pictures),
    )
    strong = max((change for _, change in views), default=0) / 2
    late = [next((t - at for t, change in views if t > at and change > strong), None) for at in jumped[:-1]]
    found = np.array([t for t in late if t is not None]) * 1e-6
    if len(found):
        emit(
            f"{name}: from a jump of the pose to the arm's view, p50",
            float(np.median(found)),
            "ms",
            **ms(found),
        )
    emit(f"{name}: the loop's time to hand a step over, p50", float(np.median(handed)), "ms", **ms(handed))


def ages(times: dict[int, int], number: int | None, t_ns: float) -> list[float]:
    """Age, ms, of what carries `number`, [] where that is none of ours."""
    at = None if number is None else times.get(number)
    return [] if at is None or t_ns < at else [(t_ns - at) * 1e-6]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    driver = next((HERE.parent / "tests").rglob("chromium.py"), None)
    if driver is None:
        raise SystemExit("page: needs a checkout; the browser's driver is among the tests")
    sys.path.insert(0, str(driver.parent))
    from chromium import Chromium, found

    if found() is None:
        print("no Chromium here: the page is not measured (`make setup` installs it)", file=sys.stderr)
        return
    chromium = Chromium()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for hz in (60.0,) if quick else (30.0, 60.0, 100.0, 200.0):
                measure(chromium, hz, 10.0 if quick else 15.0, Path(folder))
    finally:
        chromium.close()
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    main()
