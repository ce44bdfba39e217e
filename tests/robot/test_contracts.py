"""The contract suites on everything in this project that implements an interface."""

import sys
from pathlib import Path

import numpy as np
import pytest
from twinloop.data import DatasetWriter
from twinloop.data.recorder import Recorder, recorder_spec
from twinloop.launch.recording import Recording
from twinloop.launch.replay import ReplayAgent
from twinloop.robot.clock import RealClock
from twinloop.robot.guard import Guard
from twinloop.robot.rig import load_rig
from twinloop.robot.robot import GuardedRobot, TickingClock
from twinloop.robot.testing import (
    AgentContract,
    ArmContract,
    CameraContract,
    ClockContract,
    GripperContract,
    ObserverContract,
    RobotContract,
)
from twinloop.robot.types import Step
from twinloop.sim.camera import TwinCamera
from twinloop.sim.noise import NoisyAgent
from twinloop.sim.render import Renderer
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin, TwinRobot
from twinloop.sim.world import open_world

sys.path.insert(0, str(Path(__file__).with_name("guard")))
from guard_fakes import BareClock, FakeArm, FakeCamera, FakeGripper

HOME = np.array([0.0, -0.75, 0.75, 1.25, -1.57])
RIGS = {
    "so101": ("arm", "gripper"),
    "so101_bimanual": ("right", "right_gripper"),
    "koch": ("arm", "gripper"),
    "so100": ("arm", "gripper"),
    "viperx": ("arm", "gripper"),
}


def twin_of(rig: str, seed: int | None = None) -> Twin:
    """The twin of `rig`, arms at a pose clear of each other and of the table; `seed` randomises it."""
    if seed is None:
        twin = Twin(build_scene(load_rig(rig)))
        for arm, description in twin.scene.descriptions.items():
            home = HOME if description.name == "so101" else description.home_q_rad
            twin.set_arm(arm, home, 0.03)
        return twin
    world = open_world(load_rig(rig), "reach", cameras=())
    twin = world.start(seed)[0].twin
    return twin


class TestSimClock(ClockContract):
    def make(self):
        return twin_of("so101").clock


class TestRealClock(ClockContract):
    def make(self):
        return RealClock()


class TestTickingClock(ClockContract):
    def make(self):
        return TickingClock(RealClock(), 5_000_000, lambda: None)


@pytest.mark.parametrize("rig", RIGS)
class TestTwinArm(ArmContract):
    @pytest.fixture(autouse=True)
    def _rig(self, rig):
        self.rig = rig

    def make(self):
        twin = twin_of(self.rig)
        return twin.arms[RIGS[self.rig][0]], twin.clock


class TestRandomisedTwinArm(ArmContract):
    reach_rad = 0.2  # a weak, miscalibrated servo: bias of up to 3 degrees, more sag

    def make(self):
        twin = twin_of("so101", seed=4)
        return twin.arms["arm"], twin.clock


@pytest.mark.parametrize("rig", RIGS)
class TestTwinGripper(GripperContract):
    @pytest.fixture(autouse=True)
    def _rig(self, rig):
        self.rig = rig

    def make(self):
        twin = twin_of(self.rig)
        for arm in twin.arms.values():
            arm.open()
        return twin.grippers[RIGS[self.rig][1]], twin.clock


class TestFakeArm(ArmContract):
    """What the guard's tests stand on must be an arm too."""

    def make(self):
        clock = BareClock()
        return FakeArm(load_rig("so101"), clock), clock


class TestFakeGripper(GripperContract):
    def make(self):
        clock = BareClock()
        return FakeGripper(load_rig("so101"), clock), clock


@pytest.mark.parametrize("profile", ["fast", "faithful"])
@pytest.mark.parametrize("depth", [False, True], ids=["rgb", "depth"])
class TestTwinCamera(CameraContract):
    @pytest.fixture(autouse=True)
    def _renderer(self, profile, depth):
        self.depth = depth
        self.twin = twin_of("so101")
        self.renderer = Renderer(self.twin.model, profile=profile)
        self.renderer.open()
        yield
        self.renderer.close()

    def make(self):
        camera = TwinCamera("wrist", self.twin, self.renderer, size=(80, 60), depth=self.depth)
        return camera, self.twin.clock


@pytest.mark.parametrize("rig", RIGS)
class TestTwinRobot(RobotContract):
    @pytest.fixture(autouse=True)
    def _rig(self, rig):
        self.rig = rig

    def make(self):
        robot = TwinRobot(twin_of(self.rig))
        robot.open()
        return robot, {arm: robot.rig.joint_spec(arm) for arm in robot.rig.arms}


class TestRobotOnAClockWithoutEvents(RobotContract):
    """The guard ticks while `robot.clock` sleeps, as on hardware without a guard process."""

    def make(self):
        rig, clock = load_rig("so101"), BareClock()
        arms, grippers = {"arm": FakeArm(rig, clock)}, {"gripper": FakeGripper(rig, clock)}
        robot = GuardedRobot(rig, clock, Guard(rig, arms, grippers, clock), {"front": FakeCamera(clock)})
        robot.open()
        return robot, {"arm": rig.joint_spec("arm")}


def walk(steps: int = 12, *, cameras: bool = False):
    """An expert's first steps."""
    world = open_world(load_rig("so101"), "lift", cameras=("wrist",) if cameras else (), size=(64, 48))
    robot, _ = world.start(2)
    agent = world.task.expert(robot.twin)
    agent.reset(2)
    robot.open()
    seen = []
    for k in range(steps):
        obs = robot.observe()
        chunk = agent.act(obs)
        robot.apply(chunk)
        robot.clock.sleep_until((k + 1) * 33_333_333)
        seen.append(Step(obs, chunk, robot.guard.collect()))
    robot.release()
    return world, seen


@pytest.mark.parametrize("task", ["lift", "pick_place", "push", "reach", "stack"])
@pytest.mark.parametrize("noise", [0.0, 0.03], ids=["expert", "noisy"])
class TestExpert(AgentContract):
    @pytest.fixture(autouse=True)
    def _what(self, task, noise):
        self.task, self.noise = task, noise

    def make(self):
        world = open_world(load_rig("so101"), self.task, cameras=())
        robot, _ = world.start(2)
        agent = world.task.expert(robot.twin)
        if self.noise:
            agent = NoisyAgent(agent, self.noise)
        robot.open()
        seen = []
        for k in range(6):
            seen.append(robot.observe())
            robot.clock.sleep_until((k + 1) * 33_333_333)
        return agent, seen


class TestReplay(AgentContract):
    def make(self):
        _, seen = walk()
        rows = np.linspace(HOME, HOME + 0.1, 20)
        agent = ReplayAgent(Recording(0, 30, rows, rows, None, None), "arm", None, 100_000_000)
        return agent, [step.obs for step in seen]


class TestRecorder(ObserverContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path
        yield
        self.writer.close()

    def make(self):
        world, seen = walk(cameras=True)
        rig = world.rig
        spec = recorder_spec(
            fps=30,
            robot_type="so101",
            arms={"arm": rig.joint_spec("arm")},
            grippers=["gripper"],
            cameras={"wrist": (48, 64)},
        )
        self.writer = DatasetWriter(self.folder / "d", spec, wait=True)
        self.writer.open()
        recorder = Recorder(self.writer)
        recorder.start("lift")
        return recorder, seen
