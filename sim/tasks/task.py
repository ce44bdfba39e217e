"""What a task is: objects, their placement, a success predicate, a reward and a scripted expert.

Predicates read a `View`, whose arrays have any leading shape: one twin gives (3,), a batch of N gives
(N, 3). The same predicate therefore serves one robot and the vectorised environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from ...robot.interfaces import Agent
from ...robot.types import F64
from ..randomize import Param
from ..scene import Scene, prefix
from ..twin import Twin

Bools = NDArray[np.bool_]


class View(Protocol):
    """True state of the scene, in W; (..., k) arrays, one row a simulation."""

    def pos(self, body: str) -> F64:
        """Position of a body, (..., 3) m."""
        ...

    def quat(self, body: str) -> F64:
        """Orientation of a body, wxyz, (..., 4)."""
        ...

    def speed(self, body: str) -> F64:
        """Linear speed of a free body, (...) m/s."""
        ...

    def site(self, site: str) -> F64:
        """Position of a site of the (first) arm, (..., 3) m."""
        ...

    def width(self) -> F64:
        """Opening of the (first) gripper, (...) m."""
        ...


class Task(Protocol):
    """A task on the table of one arm. Implementations are plug-ins: entry points `twinloop.tasks`."""

    @property
    def name(self) -> str: ...

    @property
    def text(self) -> str:
        """Instruction, stored with every episode."""
        ...

    @property
    def horizon_s(self) -> float:
        """An episode that has not succeeded by then has failed."""
        ...

    @property
    def bodies(self) -> tuple[str, ...]:
        """Bodies whose positions are recorded as "sim.objects"."""
        ...

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        """Add the task's bodies to the scene's spec."""
        ...

    def params(self, scene: Scene) -> Sequence[Param]:
        """The task's own randomised parameters (placements, sizes, colours), named "task.*"."""
        ...

    def place(self, twin: Twin, draw: Mapping[str, Any]) -> None:
        """Put the objects and the arm where the draw says, at rest."""
        ...

    def success(self, view: View) -> Bools:
        """Whether the task is done, (...) bool."""
        ...

    def reward(self, view: View) -> F64:
        """Dense reward, (...), larger is better, 1 when done."""
        ...

    def expert(self, twin: Twin) -> Agent:
        """A scripted expert that sees the true state and recovers from disturbances."""
        ...


class TwinView:
    """`View` of one live twin."""

    def __init__(self, twin: Twin) -> None:
        self._data = twin.data
        self._model = twin.model
        self._arm = next(iter(twin.scene.arms))
        self._gripper = next(iter(twin.grippers.values()), None)
        self._descriptions = twin.scene.descriptions

    def pos(self, body: str) -> F64:
        return self._data.xpos[self._model.body(body).id]

    def quat(self, body: str) -> F64:
        return self._data.xquat[self._model.body(body).id]

    def speed(self, body: str) -> F64:
        address = int(self._model.body(body).dofadr[0])
        return np.asarray(np.linalg.norm(self._data.qvel[address : address + 3]), dtype=np.float64)

    def site(self, site: str) -> F64:
        return self._data.site_xpos[self._model.site(prefix(self._arm) + site).id]

    def width(self) -> F64:
        if self._gripper is None:
            return np.zeros(())
        return np.asarray(self._descriptions[self._arm].angle_to_width(self._gripper.servos.true_q()[0]))
