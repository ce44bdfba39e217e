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
from ...robot.errors import DeviceError, UsageError
from ...robot.process.sessions import memory
from ...robot.rig import Rig
from .rig import EmulatedRig, servo_ids
from .stage import LiveStage, Stage, build_stage

START_S = 60.0  # importing MuJoCo and compiling the scene on a busy machine
ANSWER_S = 5.0
SLICE_NS = 2_000_000  # between two looks at the orders


class EmulatorProcess:
    """Serves `rig` until `close`; the faults of its lines are switched by `faults`, `unplug` and `plug`.

    With a `stage` a task's objects stand around the arms, cameras can look at them (`folder` is what
    `sim.emulate.camera` needs), episodes are placed and judged.
    `paths` stay the same through `unplug` and `plug`, as a real port's name under /dev/serial/by-id does.
    """

    def __init__(self, rig: Rig, stage: Stage | None = None) -> None:
        self.paths: dict[str, str] = {}  # arm -> path of its serial port
        self._stage = stage
        self._links: tempfile.TemporaryDirectory[str] | None = None
        self._rig = rig
        self._process: BaseProcess | None = None
        self._orders: Connection | None = None
        self._asked = 0  # number of the latest order

    def open(self) -> None:
        """Start it. Raises `DeviceError` when it does not come up."""
        context = mp.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._links = tempfile.TemporaryDirectory(prefix="twinloop-emulate-", dir=memory())
        self._process = context.Process(
            target=_serve, args=(self._rig, self._stage, self.folder, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            self._link(self._answer(START_S))
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

    def faults(self, arm: str, **faults: Any) -> None:
        """Set fields of the `Faults` of an arm's line."""
        self._order(("faults", arm, faults))

    def ids(self, arm: str) -> tuple[int, ...]:
        """Ids of the servos of `arm`, in the order of its joints."""
        return servo_ids(self._rig, arm)

    def heat(self, arm: str, id: int, temperature_c: float | None) -> None:
        """Make a servo that hot, whatever it does; None ends that. Raises `UsageError` for an id that is none."""
        self._check(arm, id)
        self._order(("heat", arm, {"id": id, "temperature_c": temperature_c}))

    def overload(self, arm: str, id: int) -> None:
        """Let a servo's firmware find an overload. It is over as on real ones: when the torque of an STS3215 is
        switched, and when a Dynamixel is rebooted."""
        self._check(arm, id)
        self._order(("overload", arm, {"id": id}))

    def push(self, arm: str, id: int, torque_n_m: float) -> None:
        """Push the joint of a servo by hand, until another push; 0 ends it. Without its torque the joint follows."""
        self._check(arm, id)
        self._order(("push", arm, {"id": id, "torque_n_m": torque_n_m}))

    def unplug(self, arm: str) -> None:
        """Pull the arm's plug: its path hangs up."""
        self._order(("unplug", arm, {}))

    def plug(self, arm: str) -> None:
        """Plug the arm in again."""
        self._link(self._order(("plug", arm, {})))

    def place(self, seed: int) -> None:
        """Put the task's objects where the draw of `seed` has them; the arms stay as they are."""
        self._order(("place", "", {"seed": seed}))

    def judge(self) -> tuple[bool, list[float]]:
        """Whether the task is done now, and the true positions of its bodies in W, m."""
        return self._order(("judge", "", {}))

    def camera_fault(self, camera: str, fault: str) -> None:
        """Make `camera` "frozen", "slow" or "gone"; "" ends that."""
        self._order(("camera", camera, {"fault": fault}))

    def _check(self, arm: str, id: int) -> None:
        if id not in self.ids(arm):
            raise UsageError(f"servo {id}: {arm} has the servos {', '.join(map(str, self.ids(arm)))}")

    def _link(self, terminals: Mapping[str, str]) -> None:
        assert self._links is not None
        for arm, terminal in terminals.items():
            link = Path(self._links.name) / arm
            fresh = link.with_name(f".{arm}")
            fresh.symlink_to(terminal)
            os.replace(fresh, link)
            self.paths[arm] = str(link)

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
    live: LiveStage | None = None
    if stage is None:
        emulated = EmulatedRig(rig, clock)
    else:
        live = LiveStage(build_stage(rig, stage), folder)
        live.open()
        tell = live.tell
        emulated = EmulatedRig(rig, clock, live.twin, lambda: tell(clock.now()))
        live.place(stage.seed)
    emulated.open()
    orders.send((0, dict(emulated.paths)))
    parent = os.getppid()
    while os.getppid() == parent:
        emulated.serve(clock.now() + SLICE_NS)
        if not orders.poll():
            continue
        try:
            number, kind, arm, values = orders.recv()
        except EOFError:
            break
        if live is not None and kind in ("place", "judge", "camera"):
            if kind == "place":
                live.place(values["seed"])
            elif kind == "camera":
                live.tell_fault(arm, values["fault"], clock.now())
            orders.send((number, live.judge()))
            continue
        terminal = emulated.terminals[arm]
        if kind == "faults":
            for name, value in values.items():
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
        orders.send((number, dict(emulated.paths)))
    emulated.close()
    shutil.rmtree(folder, ignore_errors=True)  # a parent that was killed does not
