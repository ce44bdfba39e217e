"""The observer that turns steps of the loop into rows of a dataset."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..robot.errors import DatasetError, UsageError, nearest
from ..robot.types import F32, F64, U8, CameraSpec, JointSpec, Observation, Step
from .spec import DatasetSpec
from .writer import DatasetWriter

MODES = ("run", "hold", "park", "fault", "estop")
STATE, VELOCITY, EFFORT = "observation.state", "observation.velocity", "observation.effort"
ACTION, ASKED, SENT = "action", "action.asked", "action.sent"


def recorder_spec(
    *,
    fps: int,
    robot_type: str,
    arms: Mapping[str, JointSpec | Sequence[str]],
    grippers: Sequence[str] = (),
    cameras: Mapping[str, CameraSpec | tuple[int, int]] | None = None,
    vectors: Mapping[str, Sequence[str]] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> DatasetSpec:
    """The spec of what a `Recorder` writes for a rig.

    `arms` maps names to joint specs (or joint names) in the rig's order, `cameras` to camera specs (or
    (height, width) px), `vectors` names further vectors and their components. Positions are rad, widths
    m, velocities rad/s, efforts N·m (grippers N), times s.
    """
    joints = {arm: _joint_names(joint) for arm, joint in arms.items()}
    single = len(joints) <= 1 and len(grippers) <= 1
    names = [name if single else f"{arm}.{name}" for arm, found in joints.items() for name in found]
    widths = ["gripper" if single else gripper for gripper in grippers]
    position = tuple(f"{name}.pos" for name in (*names, *widths))
    sizes = {
        name: (c.height, c.width) if isinstance(c, CameraSpec) else c for name, c in (cameras or {}).items()
    }
    scalars = {"time.observation": "float64"}
    scalars |= {f"time.arm.{arm}": "float64" for arm in joints}
    scalars |= {f"time.camera.{camera}": "float64" for camera in sizes}
    scalars |= {f"camera.{camera}.seq": "int64" for camera in sizes}
    scalars |= {"guard.limits": "int64", "guard.mode": "int64", "source": "int64", "intervention": "int64"}
    scalars |= {"next.success": "bool"}
    return DatasetSpec(
        fps=fps,
        robot_type=robot_type,
        vectors={
            STATE: position,
            VELOCITY: tuple(f"{name}.vel" for name in names),
            EFFORT: tuple(f"{name}.effort" for name in (*names, *widths)),
            ACTION: position,
            ASKED: position,
            SENT: position,
            **{key: tuple(components) for key, components in (vectors or {}).items()},
        },
        scalars=scalars,
        cameras=sizes,
        extra={
            "units": "SI: rad, m, s, rad/s, N·m, N",
            "joints": {arm: list(found) for arm, found in joints.items()},
            "grippers": list(grippers),
            "modes": list(MODES),
            "limit_names": [],
            "sources": [],
            **(extra or {}),
        },
    )


def _size(camera: CameraSpec | tuple[int, int]) -> tuple[int, int]:
    return (camera.height, camera.width) if isinstance(camera, CameraSpec) else camera


def _joint_names(joints: JointSpec | Sequence[str]) -> tuple[str, ...]:
    return joints.names if isinstance(joints, JointSpec) else tuple(joints)


@dataclass(slots=True)
class _Eye:
    """What is known of one camera in the open episode."""

    seq: int = -1  # of the latest frame
    time_s: float = math.nan
    rows: int = 0  # rows since that frame
    repeated: int = 0  # rows that show a frame for the second time
    skipped: int = 0  # frames that were due and never came, beyond the rows that lack one


@dataclass(slots=True)
class _Run:
    """What is known of the open episode."""

    t0_ns: int | None = None
    eyes: dict[str, _Eye] = field(default_factory=dict)
    limited: int = 0  # rows in which a limit acted


class Recorder:
    """Writes each step as a row: what was measured and when, what was asked and what was sent.

    An `Observer`; steps outside an episode are ignored. A disk that fails ends the episode, not the loop:
    `error` then says what happened, and `save` raises it.
    """

    def __init__(
        self,
        writer: DatasetWriter,
        *,
        vectors: Mapping[str, Callable[[Step], ArrayLike]] | None = None,
        camera_fps: Mapping[str, float] | None = None,
        intervention: Callable[[Step], bool] = lambda step: False,
    ) -> None:
        """`vectors` gives the values of further vectors of the spec, called once a step. `camera_fps` (Hz)
        tells how many frames a camera delivers, to count those that were lost; a camera without an entry is
        taken to run at the dataset's rate. `intervention(step)` is true where a person had taken over."""
        self.writer = writer
        self.error: DatasetError | None = None  # what ended the episode early
        self._vectors = dict(vectors or {})
        self._camera_fps = dict(camera_fps or {})
        self._intervention = intervention
        self._run: _Run | None = None

    def start(self, task: str, info: Mapping[str, Any] | None = None) -> int:
        """Open an episode; returns its index."""
        missing = {STATE, ACTION, ASKED, SENT, *self._vectors} - self.writer.spec.vectors.keys()
        if missing:
            known = self.writer.spec.vectors
            raise UsageError(
                f"recorder: the dataset has no vector '{min(missing)}'{nearest(min(missing), known)}"
            )
        self.error = None
        index = self.writer.start(task, info)
        self._run = _Run(eyes={camera: _Eye() for camera in self.writer.spec.cameras})
        return index

    @property
    def recording(self) -> bool:
        """True while an episode is open."""
        return self._run is not None and self.writer.recording

    def on_step(self, step: Step) -> None:
        """Write one row. `DatasetError` when something does not fit the dataset."""
        run, obs, applied = self._run, step.obs, step.applied
        if run is None or not self.writer.recording:
            return
        if run.t0_ns is None:
            run.t0_ns = obs.t_ns
        arms = self.writer.spec.extra.get("joints", obs.arms)
        grippers = self.writer.spec.extra.get("grippers", obs.grippers)
        asked_q = {arm: applied.asked_q.get(arm, obs.arms[arm].q) for arm in arms}
        asked_width = {g: applied.asked_width_m.get(g, obs.grippers[g].width_m) for g in grippers}
        meant_q, meant_width = meant(step)
        row: dict[str, Any] = {
            STATE: _joined([obs.arms[a].q for a in arms], [obs.grippers[g].width_m for g in grippers]),
            VELOCITY: _joined([obs.arms[a].dq for a in arms], []),
            EFFORT: _joined([obs.arms[a].tau for a in arms], [obs.grippers[g].force_n for g in grippers]),
            ACTION: _joined(
                [_sound(meant_q.get(arm), asked_q[arm]) for arm in arms],
                [float(_sound(meant_width.get(g), asked_width[g])) for g in grippers],
            ),
            ASKED: _joined(asked_q.values(), asked_width.values()),
            SENT: _joined(
                [applied.sent_q.get(arm, obs.arms[arm].q) for arm in arms],
                [applied.sent_width_m.get(g, obs.grippers[g].width_m) for g in grippers],
            ),
            "time.observation": (obs.t_ns - run.t0_ns) * 1e-9,
            "guard.limits": self._limits(applied.limits, run),
            "guard.mode": self._number("modes", applied.mode),
            "source": self._number("sources", applied.source or "unknown"),
            "intervention": int(self._intervention(step)),
            "next.success": False,
        }
        for arm, state in obs.arms.items():
            row[f"time.arm.{arm}"] = (state.t_ns - run.t0_ns) * 1e-9
        for key, function in self._vectors.items():
            row[key] = function(step)
        try:
            self.writer.add(row, self._frames(obs, run, row))
        except DatasetError as error:
            if self.writer.recording:
                raise  # a mistake in the row, not a fault of the disk
            self._run, self.error = None, error
            warnings.warn(str(error), stacklevel=2)

    def _frames(self, obs: Observation, run: _Run, row: dict[str, Any]) -> dict[str, U8 | None]:
        """Pictures of the step; fills in their capture times and numbers."""
        assert run.t0_ns is not None
        if unknown := obs.frames.keys() - run.eyes.keys():
            raise DatasetError(
                f"camera '{min(unknown)}' is not in the dataset{nearest(min(unknown), run.eyes)}"
            )
        pictures: dict[str, U8 | None] = {}
        for camera, eye in run.eyes.items():
            frame = obs.frames.get(camera)
            eye.rows += 1
            pictures[camera] = None if frame is None else frame.rgb
            if frame is not None:
                rate = self._camera_fps.get(camera, self.writer.spec.fps) / self.writer.spec.fps
                due = max(eye.rows, math.ceil(rate * eye.rows))  # frames since the latest one
                if eye.seq >= 0:
                    eye.repeated += frame.seq == eye.seq
                    eye.skipped += max(0, frame.seq - eye.seq - due)
                eye.seq, eye.time_s = frame.seq, (frame.t_ns - run.t0_ns) * 1e-9
                eye.rows = 0
            row[f"time.camera.{camera}"] = eye.time_s  # of the picture that the row shows
            row[f"camera.{camera}.seq"] = eye.seq
        return pictures

    def _limits(self, limits: Mapping[str, int], run: _Run) -> int:
        bits = 0
        for name, ticks in limits.items():
            if ticks:
                bits |= 1 << self._number("limit_names", name)
        run.limited += bits != 0
        return bits

    def _number(self, kind: str, name: str) -> int:
        """Position of a name in a growing list of the dataset; appended when it is new."""
        known = self.writer.spec.extra.get(kind, ())
        if name not in known:
            if kind == "limit_names" and len(known) >= 63:
                raise DatasetError(f"limit '{name}': a dataset holds up to 63 limit names, all are taken")
            self.writer.update_extra(**{kind: [*known, name]})
            known = self.writer.spec.extra[kind]
        return known.index(name)

    def save(self, success: bool | None = None, info: Mapping[str, Any] | None = None) -> int:
        """Save the open episode; returns its index. `success` goes into the last row's `next.success`.

        The episode's info tells, for each camera, how many frames were `dropped` (rows without a picture of
        their own, and gaps in the camera's numbers) and how many rows `repeated` a picture.
        """
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        run = self._run or _Run()
        dropped = self.writer.dropped
        cameras = {
            camera: {"dropped": dropped[camera] + eye.skipped, "repeated": eye.repeated}
            for camera, eye in run.eyes.items()
        }
        found: dict[str, Any] = {"cameras": cameras, "limited_rows": run.limited}
        if success is not None:
            found["success"] = bool(success)
        index = self.writer.save({**found, **(info or {})}, last={"next.success": bool(success)})
        self._run = None
        return index

    def discard(self) -> None:
        """Drop the open episode."""
        self.writer.discard()
        self._run = None


def meant(step: Step) -> tuple[Mapping[str, F64], Mapping[str, float]]:
    """The agent's targets at the observation; none where its answer was so broken that the guard refused it."""
    try:
        return step.chunk.at(step.obs.t_ns)
    except (TypeError, ValueError, AttributeError):
        return {}, {}


def _sound(meant: ArrayLike | None, asked: ArrayLike) -> F64:
    """What the agent meant; what stayed asked where its answer named nothing that the guard could take."""
    asked = np.asarray(asked, np.float64)
    try:
        found = np.asarray(meant, np.float64)  # None: NaN
    except (TypeError, ValueError):
        return asked
    return found if found.shape == asked.shape and np.isfinite(found).all() else asked


def _joined(vectors: Any, scalars: Any) -> F32:
    parts = [np.asarray(vector, np.float64).reshape(-1) for vector in vectors]
    return np.concatenate([*parts, np.array(list(scalars), np.float64)]).astype(np.float32)
