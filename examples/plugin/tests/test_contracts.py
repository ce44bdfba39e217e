"""What Twinloop asks of an arm and a camera, asked of those of this package."""

from importlib.resources import files

import numpy as np
from twinloop.robot.cameras import camera_factory
from twinloop.robot.rig import load_rig
from twinloop.robot.testing import ArmContract, CameraContract
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin

RIG = load_rig(str(files("twinloop_example") / "planar.yaml"))


class TestPlanarArm(ArmContract):
    def make(self):
        twin = Twin(build_scene(RIG))
        twin.set_arm("arm", np.array([0.0, 0.4, 0.4]))
        return twin.arms["arm"], twin.clock


class TestCard(CameraContract):
    def make(self):
        config, clock = RIG.cameras["card"], Twin(build_scene(RIG)).clock
        return camera_factory("card", config)("card", config, clock), clock
