"""A session of `twinloop record --device leader`, as a user has it, with times noted at the parts' edges.

Session, agent, both guards, capture processes and the recorder's process are those of the program. Emulated are only
the devices: both arms on their wire protocol (`_tap`), and cameras that cost next to nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _cameras import Pattern
from _cell import Watch, bench_rig
from _device import as_hardware
from _tap import Motion, Seen, TappedArm, pose_of
from twinloop.launch.live import LiveCell, acting
from twinloop.launch.live_recording import live_spec
from twinloop.launch.teleop.cell import RigCell
from twinloop.launch.teleop.desk import Desk
from twinloop.launch.teleop.plan import Plan
from twinloop.launch.teleop.session import Session
from twinloop.launch.teleop.takes import RigTakes
from twinloop.launch.teleop.tally import Tally
from twinloop.robot.cameras.process import CameraProcess
from twinloop.robot.clock import RealClock
from twinloop.robot.interfaces import Clock
from twinloop.robot.process import GuardProcess
from twinloop.robot.process.status import Status
from twinloop.robot.rig import CameraConfig, Rig, load_rig
from twinloop.robot.robot import GuardedRobot
from twinloop.robot.types import ActionChunk, Applied
from twinloop.sim.tasks import load_task
from twinloop.teleop.hand import Hand
from twinloop.teleop.jog import Jog
from twinloop.teleop.leader import Leader

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))
import scene  # noqa: E402

CLOCK = RealClock()
CAMERAS = {f"camera{k}": {"width": 640, "height": 480, "fps": 30, "device": "0"} for k in range(3)}
NEAR_RAD = 0.1
LEAD_S = 3.0  # from the start key to the hand's motion: the countdown, and letting go of the leader
COUNTDOWN_S = 2.0


class Scenes(Pattern):
    """Pictures as hard to code as a real camera's, on time; made before the first is asked for."""

    def open(self) -> None:
        super().open()
        self._pool = np.stack(scene.pictures(0, 16))
        self._due_ns = self._clock.now()

    def next(self) -> Any:
        frame = super().next()
        assert self._pool is not None
        return replace(frame, rgb=self._pool[self._seq % len(self._pool)])


def connect(name: str, config: CameraConfig, clock: Clock, options: Mapping[str, Any]) -> Scenes:
    """A source for a capture process."""
    return Scenes(config, clock, options)


@dataclass(frozen=True, slots=True)
class Look:
    """One step of the loop."""

    number: int  # of its chunk
    read_ns: int  # the time of the leader's reading that it used
    due_ns: int  # of the chunk's first row
    submitted_ns: int


@dataclass(frozen=True, slots=True)
class Led:
    """What one session did."""

    looks: list[Look]
    statuses: list[Status]  # of the follower's guard
    leader: Seen
    follower: Seen
    motion: Motion
    steps_ns: list[int]
    rows: int
    trouble: str
    info: dict[str, Any]


class TimedRobot(GuardedRobot):
    """Numbers the chunks, so that the guard's own words say which one it follows."""

    read_ns = 0  # set by the leader's look

    def start(self, watch: Watch) -> None:
        self.watch = watch
        self.looks: list[Look] = []
        self.told: list[bytes] = []
        list(watch._ring.poll(100_000))

    def apply(self, chunk: ActionChunk) -> Applied:
        if not hasattr(self, "watch") or chunk.source != "person":
            return super().apply(chunk)
        number = len(self.looks)
        applied = super().apply(replace(chunk, source=f"person {number}"))
        self.looks.append(Look(number, self.read_ns, chunk.t0_ns, CLOCK.now()))
        self.told.extend(message.data for message in self.watch._ring.poll(1000))
        return applied


class LedLeader(Leader):
    """Its person starts the episode once the session is ready and the arm at home, and ends it when the motion is
    over."""

    ready: Callable[[], bool]

    def follow(self, robot: TimedRobot, tapped: TappedArm, pose: Mapping[str, float], motion: Motion) -> None:
        self._robot, self._tapped, self._pose, self._wanted = robot, tapped, pose, motion
        self.motion: Motion | None = None
        self._due_ns = CLOCK.now() + 8_000_000_000
        self._ended = False

    def read(self, now_ns: int) -> Jog:
        jog = super().read(now_ns)
        state = self._guard.arm_states[self._arm]
        fresh = jog.q_rad is not None and np.array_equal(
            state.q, jog.q_rad
        )  # else it was told anew meanwhile
        self._robot.read_ns = state.t_ns if fresh else 0
        now = CLOCK.now()
        if self.motion is None and not self.ready():
            return jog
        if self.motion is None:
            home = np.array([self._pose[joint] for joint in self._rig.joint_spec(self._arm).names])
            if np.abs(state.q - home).max() < NEAR_RAD or now > self._due_ns:
                self.motion = replace(self._wanted, begin_ns=now + round(LEAD_S * 1e9))
                self._tapped.move(self.motion)
                return replace(jog, keys=("start",))
            return jog
        over = (now - self.motion.begin_ns) * 1e-9 > self.motion.sway_s + self.motion.steps_s
        if over and not self._ended:
            self._ended = True
            return replace(jog, keys=("success",))
        return jog


class BenchCell(RigCell):
    """As on emulated devices: nobody puts things back. The loop's rate may change between two sessions."""

    def __init__(self, rig: Rig, robot: TimedRobot, guard: GuardProcess, stack: ExitStack) -> None:
        super().__init__(rig, None, load_task("pick_place"), tuple(rig.cameras), None)
        self.backend, self.places = "emulated", True
        self._cell = LiveCell(rig, robot, guard, None, stack)

    def at(self, control_hz: float) -> Rig:
        self.cell.rig = replace(self.cell.rig, control_hz=control_hz)
        return self.cell.rig


class Workplace:
    """Leader and follower, emulated and guarded, with cameras; `run` holds one session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.leader_rig, self.rig = load_rig("so101_leader"), bench_rig(cameras=CAMERAS, control_hz=60)
        self.leader, self.follower = TappedArm(self.leader_rig), TappedArm(self.rig)
        self._stack = ExitStack()
        self.undelayed = False  # the emulated arms, by other programs

    def __enter__(self) -> Workplace:
        for arm in (self.leader, self.follower):
            arm.start()
        for arm in (self.leader, self.follower):
            self._stack.enter_context(arm)
            self.undelayed = as_hardware(arm._process)
        return self

    def open(self) -> None:
        """Start the guards and the cameras, which `close` ends; the arms stay."""
        stack = self._guards = ExitStack()
        paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        cameras = {
            name: CameraProcess(name, self.rig, CLOCK, source="_lead:connect") for name in self.rig.cameras
        }
        guard = GuardProcess(self.rig, {"arm": self.follower.path}, CLOCK)
        robot = TimedRobot(self.rig, CLOCK, guard, cameras, tick=False)
        leader_guard = GuardProcess(self.leader_rig, {"leader": self.leader.path}, CLOCK)
        self._device = LedLeader(self.leader_rig, leader_guard, CLOCK)
        with ThreadPoolExecutor() as together:  # each takes seconds to come up
            stack.callback(self._device.close)
            leading = together.submit(self._device.open)
            list(together.map(CameraProcess.open, cameras.values()))
            robot.open()
            stack.callback(robot.close)
            leading.result()
        assert guard._folder is not None
        watch = Watch(self.rig, guard._folder)
        stack.callback(watch.close)
        self._parts = robot, watch, BenchCell(self.rig, robot, guard, stack)
        acting(self._parts[2].cell)
        self.real_time = any(p.name == "real_time" and p.active for p in guard.protections())

    def close(self) -> None:
        self.leader.move(None)
        self._guards.close()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, control_hz: float, sway_s: float, steps_s: float) -> Led:
        """One recorded episode, with three pictures a row."""
        robot, watch, cell = self._parts
        rig = cell.at(control_hz)
        root = self._folder / f"at{control_hz:g}"
        spec = live_spec(rig, load_task("pick_place"), tuple(rig.cameras), "emulated")
        takes = RigTakes(root, spec, {name: c.fps for name, c in rig.cameras.items()})
        takes.open()
        try:
            self._device.follow(
                robot, self.leader, pose_of("so101"), Motion(pose_of("so101"), 0, sway_s, steps_s)
            )
            robot.start(watch)
            self.leader.seen(), self.follower.seen()
            plan = Plan(
                "bench",
                episodes=1,
                cameras=tuple(rig.cameras),
                info={"backend": "emulated"},
                countdown_s=COUNTDOWN_S,
            )
            words = io.StringIO()
            with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
                session = Session(plan, cell, Desk(Hand(self._device, CLOCK), CLOCK), takes, Tally())
                self._device.ready = lambda: session.state == "idle"
                session.run()
        finally:
            takes.close()
        motion = self._device.motion
        if motion is None or not session.saved:
            raise RuntimeError(f"no episode at {control_hz:g} Hz: {words.getvalue()[-800:]}")
        from twinloop.data import Dataset

        episode = Dataset(root).open().episode(0)
        codec = watch._codec
        return Led(
            robot.looks, [codec.unpack(data) for data in robot.told], self.leader.seen(), self.follower.seen(), motion,
            motion.steps_ns().tolist(), len(episode.columns["action"]), words.getvalue(), dict(episode.info),
        )  # fmt: skip
