"""What a frame costs that is recorded while an arm is led. One JSON line a figure.

Run: python benchmarks/recorder.py [--quick]

Three 480x640 cameras and a row of state at 30 Hz, in real time; each side in a process of its own, in turns, the same
pictures (benchmarks/peers/scene.py: texture, moving things, sensor noise). Ours is the recorder as a session has it
(`RecorderProcess`: the loop hands a step over, another process codes and writes). Peer: LeRobot 0.6.1's own
`add_frame` and `save_episode` in its own environment (benchmarks/peers/lerobot_env.sh), with streaming encoding (h264,
veryfast, as ours) and, without --quick, its default (PNG, then AV1 at the episode's end).
"In the loop" is how long the loop waits a step. CPU is of all processes and threads of a side, from the first row to
the saved episode, over the pictures; it hardly depends on what else runs, which wall times do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _figures import emit

HERE = Path(__file__).parent
PEER = Path(os.environ.get("TWINLOOP_LEROBOT_PYTHON", HERE / "peers/.venv-lerobot/bin/python"))
sys.path.insert(0, str(HERE / "peers"))
import scene  # noqa: E402

PEER_NAME = "LeRobot 0.6.1"
CAMERAS = 3


def record(root: str, frames: int) -> dict[str, Any]:
    """Our side: a loop that does nothing but hand steps to the recorder's process."""
    from twinloop.data.recorder import recorder_spec
    from twinloop.data.recorder_process import RecorderProcess
    from twinloop.robot.rig import load_rig
    from twinloop.robot.types import ActionChunk, Applied, ArmState, Frame, Observation, Step

    spec = load_rig("so101").joint_spec("arm")
    names = scene.names(CAMERAS)
    pool = {name: scene.pictures(seed, scene.FPS) for seed, name in enumerate(names)}
    sizes = dict.fromkeys(names, (scene.HEIGHT, scene.WIDTH))
    recorder = RecorderProcess(
        Path(root),
        recorder_spec(
            fps=scene.FPS, robot_type="bench", arms={"arm": spec}, grippers=(), cameras=sizes, extra={}
        ),
        camera_fps=dict.fromkeys(names, float(scene.FPS)),
    )
    handed: list[float] = []
    with recorder:
        own, other = time.process_time(), _cpu_s(recorder.pid)
        recorder.start("bench")
        begin = time.monotonic_ns()
        for k in range(frames):
            now = time.monotonic_ns()
            q = scene.state(k)[: spec.n].astype(np.float64)
            pictures = {name: Frame(now - 10_000_000, k, pool[name][k % scene.FPS]) for name in names}
            state = ArmState(now, q, 0 * q, 0 * q, 30.0 + 0 * q, 12.0 + 0 * q)
            step = Step(
                Observation(now, {"arm": state}, {}, pictures),
                ActionChunk(now, 33_000_000, {"arm": q[None]}, {}, now + 100_000_000, "person"),
                Applied(now, {"arm": q}, {"arm": q}, {}, {}, source="person"),
            )
            before = time.perf_counter()
            recorder.on_step(step)
            handed.append(1e3 * (time.perf_counter() - before))
            time.sleep(max(0.0, (begin + (k + 1) * 1e9 / scene.FPS - time.monotonic_ns()) * 1e-9))
        ended = time.perf_counter()
        recorder.end(True)
        told = 1e3 * (time.perf_counter() - ended)
        kept = recorder.finish()
        saved = time.perf_counter() - ended
        cpu = time.process_time() - own, _cpu_s(recorder.pid) - other
    return {
        "adds_ms": handed, "cpu_s": sum(cpu), "loop_cpu_s": cpu[0], "save_s": saved, "end_ms": told,
        "rows": kept.rows, "trouble": kept.trouble, "thinned": recorder.thinned,
    }  # fmt: skip


def _cpu_s(pid: int | None) -> float:
    """CPU seconds of a process and the children it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def child(*command: str) -> dict[str, Any]:
    """Run one side in its own process; its last line is its result."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    frames = 240 if quick else 900
    modes = (["streaming"] if quick else ["streaming", "default"]) if PEER.exists() else []
    if not PEER.exists():
        print(f"no {PEER}: LeRobot's recorder is not measured", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        ours = child(sys.executable, __file__, "record", f"{folder}/ours", str(frames))
        pictures = frames * CAMERAS
        adds, cpu_ms = np.array(ours["adds_ms"]), 1e3 * ours["cpu_s"] / pictures
        emit(
            "recorder: CPU a picture", cpu_ms, "ms", loop_ms=round(1e3 * ours["loop_cpu_s"] / pictures, 3),
            rows=ours["rows"], without_pictures=ours["thinned"], trouble=ours["trouble"],
        )  # fmt: skip
        p50, p99 = np.percentile(adds, [50, 99])
        emit(
            "recorder: in the loop a step, p50",
            float(p50),
            "ms",
            p99=round(float(p99), 3),
            max=round(adds.max(), 2),
        )
        emit(
            "recorder: from the last row to the saved episode",
            ours["save_s"],
            "s",
            loop_waits_ms=ours["end_ms"],
        )
        for mode in modes:
            theirs = child(
                str(PEER), str(HERE / "peers/lerobot_data.py"), "record", f"{folder}/{mode}", mode, str(frames),
                str(CAMERAS),
            )  # fmt: skip
            name = f"{PEER_NAME} ({mode})"
            their_adds, their_ms = np.array(theirs["adds_ms"]), 1e3 * theirs["cpu_s"] / pictures
            emit(f"{name}: CPU a picture, over ours", their_ms / cpu_ms, "ratio", ms=round(their_ms, 3))
            for share in (50, 99):
                its, own = np.percentile(their_adds, share), np.percentile(adds, share)
                emit(
                    f"{name}: in the loop a step, over ours, p{share}",
                    its / own,
                    "ratio",
                    ms=round(float(its), 3),
                )
            waits = theirs["save_s"]  # its loop saves by itself
            emit(
                f"{name}: saving the episode, in the loop",
                waits,
                "s",
                ratio=round(waits / (1e-3 * ours["end_ms"]), 1),
            )
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    if sys.argv[1:2] == ["record"]:
        print(json.dumps(record(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
