"""`twinloop deploy`: run a policy through loop and guard, and park."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from ..live import LiveCell
    from ..workers import PolicyNeeds


@dataclass(frozen=True, slots=True)
class Command:
    """Deploy a policy: one episode after another through loop and guard; the arm parks at the end of each, and on
    Ctrl-C. On the arm at the port that the rig names; with --emulated on the same drivers in front of emulated
    devices, in real time; with --sim on the twin, faster.

    Example:
        twinloop deploy out/demo/policy --sim --episodes 3 --film out/film.mp4
        twinloop deploy out/demo/policy --emulated --record out/runs
    """

    policy: Annotated[Path, tyro.conf.Positional]
    """Folder of the policy."""
    sim: bool = False
    """Run on the twin."""
    emulated: bool = False
    """Run on emulated devices, in real time."""
    rig: str = "so101"
    """Rig name or path of a rig file."""
    task: str | None = None
    """Task whose scene and success test are used; by default the one the policy was trained on."""
    episodes: int = 1
    """Episodes to run."""
    seed: int = 2_000_000
    """First seed."""
    record: Path | None = None
    """Record the episodes as a dataset in this folder, or add them to the one that is there."""
    film: Path | None = None
    """Write a film of the episodes (mp4)."""
    allow_changed_rig: bool = False
    """Run the policy although its rig (limits, cameras, control rate) changed since it was trained."""

    def run(self) -> int:
        from ...robot.errors import UsageError
        from ...robot.rig import load_rig
        from ..arguments import EPISODES, SEEDS, output_file, within
        from ..deploy import deploy
        from ..progress import say
        from ..video import film
        from ..workers import AgentPlan, WorldPlan, policy_needs

        if self.sim and self.emulated:
            raise UsageError("--sim and --emulated: one of them")
        if not self.sim and self.film:
            raise UsageError("--film: of an episode on the twin; add --sim")
        within("--episodes", self.episodes, EPISODES)
        within("--seed", self.seed, SEEDS)
        if self.film is not None:
            output_file("--film", self.film, ".mp4")
        needs = policy_needs(self.policy)
        task = needs.choose_task(self.task)
        if not self.sim:
            return self._live(needs, task)
        plan = WorldPlan(load_rig(self.rig), task, cameras=needs.cameras, size=needs.size)
        if self.film is not None and not plan.rig.cameras:
            raise UsageError(f"--film: rig '{plan.rig.name}' has no camera to film with; give it one")
        agent = AgentPlan(self.policy, allow_changed_rig=self.allow_changed_rig)
        seeds = range(self.seed, self.seed + self.episodes)
        successes = 0
        for result in deploy(plan, agent, seeds, self.record):
            successes += result.success
            acted = ", ".join(f"{name} {ticks}" for name, ticks in sorted(result.limits.items()))
            say(
                f"seed {result.seed}: {'success' if result.success else 'FAILED'} after {result.steps} steps, "
                f"{'parked' if result.parked else 'NOT parked'}; guard ticks: {acted or 'none'}"
            )
        say(f"{task}: {successes} of {self.episodes} episodes succeeded")
        if self.film is not None:
            world = plan.open()
            try:
                camera = next(iter(plan.rig.cameras))
                say(f"film: {film(world, agent, seeds, camera, self.film).path}")
            finally:
                world.close()
        return 0

    def _live(self, needs: PolicyNeeds, task: str) -> int:
        from contextlib import ExitStack

        from ...policies.runtime import PolicyAgent
        from ...robot.cameras.process import CameraProcess
        from ...robot.rig import load_rig
        from ...sim.emulate.stage import Stage
        from ...sim.tasks import load_task
        from ..devices.local import on_this_machine
        from ..keys import Keys
        from ..live import STAND_S, acting, latched, open_cell, rearm, resized, run_live, stand, stopped
        from ..live_recording import LiveRecording
        from ..progress import say
        from ..stopping import asked

        rig = load_rig(self.rig) if self.emulated else on_this_machine(self.rig)
        agent = PolicyAgent.load(self.policy, rig, allow_changed_rig=self.allow_changed_rig)
        stage = Stage(task, self.seed, needs.size) if self.emulated else None
        seeds = range(self.seed, self.seed + self.episodes)
        successes = ran = ended = 0
        cells: list[LiveCell] = []
        actions = {
            " ": lambda: [cell.guard.estop("space bar") for cell in cells],
            "r": lambda: [rearm(cell) for cell in cells],
        }
        with ExitStack() as stack:
            recording: LiveRecording | None = None
            if self.record is not None:
                backend = "emulated" if self.emulated else "real"
                shown = resized(rig, needs.size)
                recording = LiveRecording(self.record, shown, load_task(task), needs.cameras, backend)
                stack.enter_context(recording)
            keys = stack.enter_context(Keys(actions))
            cell = stack.enter_context(open_cell(rig, stage, needs.cameras, size=needs.size))
            cells.append(cell)
            if keys.active:
                say("space: e-stop; r: re-arm; Ctrl-C: park and end")
            found = acting(cell)
            say(f"protections active: {', '.join(p.name for p in found if p.active)}")
            for protection in found:
                if not protection.active:
                    say(f"not active: {protection.name} ({protection.detail})")
            for result in run_live(
                cell, agent, seeds, load_task(task).horizon_s, stopped=asked, recording=recording
            ):
                successes, ran, ended = successes + result.success, ran + 1, ended + 1
                acted = ", ".join(f"{name} {ticks}" for name, ticks in sorted(result.limits.items()))
                timing = result.loop.summary()
                outcome = ("success" if result.success else "FAILED") if self.emulated else "done"
                say(
                    f"seed {result.seed}: {outcome} after {result.sim_s:.1f} s, "
                    f"{'parked' if result.parked else 'NOT parked'}; loop late by "
                    f"{timing.get('lateness_p99_ms', 0.0):.1f} ms (p99), {result.loop.overruns} overruns; "
                    f"guard ticks: {acted or 'none'}"
                )
                if result.kept is not None and result.kept.trouble:
                    say(f"recording: {result.kept.trouble}")
            for name, camera in cell.robot.cameras.items():
                if isinstance(camera, CameraProcess):
                    say(f"{name}: {camera.tally}")
            if latched(cell):
                ran = 0
                say(f"guard: {cell.guard.mode}: {cell.guard.reason}")
            if stopped(cell):
                say("the arm stands, torque on; Ctrl-C lets go of it where it is, so hold it")
                say(
                    "r re-arms and parks it"
                    if keys.active
                    else f"after {STAND_S:.0f} s it is let go of anyway"
                )
                stand(cell, None if keys.active else STAND_S)
        if self.emulated:
            short = "" if ended == self.episodes else f", of {self.episodes} asked for"
            say(f"{task}: {successes} of {ended} episodes succeeded{short}")
        if recording is not None:
            say(f"{self.record}: {recording.saved} of {self.episodes} episodes recorded")
        whole = recording is None or recording.saved == self.episodes
        return 0 if ran == self.episodes and whole else 1
