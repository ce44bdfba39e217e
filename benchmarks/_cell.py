"""An emulated arm behind the guard's process, and everything that the guard told meanwhile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from twinloop.robot.clock import RealClock
from twinloop.robot.loop import ControlLoop, LoopReport
from twinloop.robot.models import load_model
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.plan import HELLO, STATUS_RING
from twinloop.robot.process.ring import RingReader
from twinloop.robot.process.status import Status, StatusCodec
from twinloop.robot.rig import Rig
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


class Session:
    """`guard`, open, and its statuses; the agent's loop runs in this process, as a policy's does."""

    def __init__(self, rig: Rig, paths: Mapping[str, str], **cameras: Any) -> None:
        self.rig = rig
        self.guard = GuardProcess(rig, paths)
        self.robot = GuardedRobot(rig, CLOCK, self.guard, cameras, tick=False)
        self._codec = StatusCodec(rig)
        self._ring: RingReader | None = None

    def __enter__(self) -> Session:
        self.robot.open()
        assert self.guard._folder is not None
        self._ring = RingReader(self.guard._folder / STATUS_RING)
        self._ring.open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._ring is not None:
            self._ring.close()
        self.guard.close(unparked=True)
        self.robot.close()

    @property
    def pid(self) -> int:
        """The guard's process."""
        assert self.guard._folder is not None
        return json.loads((self.guard._folder / HELLO).read_text())["pid"]

    @property
    def real_time(self) -> bool:
        """Whether the guard got a real-time priority."""
        return any(p.name == "real_time" and p.active for p in self.guard.protections())

    def statuses(self) -> list[Status]:
        """What the guard told since the last call."""
        assert self._ring is not None
        return [self._codec.unpack(message.data) for message in self._ring.poll(100_000)]

    def run(self, seconds: float, agent: Sway | None = None) -> tuple[list[Status], LoopReport]:
        """The agent's loop at `CONTROL_HZ`; the guard's statuses meanwhile, every one."""
        assert self._ring is not None
        ring, kept = self._ring, []
        list(ring.poll(100_000))
        lost = ring.lost  # while nobody looked

        def collect(obs: Observation, applied: Applied) -> bool:
            kept.extend(ring.poll(1000))
            return False

        loop = ControlLoop(self.robot, agent or Sway(), round(1e9 / CONTROL_HZ))
        report = loop.run(round(seconds * 1e9), stop=collect)
        if ring.lost != lost:
            raise RuntimeError(f"{ring.lost - lost} bytes of the guard's words were missed")
        return [self._codec.unpack(message.data) for message in kept], report

    def until(self, mode: str, within_s: float = 10.0) -> Status:
        """The first status in `mode` from now on."""
        due = CLOCK.now() + within_s * 1e9
        while CLOCK.now() < due:
            for status in self.statuses():
                if status.mode == mode:
                    return status
            CLOCK.sleep_until(CLOCK.now() + MS // 2)
        raise RuntimeError(f"the guard does not come to '{mode}': {self.guard.mode} ({self.guard.reason})")

    def settle(self) -> None:
        """Wait until the arm stands; leave a latched stop or fault."""
        while max(abs(s.dq).max() for s in self.guard.arm_states.values()) > STANDING_RAD_S:
            CLOCK.sleep_until(CLOCK.now() + 10 * MS)
        if self.guard.mode in ("estop", "fault"):
            self.guard.rearm()
