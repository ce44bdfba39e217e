"""A rig in real time: the guard in its own process, cameras in theirs; the devices real, or emulated in yet another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..policies.runtime import PolicyAgent
from ..robot.cameras.process import CameraProcess
from ..robot.clock import RealClock
from ..robot.errors import GuardFault, TwinloopError
from ..robot.guard.protections import Protection
from ..robot.interfaces import Agent, Observer
from ..robot.loop import ControlLoop
from ..robot.models import load_model
from ..robot.process import GuardProcess
from ..robot.rig import Rig
from ..robot.robot import GuardedRobot
from ..robot.types import Applied, Observation
from ..sim.emulate.process import EmulatorProcess
from ..sim.emulate.stage import Stage
from ..sim.tasks import load_task
from .blackbox import blackbox_path
from .evaluate import Evaluation, summarise
from .homing import Homing
from .live_recording import LiveRecording
from .modes_told import ModesTold
from .progress import say
from .session import SETTLE_STEPS, EpisodeResult
from .stopping import deferred

SOFTWARE_DEVICE = "twinloop.sim.emulate.realsense:open_device"
EMULATED_CAMERA = "twinloop.sim.emulate.camera:connect"
JUDGE_EVERY = 3  # steps between two looks at whether the task is done
PARK_NS = 20_000_000_000
LOOK_NS = 50_000_000
TOLD_NS = 2_000_000_000  # the guard tells every half second which protections act
STAND_S = 60.0  # an arm after an e-stop, where nobody can press a key


@dataclass(slots=True)
class LiveCell:
    """`rig`, running: `robot` behind the guard's process; `emulator` unless the devices are real."""

    rig: Rig
    robot: GuardedRobot
    guard: GuardProcess
    emulator: EmulatorProcess | None
    _stack: ExitStack

    def close(self) -> None:
        """Park, release, and end everything that was started; an arm that could not be parked is said."""
        opened, failed = self.guard.is_open, False
        try:
            self._stack.close()
        except TwinloopError:
            failed = True
            raise
        finally:
            released = not (failed or self.guard.abandoned)
            if opened and not self.robot.ended_parked:
                what = "the arm was let go of where it was" if released else "its torque may still be on"
                way_out = "hold it" if released else "hold it, and switch its power off"
                say(f"NOT parked: {what}; {way_out}")

    def __enter__(self) -> LiveCell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_cell(
    rig: Rig,
    stage: Stage | None,
    cameras: Sequence[str],
    *,
    size: tuple[int, int] | None = None,
    blackbox: Path | None = None,
) -> LiveCell:
    """Open `rig` with `cameras`; with a `stage` on emulated devices, else on the ports that the rig names.

    `size` (width, height) px overrides the cameras'; `blackbox` the place of the black box.
    Raises `DeviceError` that says what is missing; then nothing is left running.
    """
    rig = resized(rig, size)
    clock = RealClock()
    say(f"opening {rig.name}: guard" + (f", cameras {', '.join(cameras)}" if cameras else "") + " ...")
    with ExitStack() as stack:
        emulator: EmulatorProcess | None = None
        ports = {name: arm.port for name, arm in rig.arms.items() if arm.port is not None}
        if stage is not None:
            emulator = stack.enter_context(EmulatorProcess(rig, stage))
            ports = emulator.paths
        opened = {
            name: CameraProcess(name, rig, clock)
            if emulator is None
            else _emulated_camera(name, rig, emulator, clock)
            for name in cameras
        }
        guard = GuardProcess(rig, ports, clock, blackbox=blackbox or blackbox_path(rig))
        robot = GuardedRobot(rig, clock, guard, opened, tick=False)
        robot.open()
        stack.callback(robot.close)
        return LiveCell(rig, robot, guard, emulator, stack.pop_all())


def resized(rig: Rig, size: tuple[int, int] | None) -> Rig:
    """`rig` with cameras of `size` (width, height) px; None: as they are."""
    if size is None:
        return rig
    cameras = {n: replace(c, width=size[0], height=size[1]) for n, c in rig.cameras.items()}
    return replace(rig, cameras=cameras)


def _emulated_camera(name: str, rig: Rig, emulator: EmulatorProcess, clock: RealClock) -> CameraProcess:
    """A RealSense is its own driver on a software device; others have no driver that could be fooled."""
    options: dict[str, Any] = {"folder": str(emulator.folder)}
    config = rig.cameras[name]
    if config.kind == "realsense":
        options |= {"device": SOFTWARE_DEVICE, "depth_size": [config.width, config.height]}
        return CameraProcess(name, rig, clock, options=options)
    return CameraProcess(name, rig, clock, source=EMULATED_CAMERA, options=options)


def run_live(
    cell: LiveCell,
    agent: Agent,
    seeds: Sequence[int],
    horizon_s: float,
    *,
    observers: Sequence[Observer] = (),
    stopped: Callable[[], bool] = lambda: False,
    recording: LiveRecording | None = None,
) -> Iterator[EpisodeResult]:
    """Run one episode a seed: placed (where the devices are emulated), home, `agent`, parked with its torque on.

    An episode ends some steps after the task is done, as far as the emulator can tell; at the horizon; or when the
    guard latches, which ends the run. `stopped()` ends it as well. With a `recording` it is recorded from home to
    its end, and waited for when the arm is parked.
    """
    for seed in seeds:
        if cell.emulator is not None:
            cell.emulator.place(seed)
        if not _home(cell) or stopped():
            return
        if recording is None:
            result = _episode(cell, agent, seed, horizon_s, observers, stopped)
        else:
            recording.start(seed, cell.guard.protections())
            seen = (*observers, recording.recorder)
            result = _episode(cell, agent, seed, horizon_s, seen, stopped)
            ended = "interrupted" if stopped() else ""
            if latched(cell):
                ended = f"{cell.guard.mode}: {cell.guard.reason}"
            recording.end(None if cell.emulator is None else result.success, ended)
        if not latched(cell):
            _park(cell)
        kept = None if recording is None else recording.finish()
        yield replace(result, parked=cell.guard.parked, kept=kept)
        if latched(cell) or stopped():
            return


def evaluate_live(
    rig: Rig,
    policy: Path,
    task: str,
    seeds: Sequence[int],
    *,
    cameras: Sequence[str],
    size: tuple[int, int] | None,
    on_episode: Callable[[EpisodeResult], None] = lambda result: None,
) -> Evaluation:
    """Run a checkpoint on the emulated `rig`, in real time, on `seeds`."""
    agent = PolicyAgent.load(policy, rig)
    results: list[EpisodeResult] = []
    with open_cell(rig, Stage(task, seeds[0], size), cameras, size=size) as cell:
        for result in run_live(cell, agent, seeds, load_task(task).horizon_s):
            results.append(result)
            on_episode(result)
        if latched(cell):
            raise GuardFault(f"guard: {cell.guard.mode}: {cell.guard.reason}")
    return summarise(results)


def acting(cell: LiveCell) -> tuple[Protection, ...]:
    """The guard's protections once it has been told of the cameras, which it watches from their first frame on."""
    clock = cell.robot.clock
    due = clock.now() + TOLD_NS
    while clock.now() < due:
        cell.robot.observe()
        found = cell.guard.protections()
        if not cell.robot.cameras or any(p.name == "stale_camera" and p.active for p in found):
            break
        clock.sleep_until(clock.now() + LOOK_NS)
    return cell.guard.protections()


def rearm(cell: LiveCell) -> None:
    """Re-arm a latched guard; says why it does not let itself be."""
    try:
        cell.guard.rearm()
    except GuardFault as error:
        say(str(error))


def latched(cell: LiveCell) -> bool:
    """Whether the guard itself says that a fault or an e-stop is latched. A guard that a busy machine kept from
    speaking for some cycles has latched nothing; one that died says so when it was started anew."""
    status = cell.guard.status
    return status is not None and status.mode in ("fault", "estop")


def stopped(cell: LiveCell) -> bool:
    """Whether the guard itself says that an e-stop is latched; its silence does not."""
    status = cell.guard.status
    return status is not None and status.mode == "estop"


def stand(cell: LiveCell, seconds: float | None) -> None:
    """Wait while an e-stop is latched, so long at most; None = for ever."""
    clock = cell.robot.clock
    due = None if seconds is None else clock.now() + round(seconds * 1e9)
    while stopped(cell) and (due is None or clock.now() < due):
        clock.sleep_until(clock.now() + LOOK_NS)


def _home(cell: LiveCell) -> bool:
    """To the pose from which episodes begin; False when the guard latched on the way.

    Raises `GuardFault` when the arm does not get there for another reason."""
    cell.guard.hold("homing")  # a parked guard takes no chunks
    poses = {name: load_model(arm.model).home_q_rad for name, arm in cell.rig.arms.items()}
    homing = Homing(poses, {name: cell.rig.joint_spec(name).dq_max for name in poses})
    loop = ControlLoop(cell.robot, homing, round(1e9 / cell.rig.control_hz))
    loop.run(homing.LONGEST_NS, stop=lambda obs, applied: homing.arrived or latched(cell))
    if latched(cell):
        return False
    if not homing.arrived:
        raise GuardFault(
            f"guard: {cell.guard.mode} ({cell.guard.reason}) on the way to the home pose, {homing.off_rad:.2f} rad "
            f"from it after {homing.LONGEST_NS * 1e-9:.0f} s; is the arm blocked, or the machine too busy?"
        )
    return True


def _episode(
    cell: LiveCell,
    agent: Agent,
    seed: int,
    horizon_s: float,
    observers: Sequence[Observer],
    stopped: Callable[[], bool],
) -> EpisodeResult:
    limits: Counter[str] = Counter()
    tracking: list[np.ndarray] = []
    arm = next(iter(cell.rig.arms))
    first_success = [0]
    told = ModesTold(say)

    def done() -> bool:
        return cell.emulator is not None and cell.emulator.judge()[0]

    def watch(obs: Observation, applied: Applied) -> bool:
        limits.update(applied.limits)
        told.look(obs.t_ns, applied.mode, cell.guard.reason)
        tracking.append(np.asarray(applied.sent_q[arm]) - obs.arms[arm].q)
        if latched(cell) or stopped():
            return True
        if not first_success[0] and len(tracking) % JUDGE_EVERY == 0 and done():
            first_success[0] = len(tracking)
        return bool(first_success[0]) and len(tracking) >= first_success[0] + SETTLE_STEPS

    clock = cell.robot.clock
    cell.robot.guard.collect()  # what acted before is another episode's
    begin = clock.now()
    loop = ControlLoop(cell.robot, agent, round(1e9 / cell.rig.control_hz), observers)
    report = loop.run(round(horizon_s * 1e9), seed, stop=watch)
    return EpisodeResult(
        seed=seed,
        success=done(),
        steps=report.steps,
        sim_s=(clock.now() - begin) * 1e-9,
        limits=dict(limits),
        tracking_rad=np.array(tracking),
        loop=report,
        draw={},
        protections=cell.guard.protections(),
    )


def _park(cell: LiveCell) -> None:
    guard, clock = cell.guard, cell.robot.clock
    with deferred():
        guard.hold("episode over")
        due = clock.now() + PARK_NS
        while not guard.parked and not latched(cell) and clock.now() < due:
            guard.park()
            clock.sleep_until(clock.now() + LOOK_NS)
