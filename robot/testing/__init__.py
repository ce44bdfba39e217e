"""Contract suites: what every implementation of an interface must do, as classes for pytest to inherit.

A plug-in's test file needs one class per device::

    from twinloop.robot.testing import ArmContract

    class TestMyArm(ArmContract):
        def make(self):
            clock = RealClock()
            return MyArm("arm", config), clock

What `make` returns stands in each suite's docstring: a fresh, unopened device and the clock it lives on, for
an arm, gripper or camera. On hardware an arm moves by 0.15 rad from where it stands: keep clear.
"""

from .devices import ArmContract, CameraContract, ClockContract, GripperContract
from .flow import AgentContract, ObserverContract, RobotContract

__all__ = [
    "AgentContract",
    "ArmContract",
    "CameraContract",
    "ClockContract",
    "GripperContract",
    "ObserverContract",
    "RobotContract",
]
