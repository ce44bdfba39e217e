"""A short video of a policy at work, rendered after the fact from the states of the run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from ..data.disk import replace_durably
from ..robot.interfaces import Agent
from ..robot.types import U8, Step
from ..sim.render import Renderer
from ..sim.twin import Twin
from ..sim.world import World
from .session import run_episode
from .workers import AgentPlan

SIZE = (640, 480)  # px, width and height


@dataclass(slots=True)
class StateLog:
    """An observer that keeps the twin's state after every step."""

    twin: Twin
    qpos: list[np.ndarray] = field(default_factory=list)
    mocap: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def on_step(self, step: Step) -> None:
        data = self.twin.data
        self.qpos.append(data.qpos.copy())
        self.mocap.append((data.mocap_pos.copy(), data.mocap_quat.copy()))


@dataclass(frozen=True, slots=True)
class Film:
    """A film of several episodes, one after the other."""

    path: Path
    fps: int
    seeds: tuple[int, ...]
    successes: tuple[bool, ...]
    frames: tuple[int, ...]  # of each episode

    def stills(self, count: int) -> list[tuple[str, U8]]:
        """`count` pictures (h, w, 3), half the film's size, evenly over the film, each with what it shows."""
        due = set(np.linspace(0, max(0, sum(self.frames) - 1), count).astype(int).tolist())
        with av.open(str(self.path)) as container:
            return [
                (self._caption(k), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)[::2, ::2])
                for k, frame in enumerate(container.decode(container.streams.video[0]))
                if k in due
            ]

    def _caption(self, frame: int) -> str:
        ends = np.cumsum(self.frames)
        k = min(int(np.searchsorted(ends, frame, side="right")), len(self.seeds) - 1)
        t_s = (frame - (ends[k] - self.frames[k])) / self.fps
        return f"seed {self.seeds[k]} ({'success' if self.successes[k] else 'failed'}), {t_s:.1f} s"


def film(world: World, agent: AgentPlan, seeds: Sequence[int], camera: str, out: Path) -> Film:
    """Run episodes `seeds` with `agent` and write what `camera` would have seen at 640x480 to `out` (mp4).

    The policy itself sees the world's own pictures; the film is rendered from the logged states with the
    "faithful" profile, in each episode's own randomisation.
    """
    fps = round(world.rig.control_hz)
    agents = agent.build(world)
    rgb = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
    successes: list[bool] = []
    frames: list[int] = []

    def write(path: Path) -> None:
        with (
            closing(Renderer(world.scene.model, profile="faithful")) as renderer,
            av.open(str(path), "w", format="mp4") as container,
        ):
            stream = container.add_stream("h264", rate=fps, options={"crf": "28", "preset": "veryfast"})
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for seed in seeds:
                logs: list[StateLog] = []

                def make(twin: Twin, logs: list[StateLog] = logs) -> Agent:
                    logs.append(StateLog(twin))
                    return agents(twin)

                result = run_episode(world, make, seed, observers=[_Late(logs)], settle_steps=15)
                successes.append(result.success)
                frames.append(len(logs[0].qpos))
                for qpos, mocap in zip(logs[0].qpos, logs[0].mocap, strict=True):
                    renderer.render_state(qpos, world.scene.cameras[camera], rgb, mocap=mocap)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            container.mux(stream.encode())

    replace_durably(out, write)
    return Film(out, fps, tuple(seeds), tuple(successes), tuple(frames))


@dataclass(frozen=True, slots=True)
class _Late:
    """Hands steps to a log that exists only once the episode has begun."""

    logs: list[StateLog]

    def on_step(self, step: Step) -> None:
        self.logs[0].on_step(step)
