"""What the servos report: encoder zero errors and the age of a reading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..drives import Drive, Motor
from ..scene import Scene, prefix
from ..servo import SENSE_SAMPLES
from .param import Derived, Fields, Normal, Param, Uniform
from .servo import DEG

BY_HAND = 0.6 * DEG  # standard deviation of a zero that a person set


def sensing_params(scene: Scene) -> tuple[Param, ...]:
    """The biases are read from the draw by `Twin`; one value a joint, arm after arm in the rig's order."""
    model = scene.model
    starts = [prefix(arm) for arm in scene.arms]
    delayed = [s for s in range(model.nsensor) if model.sensor_history[s, 0] > 0]
    bus = [_first(starts, model.sensor(s).name) for s in delayed]
    sensors = np.array([s for s, b in zip(delayed, bus, strict=True) if b is not None], dtype=np.intp)
    buses = np.array([b for b in bus if b is not None], dtype=np.intp)
    longest_s = (SENSE_SAMPLES - 1) * model.opt.timestep
    soonest: float | tuple[float, ...] = min(0.002, longest_s)
    latest: float | tuple[float, ...] = min(0.01, longest_s)
    if any(isinstance(motor, Drive) for motor in scene.servos.values()):
        first = [scene.servos[index.names[0]] for index in scene.arms.values()]
        spans = [_ages(motor) for motor in first]
        soonest, latest = (tuple(min(span[k], longest_s) for span in spans) for k in (0, 1))

    def set_delay(fields: Fields, delay_s: Sequence[float]) -> None:
        fields["sensor_delay"][sensors] = np.asarray(delay_s)[buses]

    arms = [name for index in scene.arms.values() for name in index.names]
    grippers = [name for index in scene.grippers.values() for name in index.names]
    params = [
        *_zeros(scene, "sensing.encoder", arms, "zero error of each joint: what a hand-set calibration leaves"),
        Param("sensing.delay", "sensing", Uniform(soonest, latest, len(starts)),
              "s", "age of a reading when it arrives, for each arm's bus", set_delay),
    ]  # fmt: skip
    if grippers:
        params += _zeros(scene, "sensing.gripper", grippers, "zero error of each gripper's servo")
    return tuple(params)


def _zeros(scene: Scene, name: str, joints: list[str], doc: str) -> list[Param]:
    """`<name>_bias`, rad or m, a value for each of `joints`; where they have drives, from `<name>_zero`."""
    motors, n = [scene.servos[joint] for joint in joints], len(joints)
    if not any(isinstance(motor, Drive) for motor in motors):
        return [
            Param(f"{name}_bias", "sensing", Normal(0.0, BY_HAND, -2 * BY_HAND, 2 * BY_HAND, n), "rad", doc)
        ]
    sizes = [motor.zero_error if isinstance(motor, Drive) else BY_HAND for motor in motors]

    def bias(errors: Sequence[float]) -> list[float]:
        return [size * error for size, error in zip(sizes, errors, strict=True)]

    return [
        Param(
            f"{name}_zero", "sensing", Normal(0.0, 1.0, -2.0, 2.0, n), "sd", "zero error, of the usual one"
        ),
        Param(f"{name}_bias", "sensing", Derived(bias, (f"{name}_zero",)), "rad or m", doc),
    ]


def _ages(motor: Motor) -> tuple[float, float]:
    """Shortest and longest age of a reading, s."""
    return (
        (0.5 * motor.sense_delay_s, 2.0 * motor.sense_delay_s) if isinstance(motor, Drive) else (0.002, 0.01)
    )


def _first(starts: list[str], name: str) -> int | None:
    """Index of the arm to which the sensor `name` belongs, if any."""
    return next((k for k, start in enumerate(starts) if name.startswith(start)), None)
