"""What the servos report: encoder zero errors and the age of a reading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..scene import Scene, prefix
from ..servo import SENSE_SAMPLES
from .param import Fields, Normal, Param, Uniform
from .servo import DEG


def sensing_params(scene: Scene) -> tuple[Param, ...]:
    """The biases are read from the draw by `Twin`; one value a joint, arm after arm in the rig's order."""
    model = scene.model
    joints = sum(len(index.names) for index in scene.arms.values())
    starts = [prefix(arm) for arm in scene.arms]
    delayed = [s for s in range(model.nsensor) if model.sensor_history[s, 0] > 0]
    bus = [_first(starts, model.sensor(s).name) for s in delayed]
    sensors = np.array([s for s, b in zip(delayed, bus, strict=True) if b is not None], dtype=np.intp)
    buses = np.array([b for b in bus if b is not None], dtype=np.intp)
    longest_s = (SENSE_SAMPLES - 1) * model.opt.timestep

    def set_delay(fields: Fields, delay_s: Sequence[float]) -> None:
        fields["sensor_delay"][sensors] = np.asarray(delay_s)[buses]

    params = [
        Param("sensing.encoder_bias", "sensing", Normal(0.0, 0.6 * DEG, -1.2 * DEG, 1.2 * DEG, joints), "rad",
              "zero error of each joint: what a hand-set calibration leaves"),
        Param("sensing.delay", "sensing", Uniform(min(0.002, longest_s), min(0.01, longest_s), len(starts)),
              "s", "age of a reading when it arrives, for each arm's bus", set_delay),
    ]  # fmt: skip
    if scene.grippers:
        params.append(
            Param("sensing.gripper_bias", "sensing",
                  Normal(0.0, 0.6 * DEG, -1.2 * DEG, 1.2 * DEG, len(scene.grippers)), "rad",
                  "zero error of each gripper's servo")
        )  # fmt: skip
    return tuple(params)


def _first(starts: list[str], name: str) -> int | None:
    """Index of the arm to which the sensor `name` belongs, if any."""
    return next((k for k, start in enumerate(starts) if name.startswith(start)), None)
