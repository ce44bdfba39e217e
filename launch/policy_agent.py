"""A checkpoint as the agent of a world's episodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..policies.checkpoint import load_policy
from ..policies.runtime import PolicyAgent, RuntimeConfig
from ..robot.interfaces import Agent
from ..sim.tasks import TwinView
from ..sim.twin import Twin
from ..sim.world import World


def policy_agents(
    checkpoint: Path,
    world: World,
    config: RuntimeConfig | None = None,
    device: str = "auto",
    allow_changed_rig: bool = False,
) -> Callable[[Twin], Agent]:
    """Load `checkpoint` once; the function returned gives the agent of one episode.

    A policy trained on what only the twin knows (the positions of the task's bodies) is given it.
    Raises `CheckpointError` when the checkpoint does not fit the world's rig.
    """
    policy = load_policy(checkpoint, device)
    bodies = world.task.bodies
    names = tuple(f"{body}.{axis}" for body in bodies for axis in "xyz")
    privileged = any(name in names for name in policy.config.state_names)

    def agent(twin: Twin) -> Agent:
        view = TwinView(twin)

        def objects(_: object) -> np.ndarray:
            return np.concatenate([view.pos(body) for body in bodies])

        made = PolicyAgent(
            policy,
            world.rig,
            config or RuntimeConfig(),
            extra=objects if privileged else None,
            extra_names=names if privileged else (),
            allow_changed_rig=allow_changed_rig,
        )
        made.check()
        return made

    return agent
