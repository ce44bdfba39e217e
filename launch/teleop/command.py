"""From what the command line asks for to a session that runs, and everything closed behind it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...robot.clock import RealClock
from ...robot.errors import UsageError
from ...robot.rig import Rig, load_rig
from ...robot.types import F64
from ...sim.emulate.stage import Stage
from ...sim.tasks import Task, load_task
from ...teleop import device_names, make_device
from ...teleop.controls import key_line
from ...teleop.hand import Hand
from ...teleop.ik import check_solver
from ...teleop.jog import JogDevice
from ...teleop.keyboard import Keyboard
from ...teleop.page import PageProcess
from ...teleop.page.link import make_link
from ...teleop.pedal import FootPedal, PedalKeys, parse_pedal, same_device
from ...teleop.place import Place
from ...teleop.remote import Remote
from ..collect import dataset_spec
from ..collect import resized as resized_plan
from ..devices.local import on_this_machine
from ..keys import in_background
from ..live import resized
from ..live_recording import live_spec
from ..progress import say
from ..workers import PolicyNeeds, WorldPlan, policy_needs
from .cell import Cell, RigCell, TwinCell
from .desk import Desk
from .leading import emulated_lead, twin_lead
from .line import Line
from .match import check_match, next_seed, with_devices
from .operator import Operator
from .plan import Plan
from .session import Session
from .takes import PERSON, DryTakes, RigTakes, Takes, TwinTakes
from .tally import Tally
from .voice import Voice

LINKED = ("web", "remote")  # devices whose hand comes over the page's link
DEAD_MAN_MS = 100.0  # such a hand that is silent for longer holds the arm
TASK = "pick_place"


@dataclass(frozen=True, slots=True)
class Asked:
    """A session as the command line asks for it."""

    device: str
    rig: str = "so101"
    arm: str | None = None
    task: str | None = None
    text: str | None = None
    sim: bool = False
    emulated: bool = False
    root: Path | None = None  # of the dataset; None: nothing is recorded
    episodes: int | None = None
    seed: int = 0
    size: tuple[int, int] | None = None
    no_cameras: bool = False
    policy: Path | None = None
    page: bool = False
    host: str = "127.0.0.1"
    port: int = 8020
    token: str | None = None
    quiet: bool = False
    dry_run: bool = False
    pedal: str | None = None  # as `parse_pedal` reads it
    ik: str | None = None  # solver of a Cartesian device; None: the usual one

    @property
    def shows_page(self) -> bool:
        return self.page or self.device.partition(":")[0] in LINKED


def run(asked: Asked) -> int:
    """Run the session; returns the command's exit status."""
    name, _, choice = asked.device.partition(":")
    _check(asked, name)
    keys = None if asked.pedal is None else parse_pedal(asked.pedal)
    needs = PolicyNeeds() if asked.policy is None else policy_needs(asked.policy)
    if asked.task is not None and needs.task and asked.task != needs.task:
        raise UsageError(
            f"--task {asked.task}: the policy {asked.policy} was trained for {needs.task}; leave out --task, or take "
            "another policy"
        )
    asked = replace(asked, size=asked.size or needs.size)
    task = load_task(asked.task or needs.task or TASK)
    text = asked.text or task.text
    rig = load_rig(asked.rig) if asked.sim or asked.emulated else on_this_machine(asked.rig)
    if keys is not None:
        _not_the_stop(rig, keys)
    shown = resized(rig, asked.size)
    wanted = tuple(rig.cameras) if asked.root or asked.shows_page else needs.cameras
    cameras = () if asked.no_cameras else wanted
    spec = None
    if asked.root is not None:
        if asked.sim:
            spec = dataset_spec(shown, task, cameras)
        else:
            spec = live_spec(shown, task, cameras, "emulated" if asked.emulated else "real")
        spec = with_devices(spec, shown, cameras, not (asked.sim or asked.emulated))
        check_match(asked.root, spec)
    tally = Tally() if asked.root is None else Tally.of(asked.root)
    seed = asked.seed if asked.root is None else next_seed(asked.root, asked.seed)
    guarded = _with_dead_man(rig) if name in LINKED else rig
    cell = _cell(asked, guarded, task, cameras, seed, paced=name != "scripted")
    fps = {camera: rig.cameras[camera].fps for camera in cameras}
    takes: Takes = DryTakes()
    if asked.root is not None and spec is not None and not asked.dry_run:
        intervening = () if asked.policy is None else (PERSON,)
        if isinstance(cell, TwinCell):
            takes = TwinTakes(asked.root, spec, fps, lambda: truth(cell), intervening)
        else:
            takes = RigTakes(asked.root, spec, fps, intervening)
    wall = RealClock()
    with ExitStack() as stack:
        line = Line()
        stack.callback(line.close)
        stack.enter_context(line.tells_log())
        voice = Voice(asked.quiet)
        stack.callback(voice.close)
        page = _page(asked, resized(guarded, asked.size), cameras)
        if page is not None:
            stack.enter_context(page)
            say(f"page: {page.url}")
            tally.watch(lambda: page.tell_starts(tally.png(rig)) if tally.starts else None)
        operator = Operator(cell) if isinstance(cell, TwinCell) else None
        script = None if operator is None else operator.hand
        place = Place(rig, choice, page, asked.arm, _lead(asked, rig, cell, choice), script)
        device = make_device(name, place)
        hand = Hand(device, operator.clock if operator is not None and name == "scripted" else wall)
        if device is not page:
            device.open()
            stack.callback(device.close)
        terminal = terminal_beside(device)
        if terminal is not None and terminal is not device:
            terminal.open()
            stack.callback(terminal.close)
        pedal = None if keys is None else FootPedal(keys)
        if pedal is not None:
            pedal.open()
            stack.callback(pedal.close)
        stack.callback(takes.close)
        takes.open()
        stack.callback(cell.close)
        cell.open()
        info: dict[str, Any] = {"backend": cell.backend}
        plan = Plan(
            text,
            seed,
            asked.episodes,
            records=asked.root is not None,
            policy=asked.policy,
            arm=asked.arm,
            cameras=cameras if asked.root is not None else (),
            info=info,
            timed=not isinstance(cell, TwinCell) or name != "scripted",
            ik=asked.ik or "dls",
        )
        desk = Desk(hand, wall, terminal=terminal, page=page, pedal=pedal, voice=voice, line=line)
        session = Session(plan, cell, desk, takes, tally)
        if terminal is not None:
            say(f"keys: {key_line()}")
        if (how := getattr(sys.modules[type(device).__module__], "HELP", None)) is not None:
            say(f"{name}: {how}")
        if isinstance(device, Remote):
            say(f"the operator's machine: {device.how}")
        for protection in cell.guard.protections() if isinstance(cell, RigCell) else ():
            if not protection.active:
                say(f"not active: {protection.name} ({protection.detail})")
        session.run()
    if asked.root is not None:
        _report(asked, tally, session, rig)
    short = asked.episodes is not None and session.saved < asked.episodes
    return 1 if short or session.trouble else 0


def _lead(asked: Asked, rig: Rig, cell: Cell, choice: str) -> Callable[[Rig], JogDevice] | None:
    """Who makes a leader that is not real."""
    arm = next(iter(rig.arms)) if asked.arm is None else asked.arm
    if isinstance(cell, RigCell) and cell.places:
        return lambda leader: emulated_lead(leader, rig, arm, cell)
    if isinstance(cell, TwinCell) and choice == "leader":
        return lambda leader: twin_lead(leader, rig, arm, cell)
    return None


def truth(cell: TwinCell) -> tuple[F64, F64]:
    """Positions of the task's bodies, (3K,) m, and the twin's configuration, (nq,)."""
    judged = cell.judge()
    assert judged is not None
    return np.concatenate(list(judged[1].values())), cell.twin.data.qpos.copy()


def _check(asked: Asked, name: str) -> None:
    """What can be said before anything is loaded."""
    if asked.sim and asked.emulated:
        raise UsageError("--sim and --emulated: one of them")
    if name not in device_names():
        make_device(name, Place(load_rig(asked.rig)))  # says which there are
    if name == "scripted" and not asked.sim:
        raise UsageError("--device scripted: sees where things truly are, as only the twin knows; add --sim")
    if name == "leader" and asked.emulated and (asked.root is None or asked.episodes is None):
        raise UsageError(
            "--device leader --emulated: a scripted person leads the emulated leader, and records demonstrations; "
            "`twinloop record OUT --emulated --device leader --episodes N`"
        )
    if name == "scripted" and asked.root is None:
        raise UsageError(
            "--device scripted: plays demonstrations to be recorded; `twinloop record OUT --device scripted`"
        )
    if name == "scripted" and asked.episodes is None:
        raise UsageError("--device scripted: does not tire; say how many with --episodes")
    if asked.ik is not None:
        if name == "leader":
            raise UsageError("--ik: a leader tells joint angles; it is for Cartesian devices")
        check_solver(asked.ik)
    if asked.policy is not None and name == "scripted":
        raise UsageError("--device scripted: takes over from nobody; leave out --policy")
    if asked.text is not None and not asked.text.strip():
        raise UsageError("--text: empty; say in a few words what is done, as in 'pick the red cube'")


def _not_the_stop(rig: Rig, keys: PedalKeys) -> None:
    stop = rig.estop.pedal
    if stop is not None and same_device(stop.device, keys.device):
        raise UsageError(f"--pedal {keys.device}: is the e-stop of rig '{rig.name}'; take another pedal")


def _with_dead_man(rig: Rig) -> Rig:
    limit = min(rig.guard.heartbeat_ms, DEAD_MAN_MS)
    return replace(rig, guard=replace(rig.guard, heartbeat_ms=limit))


def _cell(asked: Asked, rig: Rig, task: Task, cameras: tuple[str, ...], seed: int, *, paced: bool) -> Cell:
    if asked.sim:
        plan = WorldPlan(rig, task.name, cameras=cameras, size=asked.size)
        return TwinCell(replace(plan, rig=resized_plan(plan)), paced=paced)
    stage = Stage(task.name, seed, asked.size) if asked.emulated else None
    return RigCell(rig, stage, task, cameras, asked.size)


def _page(asked: Asked, rig: Rig, cameras: tuple[str, ...]) -> PageProcess | None:
    if not asked.shows_page:
        return None
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    shown = replace(rig, cameras={name: rig.cameras[name] for name in cameras})
    return PageProcess(
        shown, make_link(asked.host, asked.port, asked.token), state / "twinloop" / "page", root=asked.root
    )


def terminal_beside(device: object) -> Keyboard | None:
    """The terminal's keys as controls; None where there is no terminal."""
    if isinstance(device, Keyboard):
        return device
    try:
        fd = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):
        return None
    return Keyboard(fd) if os.isatty(fd) and not in_background(fd) else None


def _report(asked: Asked, tally: Tally, session: Session, rig: Rig) -> None:
    assert asked.root is not None
    saved = session.saved
    if asked.dry_run:
        say(f"dry run: {saved} episodes would have been saved; nothing was written")
        return
    wanted = "" if asked.episodes is None or saved >= asked.episodes else f", {asked.episodes} were asked for"
    say(f"{asked.root}: {tally.line()}; {saved} of them now{wanted}")
    if session.trouble:
        say(f"the last episode: {session.trouble}")
    if saved and tally.starts:
        picture = asked.root.with_name(f"{asked.root.name}-starts.png")
        picture.write_bytes(tally.png(rig))
        say(f"where objects stood at the start: {picture}")
