"""An emulated arm behind the guard's process, and everything that the guard told meanwhile."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError, GuardFault
from twinloop.robot.interfaces import Camera
from twinloop.robot.loop import ControlLoop, LoopReport
from twinloop.robot.models import load_model
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.plan import HELLO, STATUS_RING
from twinloop.robot.process.ring import RingReader
from twinloop.robot.process.status import Status, StatusCodec
from twinloop.robot.rig import Rig, parse_rig
from twinloop.robot.robot import GuardedRobot
from twinloop.robot.types import ActionChunk, Applied, Observation

MS = 1_000_000
CLOCK = RealClock()
CONTROL_HZ = 50.0
STANDING_RAD_S = 0.05


class Sway:
    """Asks the first joint to and fro about the home pose, 100 ms ahead. Implements `Agent`."""

    def __init__(self, model: str = "so101") -> None:
        self.last_ns = 0  # of the last chunk
        self._home = np.array(load_model(model).home_q_rad)

    def reset(self, seed: int) -> None:
        pass

    def act(self, obs: Observation) -> ActionChunk:
        now = self.last_ns = CLOCK.now()
        q = np.tile(self._home, (5, 1))
        q[:, 0] += 0.2 * np.sin(2.0 * (now * 1e-9 + 0.02 * np.arange(5)))
        return ActionChunk(now, 20 * MS, {"arm": q}, {}, now + 100 * MS)


def bench_rig(**more: object) -> Rig:
    """An SO-101 on a table, and `more` of a rig file."""
    return parse_rig(
        {
            "name": "bench",
            "arms": {"arm": {"model": "so101"}},
            "grippers": {"gripper": {"arm": "arm"}},
            "table": {"height_m": 0.0, "clearance_m": -0.015},
            **more,
        },
        "bench",
    )


class Watch:
    """Reads every status of the guard whose session's files lie in `folder`."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self._codec = StatusCodec(rig)
        self._ring = RingReader(folder / STATUS_RING)
        self._ring.open()

    def close(self) -> None:
        self._ring.close()

    def statuses(self) -> list[Status]:
        """What the guard told since the last call."""
        return [self._codec.unpack(message.data) for message in self._ring.poll(100_000)]

    def first(self, fits: Callable[[Status], bool], within_s: float = 10.0) -> Status:
        """The first status from the last call on that `fits`."""
        due = CLOCK.now() + within_s * 1e9
        while CLOCK.now() < due:
            for status in self.statuses():
                if fits(status):
                    return status
            CLOCK.sleep_until(CLOCK.now() + MS // 2)
        raise RuntimeError("the guard does not do what is waited for")


class Session:
    """A guard, open, and its statuses; the agent's loop runs in this process, as a policy's does."""

    def __init__(self, rig: Rig, paths: Mapping[str, str], **cameras: Camera) -> None:
        self.rig = rig
        self.guard = GuardProcess(rig, paths)
        self.robot = GuardedRobot(rig, CLOCK, self.guard, cameras, tick=False)
        self._watch: Watch | None = None

    def __enter__(self) -> Session:
        self.robot.open()
        self._watch = Watch(self.rig, self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.close()
        self.guard.close(unparked=True)
        self.robot.close()

    @property
    def folder(self) -> Path:
        """Where the session's files lie."""
        assert self.guard._folder is not None
        return self.guard._folder

    @property
    def pid(self) -> int:
        """The guard's process."""
        return json.loads((self.folder / HELLO).read_text())["pid"]

    @property
    def real_time(self) -> bool:
        """Whether the guard got a real-time priority."""
        return any(p.name == "real_time" and p.active for p in self.guard.protections())

    def statuses(self) -> list[Status]:
        """What the guard told since the last call."""
        assert self._watch is not None
        return self._watch.statuses()

    def first(self, fits: Callable[[Status], bool]) -> Status:
        """The first status from the last call on that `fits`."""
        assert self._watch is not None
        return self._watch.first(fits)

    def until(self, mode: str) -> Status:
        """The first status in `mode` from the last call on."""
        return self.first(lambda status: status.mode == mode)

    def run(self, seconds: float, agent: Sway | None = None) -> tuple[list[Status], LoopReport]:
        """The agent's loop at `CONTROL_HZ`; the guard's statuses meanwhile, every one."""
        assert self._watch is not None
        ring, kept = self._watch._ring, []
        list(ring.poll(100_000))
        lost = ring.lost  # while nobody looked

        def collect(obs: Observation, applied: Applied) -> bool:
            kept.extend(ring.poll(1000))
            return False

        loop = ControlLoop(self.robot, agent or Sway(), round(1e9 / CONTROL_HZ))
        report = loop.run(round(seconds * 1e9), stop=collect)
        if ring.lost != lost:
            raise RuntimeError(f"{ring.lost - lost} bytes of the guard's words were missed")
        return [self._watch._codec.unpack(message.data) for message in kept], report

    def settle(self) -> None:
        """Wait until the arm stands; leave a latched stop or fault."""
        while max(abs(s.dq).max() for s in self.guard.arm_states.values()) > STANDING_RAD_S:
            CLOCK.sleep_until(CLOCK.now() + 10 * MS)
        if self.guard.mode in ("estop", "fault"):
            self.guard.rearm()

    def recover(self, within_s: float = 10.0) -> None:
        """Once what was broken is whole again: wait until the arm can be driven as before."""
        due = CLOCK.now() + within_s * 1e9
        while CLOCK.now() < due:
            try:
                self.settle()
                if self.run(0.3)[0][-1].mode == "run":
                    return
            except (GuardFault, DeviceError, IndexError):
                CLOCK.sleep_until(CLOCK.now() + 100 * MS)
        raise RuntimeError(f"the guard stays in '{self.guard.mode}': {self.guard.reason}")


def main() -> None:
    """An agent to be killed: `python _cell.py PORT`; says its session's folder, then "moving"."""
    with Session(bench_rig(), {"arm": sys.argv[1]}) as session:
        print(session.folder, flush=True)
        session.run(2.0)
        print("moving", flush=True)
        session.run(60.0)


if __name__ == "__main__":
    main()
