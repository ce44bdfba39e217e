"""The fault switches of an emulator, for whoever can hand it an order: its owner, or another program (`door`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ...robot.errors import UsageError, nearest
from ...robot.rig import Rig
from .rig import servo_ids

CAMERA_FAULTS = ("", "frozen", "slow", "gone")


class FaultSwitches(ABC):
    """Faults of the arms, lines and cameras of `rig`; `_order` hands an order to the emulator's process."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    @abstractmethod
    def _order(self, order: tuple[str, str, dict[str, Any]]) -> Any: ...

    @property
    def rig(self) -> Rig:
        """The rig that is emulated."""
        return self._rig

    def faults(self, arm: str, **faults: Any) -> None:
        """Set fields of the `Faults` of an arm's line."""
        self._order(("faults", arm, faults))

    def ids(self, arm: str) -> tuple[int, ...]:
        """Ids of the servos of `arm`, in the order of its joints."""
        return servo_ids(self._rig, arm)

    def heat(self, arm: str, id: int, temperature_c: float | None) -> None:
        """Make a servo that hot, whatever it does; None ends that. Raises `UsageError` for an id that is none."""
        self._check(arm, id)
        self._order(("heat", arm, {"id": id, "temperature_c": temperature_c}))

    def overload(self, arm: str, id: int) -> None:
        """Let a servo's firmware find an overload. It is over as on real ones: when the torque of an STS3215 is
        switched, and when a Dynamixel is rebooted."""
        self._check(arm, id)
        self._order(("overload", arm, {"id": id}))

    def push(self, arm: str, id: int, torque_n_m: float) -> None:
        """Push the joint of a servo by hand, until another push; 0 ends it. Without its torque the joint follows."""
        self._check(arm, id)
        self._order(("push", arm, {"id": id, "torque_n_m": torque_n_m}))

    def unplug(self, arm: str) -> None:
        """Pull the arm's plug: its path hangs up."""
        self._order(("unplug", arm, {}))

    def plug(self, arm: str) -> None:
        """Plug the arm in again."""
        self._order(("plug", arm, {}))

    def camera_fault(self, camera: str, fault: str) -> None:
        """Make `camera` "frozen", "slow" or "gone"; "" ends that. Without a stage nobody looks, and nothing happens."""
        if camera not in self._rig.cameras:
            raise UsageError(f"camera '{camera}': no such{nearest(camera, self._rig.cameras)}")
        if fault not in CAMERA_FAULTS:
            raise UsageError(f"camera fault '{fault}': no such{nearest(fault, CAMERA_FAULTS)}")
        self._order(("camera", camera, {"fault": fault}))

    def _check(self, arm: str, id: int) -> None:
        if id not in self.ids(arm):
            raise UsageError(f"servo {id}: {arm} has the servos {', '.join(map(str, self.ids(arm)))}")
