"""`twinloop record`: demonstrations into a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

TASK = "pick_place"


@dataclass(frozen=True, slots=True)
class Command:
    """Record demonstrations of a task as a LeRobotDataset v3.0: by its scripted expert in the randomised twin, or,
    with --device, by you, on the arm that the rig names, with --emulated on emulated devices, with --sim on the twin.

    A killed or interrupted recording keeps every saved episode. An expert's goes on with --resume behind the last one,
    with the seeds that were running when it was killed; yours goes on by itself, if rig, cameras and calibration are
    the same.

    Example:
        twinloop record out/lift --task lift --episodes 50
        twinloop record out/lift --task lift --episodes 50 --resume
        twinloop record out/mine --task pick_place --device keyboard --sim
    """

    root: Annotated[Path, tyro.conf.Positional]
    """Folder of the dataset."""
    rig: str = "so101"
    """Rig name or path of a rig file."""
    task: str | None = None
    """Task: reach, lift, pick_place, push, stack, or a plug-in's; by default pick_place, or the policy's."""
    episodes: int | None = None
    """Episodes to record: of an expert successful ones, 50 by default (with --resume, so many more); of yours until you
    quit by default."""
    device: str | None = None
    """Record what you do with leader, keyboard, gamepad (gamepad:1 is the second one), spacemouse, web, remote, or a
    plug-in's device; "scripted" and "scripted:leader" are operators of our own, in the twin."""
    sim: bool = False
    """With --device: on the twin, in real time."""
    emulated: bool = False
    """With --device: on emulated devices."""
    text: str | None = None
    """With --device: what is done, in words; by default the task's."""
    arm: str | None = None
    """With --device: arm that is moved; by default the rig's first."""
    policy: Path | None = None
    """With --device: policy that acts until you take over; rows tell who acted, and interventions."""
    page: bool = False
    """With --device: serve the operator's page; --device web does so anyway."""
    host: str = "127.0.0.1"
    """Address that the page is served at; beyond this machine with a token and TLS."""
    port: int = 8020
    """Port of the page; 0: any that is free."""
    token: str | None = None
    """Token of the page; by default one is drawn where it is needed."""
    quiet: bool = False
    """With --device: say nothing aloud."""
    pedal: str | None = None
    """With --device: foot pedal, as DEVICE (any key: start, then success) or DEVICE=KEY:CONTROL,... with letters, f1 to
    f12 or codes as keys; /dev/input/by-id/...-event-kbd=a:start,b:success,c:failure."""
    ik: str | None = None
    """With --device: inverse kinematics of a Cartesian device: dls, the default, or mink (extra `mink`)."""
    dry_run: bool = False
    """With --device: everything but the writing."""
    size: tuple[int, int] | None = None
    """Picture width and height, px; by default as the rig's cameras."""
    no_cameras: bool = False
    """Record without pictures."""
    noise: float = 0.03
    """Standard deviation of the noise on the expert's joint goals, rad; the recorded label stays clean."""
    seed: int = 0
    """First episode seed."""
    workers: int | None = None
    """Processes that run episodes; by default one a core."""
    resume: bool = False
    """Append to the dataset."""

    def run(self) -> int:
        from ...robot.errors import UsageError
        from ...robot.rig import load_rig
        from ..arguments import EPISODES, SEEDS, picture, within
        from ..collect import collect
        from ..progress import counter, say
        from ..workers import WorldPlan, worker_count

        if self.device is not None:
            return self._person(self.device)
        for option in ("sim", "emulated", "text", "arm", "policy", "page", "pedal", "ik", "dry_run"):
            if getattr(self, option) not in (None, False):
                raise UsageError(
                    f"--{option.replace('_', '-')}: is for what you record yourself; add --device"
                )
        episodes = 50 if self.episodes is None else self.episodes
        within("--episodes", episodes, EPISODES)
        within("--seed", self.seed, SEEDS)
        within("--noise", self.noise, (0, 1), "rad")
        if self.size is not None:
            picture("--size", self.size)
        worker_count(self.workers)
        if not self.resume and (self.root / "meta" / "info.json").exists():
            raise UsageError(f"{self.root}: a dataset is there; add --resume to go on, or name a new folder")
        cameras = () if self.no_cameras else None
        plan = WorldPlan(load_rig(self.rig), self.task or TASK, cameras=cameras, size=self.size)
        with counter("record", episodes) as tick:
            done = collect(
                plan,
                self.root,
                episodes,
                first_seed=self.seed,
                noise_rad=self.noise,
                resume=self.resume,
                workers=self.workers,
                on_episode=lambda result, saved: tick(saved, "" if saved else "failed, not kept"),
            )
        say(f"{self.root}: {done.episodes} episodes recorded ({done.tried} run), {done.frames} frames in all")
        return 0 if done.episodes >= episodes else 1

    def _person(self, device: str) -> int:
        from ..arguments import EPISODES, SEEDS, picture, within
        from ..teleop.command import Asked, run

        within("--seed", self.seed, SEEDS)
        if self.episodes is not None:
            within("--episodes", self.episodes, EPISODES)
        if self.size is not None:
            picture("--size", self.size)
        asked = Asked(
            device,
            self.rig,
            self.arm,
            self.task,
            self.text,
            sim=self.sim,
            emulated=self.emulated,
            root=self.root,
            episodes=self.episodes,
            seed=self.seed,
            size=self.size,
            no_cameras=self.no_cameras,
            policy=self.policy,
            page=self.page,
            host=self.host,
            port=self.port,
            token=self.token,
            quiet=self.quiet,
            dry_run=self.dry_run,
            pedal=self.pedal,
            ik=self.ik,
        )
        return run(asked)
