"""How long the guard's process takes to react when something breaks. One JSON line a figure.

Run: python benchmarks/guard_faults.py [--quick]

On the emulated SO-101, the arm moving; the reaction's time is that of the guard's tick that reports it. Targets: the
design's (an agent that is killed or hangs: hold within 105 ms; NaN: within a tick; an e-stop: two ticks; a new guard
in half a second), or what the rig asks for (`stale_state_ms`, `stale_camera_ms`) and two ticks, or a picture.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _cameras import pattern_camera
from _cell import CLOCK, MS, Session, Sway, Watch, bench_rig
from _figures import emit
from twinloop.robot.errors import DeviceError, GuardFault
from twinloop.robot.rig import Rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.emulate.process import EmulatorProcess

TICK_MS = 5.0
PICTURE_MS = 1e3 / 30.0
FROZEN_MS = 500.0  # the same to the last bit for so long, and a capture process hands it on no more
REST_RAD_S = 0.05
CAMERA = {"width": 640, "height": 480, "fps": 30}


@dataclass(slots=True)
class Faults:
    """Breaks one thing after the other; keeps what each took, ms."""

    rig: Rig
    emulator: EmulatorProcess
    found: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, ms: float) -> None:
        self.found.setdefault(name, []).append(ms)

    def agent(self, session: Session) -> None:
        """An agent that hangs, one that sends NaN, an e-stop."""
        agent = Sway()
        session.run(0.5, agent)
        held = session.until("hold")
        self.note("hung agent: last chunk to hold", (held.t_ns - agent.last_ns) * 1e-6)
        while max(abs(state.dq).max() for state in session.guard.arm_states.values()) > REST_RAD_S:
            CLOCK.sleep_until(CLOCK.now() + MS)
        self.note("hung agent: last chunk to the arm at rest", (CLOCK.now() - agent.last_ns) * 1e-6)
        session.run(0.5, agent)
        session.statuses()
        sent = CLOCK.now()
        bad = ActionChunk(sent, 20 * MS, {"arm": np.full((1, 5), np.nan)}, {}, sent + 100 * MS)
        if session.guard.submit(bad):
            raise RuntimeError("a chunk of NaN was accepted")
        told = session.first(lambda status: "rejected_nonfinite" in status.limits)
        self.note("NaN: chunk to the tick that rejects it", (told.t_ns - sent) * 1e-6)
        session.run(0.5, agent)
        pressed = CLOCK.now()
        session.guard.estop("benchmark")
        self.note("e-stop: press to the tick that brakes", (session.until("estop").t_ns - pressed) * 1e-6)
        session.settle()

    def arm(self, session: Session) -> None:
        """A servo that falls silent, a plug that is pulled."""
        moving = session.run(0.5)[0][-1].mode
        assert moving == "run"
        broken = CLOCK.now()
        self.emulator.faults("arm", dead={3})
        self.note("silent servo: to hold", self._held(session, broken))
        self.emulator.faults("arm", dead=set())
        session.recover()
        session.run(0.5)
        broken = CLOCK.now()
        self.emulator.unplug("arm")
        self.note("unplugged arm: to hold", self._held(session, broken))
        self.emulator.plug("arm")
        session.recover()

    def camera(self, session: Session, fault: Path) -> None:
        """A camera that shows the same for ever, and one that is gone."""
        for kind in ("frozen", "gone"):
            session.run(1.0)
            fault.write_text(kind)
            broken = CLOCK.now()
            self.note(f"{kind} camera: to hold", self._held(session, broken))
            fault.write_text("")
            CLOCK.sleep_until(CLOCK.now() + 1500 * MS)
            session.recover()

    def guard(self, session: Session) -> None:
        """A guard that is killed."""
        session.run(0.5)
        killed = CLOCK.now()
        os.kill(session.pid, signal.SIGKILL)
        anew = session.first(lambda status: status.epoch > 0)
        self.note("killed guard: until the next one holds the arm", (anew.t_ns - killed) * 1e-6)
        session.settle()

    def killed(self) -> None:
        """An agent's process that is killed."""
        command = [sys.executable, str(Path(__file__).with_name("_cell.py")), self.emulator.paths["arm"]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
            assert agent.stdout is not None
            watch = Watch(self.rig, Path(agent.stdout.readline().strip()))
            agent.stdout.readline()  # it moves
            watch.statuses()
            killed = CLOCK.now()
            agent.kill()
            held = watch.first(lambda status: status.mode == "hold")
            self.note("killed agent: to hold", (held.t_ns - killed) * 1e-6)
            watch.first(lambda status: not status.is_open, within_s=40.0)  # parked and released
            watch.close()

    def _held(self, session: Session, broken_ns: int) -> float:
        """From `broken_ns` until the guard no longer runs, ms, while the agent goes on."""
        seen: list[int] = []
        agent, due = Sway(), CLOCK.now() + 5_000 * MS
        while not seen and CLOCK.now() < due:
            obs = session.robot.observe()
            try:
                session.robot.apply(agent.act(obs))
            except (GuardFault, DeviceError):
                pass
            CLOCK.sleep_until(CLOCK.now() + 20 * MS)
            seen = [s.t_ns for s in session.statuses() if s.mode != "run" and s.t_ns > broken_ns]
        if not seen:
            raise RuntimeError("the guard ran on")
        return (seen[0] - broken_ns) * 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    times = 2 if parser.parse_args().quick else 10
    rig, seeing = bench_rig(), bench_rig(cameras={"front": CAMERA})
    with EmulatorProcess(rig) as emulator, tempfile.TemporaryDirectory() as folder:
        faults, switch = Faults(rig, emulator), Path(folder) / "fault"
        with Session(rig, emulator.paths) as session:
            real_time = session.real_time
            attempts: list[Callable[[], None]] = [
                lambda: faults.agent(session),
                lambda: faults.arm(session),
            ]
            session.run(2.0)
            for attempt in attempts * times:
                attempt()
            faults.guard(session)
        for _ in range(max(1, times // 5)):
            faults.killed()
        camera = pattern_camera("front", seeing, CLOCK, switch)
        with Session(seeing, emulator.paths, front=camera) as session:
            session.run(2.0)
            for _ in range(max(1, times // 3)):
                faults.camera(session, switch)
    stale, unseen = rig.guard.stale_state_ms + 2 * TICK_MS, rig.guard.stale_camera_ms + PICTURE_MS
    spec = rig.joint_spec("arm")
    ramp = 1e3 * float(np.max(spec.dq_max / spec.ddq_max + spec.ddq_max / spec.dddq_max))  # v/a + a/j
    targets = {
        "hung agent: last chunk to hold": 105.0,
        "hung agent: last chunk to the arm at rest": 105.0 + ramp,
        "killed agent: to hold": 105.0,
        "NaN: chunk to the tick that rejects it": TICK_MS,
        "e-stop: press to the tick that brakes": 2 * TICK_MS,
        "silent servo: to hold": stale,
        "unplugged arm: to hold": stale,
        "gone camera: to hold": unseen + 2 * TICK_MS,
        "frozen camera: to hold": unseen + FROZEN_MS + PICTURE_MS,
        "killed guard: until the next one holds the arm": 500.0,
    }
    for name, values in faults.found.items():
        emit(
            f"{name}, worst",
            max(values),
            "ms",
            at_most=targets[name],
            median=round(float(np.median(values)), 2),
            times=len(values),
            real_time=real_time,
        )
    emit("load average while measuring", os.getloadavg()[0], "programs")


if __name__ == "__main__":
    main()
