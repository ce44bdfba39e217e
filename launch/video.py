"""A short video of a policy at work, rendered after the fact from the states of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from ..robot.interfaces import Agent
from ..robot.types import U8, Applied, Observation
from ..sim.render import Renderer
from ..sim.twin import Twin
from ..sim.world import World
from .session import run_episode
from .workers import AgentPlan

SIZE = (640, 480)  # px, width and height


@dataclass(slots=True)
class StateLog:
    """An observer that keeps the twin's state at every step."""

    twin: Twin
    qpos: list[np.ndarray] = field(default_factory=list)
    mocap: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def on_step(self, obs: Observation, applied: Applied) -> None:
        data = self.twin.data
        self.qpos.append(data.qpos.copy())
        self.mocap.append((data.mocap_pos.copy(), data.mocap_quat.copy()))


def film(world: World, agent: AgentPlan, seeds: Sequence[int], camera: str, out: Path) -> Path:
    """Run episodes `seeds` with `agent` and write what `camera` would have seen at 640x480 to `out` (mp4).

    The policy itself sees the world's own pictures; the film is rendered from the logged states with the
    "faithful" profile, in each episode's own randomisation.
    """
    fps = round(world.rig.control_hz)
    out.parent.mkdir(parents=True, exist_ok=True)
    agents = agent.build(world)
    renderer = Renderer(world.scene.model, profile="faithful")
    rgb = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
    with av.open(str(out), "w") as container:
        stream = container.add_stream("h264", rate=fps, options={"crf": "28", "preset": "veryfast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for seed in seeds:
            logs: list[StateLog] = []

            def make(twin: Twin, logs: list[StateLog] = logs) -> Agent:
                logs.append(StateLog(twin))
                return agents(twin)

            run_episode(world, make, seed, observers=[_Late(logs)], settle_steps=15)
            for qpos, mocap in zip(logs[0].qpos, logs[0].mocap, strict=True):
                renderer.render_state(qpos, world.scene.cameras[camera], rgb, mocap=mocap)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    renderer.close()
    return out


def stills(film: Path, count: int) -> list[tuple[float, U8]]:
    """`count` pictures (h, w, 3), half the film's size, evenly over the film, each with its time, s."""
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        due = np.linspace(0, max(0, stream.frames - 1), count).astype(int)
        frames = enumerate(container.decode(stream))
        return [
            (float(frame.time or 0.0), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)[::2, ::2])
            for k, frame in frames
            if k in due
        ]


@dataclass(frozen=True, slots=True)
class _Late:
    """Hands steps to a log that exists only once the episode has begun."""

    logs: list[StateLog]

    def on_step(self, obs: Observation, applied: Applied) -> None:
        self.logs[0].on_step(obs, applied)
