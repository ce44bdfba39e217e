"""An emulated rig in a process of its own, as a device is: what it does to time, it does to nobody else's."""

from __future__ import annotations

import multiprocessing as mp
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ...robot.clock import RealClock
from ...robot.errors import DeviceError, TwinloopError
from ...robot.process.sessions import memory
from ...robot.rig import Rig
from ..scene import prefix
from .door import PREFIX, Door
from .rig import EmulatedRig
from .stage import LiveStage, Stage, build_stage
from .switches import FaultSwitches

START_S = 60.0  # importing MuJoCo and compiling the scene on a busy machine
ANSWER_S = 5.0
SLICE_NS = 2_000_000  # between two looks at the orders


class EmulatorProcess(FaultSwitches):
    """Serves `rig` until `close`; the faults of its lines are switched by `faults`, `unplug` and `plug`.

    With a `stage` a task's objects stand around the arms, cameras can look at them (`folder` is what
    `sim.emulate.camera` needs), episodes are placed and judged.
    `paths` stay the same through `unplug` and `plug`, as a real port's name under /dev/serial/by-id does.
    """

    def __init__(self, rig: Rig, stage: Stage | None = None) -> None:
        super().__init__(rig)
        self.paths: dict[str, str] = {}  # arm -> path of its serial port
        self._stage = stage
        self._links: tempfile.TemporaryDirectory[str] | None = None
        self._process: BaseProcess | None = None
        self._orders: Connection | None = None
        self._asked = 0  # number of the latest order

    def open(self) -> None:
        """Start it. Raises `DeviceError` when it does not come up."""
        context = mp.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._links = tempfile.TemporaryDirectory(prefix=PREFIX, dir=memory())
        self._process = context.Process(
            target=_serve, args=(self._rig, self._stage, self.folder, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            arms = self._answer(START_S)
            if isinstance(arms, str):  # why it cannot
                raise DeviceError(arms)
            self.paths.update({arm: str(self.folder / arm) for arm in arms})
        except BaseException:
            self.close()
            raise

    @property
    def folder(self) -> Path:
        """Where its files lie while it is open."""
        if self._links is None:
            raise DeviceError("emulator: not open")
        return Path(self._links.name)

    def close(self) -> None:
        """End it; its ports hang up."""
        process, orders = self._process, self._orders
        self._process = self._orders = None
        if orders is not None:
            orders.close()
        if process is not None:
            process.join(ANSWER_S)
            if process.is_alive():
                process.kill()
                process.join()
        if self._links is not None:
            self._links.cleanup()
            self._links = None

    def join(self) -> None:
        """Wait until the process ends, which nobody asks it to: then raise `DeviceError`."""
        if self._process is not None:
            self._process.join()
        raise DeviceError("emulator: its process ended")

    def __enter__(self) -> EmulatorProcess:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def place(self, seed: int) -> None:
        """Put the task's objects where the draw of `seed` has them; the arms stay as they are."""
        self._order(("place", "", {"seed": seed}))

    def lead(self, arm: str, joints: Mapping[str, float]) -> None:
        """A person's hand pulls these joints of `arm` to these angles, rad, and lets go of its others."""
        self._order(("lead", arm, {"joints": dict(joints)}))

    def judge(self) -> tuple[bool, list[float]]:
        """Whether the task is done now, and the true positions of its bodies in W, m."""
        return self._order(("judge", "", {}))

    def _order(self, order: tuple[str, str, dict[str, Any]]) -> Any:
        if self._orders is None:
            raise DeviceError("emulator: not open")
        self._asked += 1
        try:
            self._orders.send((self._asked, *order))
        except OSError:
            raise DeviceError("emulator: its process ended") from None
        return self._answer(ANSWER_S)

    def _answer(self, wait_s: float) -> Any:
        assert self._orders is not None
        due = time.monotonic() + wait_s
        try:
            while self._orders.poll(max(0.0, due - time.monotonic())):
                number, answer = self._orders.recv()
                if number == self._asked:  # else it answers a question that was given up
                    return answer
        except (EOFError, OSError):
            pass
        raise DeviceError("emulator: its process ended or does not answer")


def _serve(rig: Rig, stage: Stage | None, folder: Path, orders: Connection) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # the one who started it ends it
        signal.signal(number, signal.SIG_IGN)
    clock = RealClock()
    try:
        emulated, live = _built(rig, stage, folder, clock)
    except TwinloopError as error:
        orders.send((0, str(error)))
        return
    emulated.open()
    _link(folder, emulated.paths)
    door = Door(folder, rig)
    door.open()
    orders.send((0, dict(emulated.paths)))
    parent = os.getppid()
    while os.getppid() == parent:
        emulated.serve(clock.now() + SLICE_NS)
        asked = door.receive()
        if asked is not None:
            door.answer(asked[1], _answer_to(asked[0], emulated, live, folder))
        if not orders.poll():
            continue
        try:
            number, kind, arm, values = orders.recv()
        except EOFError:
            break
        orders.send((number, _obey(kind, arm, values, emulated, live, folder)))
    emulated.close()
    door.close()
    shutil.rmtree(folder, ignore_errors=True)  # a parent that was killed does not


def _built(
    rig: Rig, stage: Stage | None, folder: Path, clock: RealClock
) -> tuple[EmulatedRig, LiveStage | None]:
    """Raises `TwinloopError` for a rig or a task that cannot be emulated."""
    if stage is None:
        return EmulatedRig(rig, clock), None
    live = LiveStage(build_stage(rig, stage), folder)
    live.open()
    emulated = EmulatedRig(rig, clock, live.twin, lambda: live.tell(clock.now()))
    live.place(stage.seed)
    return emulated, live


def _obey(
    kind: str, arm: str, values: dict[str, Any], emulated: EmulatedRig, live: LiveStage | None, folder: Path
) -> Any:
    """Carry out an order; what it is answered."""
    if kind in ("place", "judge", "camera"):
        if live is None:
            return None
        if kind == "place":
            live.place(values["seed"])
        elif kind == "camera":
            live.tell_fault(arm, values["fault"], RealClock().now())
        return live.judge()
    if kind == "lead":
        emulated.hand.take({prefix(arm) + joint: q for joint, q in values["joints"].items()})
        return None
    terminal = emulated.terminals[arm]
    if kind == "faults":
        for name, value in values.items():
            if not hasattr(terminal.line.faults, name):
                raise AttributeError(f"no fault '{name}'")
            setattr(terminal.line.faults, name, value)
    elif kind in ("heat", "overload"):
        servo = emulated.servo(arm, values.pop("id"))
        getattr(servo, kind)(**values)
    elif kind == "push":
        emulated.joint(arm, values["id"]).push(values["torque_n_m"])
    elif kind == "unplug":
        terminal.close()
    elif not terminal.is_open:
        terminal.open()
        _link(folder, emulated.paths)
    return dict(emulated.paths)


def _answer_to(
    order: tuple[str, str, dict[str, Any]], emulated: EmulatedRig, live: LiveStage | None, folder: Path
) -> str:
    """Carry out an order that came from elsewhere, which may be any; what was wrong with it."""
    try:
        _obey(*order, emulated, live, folder)
    except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    if order[0] == "camera" and live is None:
        return "no cameras: it was started without a task"
    return ""


def _link(folder: Path, terminals: Mapping[str, str]) -> None:
    """Paths that stay the same whatever terminal is behind them."""
    for arm, terminal in terminals.items():
        fresh = folder / f".{arm}"
        fresh.symlink_to(terminal)
        os.replace(fresh, folder / arm)
