"""An arm behind its maker's control box: one thread owns the vendor's SDK, so that the guard's cycle never waits."""

from __future__ import annotations

import contextlib
import importlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..errors import DeviceError
from ..interfaces import Clock
from ..types import F64
from .chain import NEAR_RAD

log = logging.getLogger(__name__)

POLL_S = 0.004  # between two looks at the state while no goal comes: below the guard's 5 ms
AGAIN_S = 0.5  # between two attempts to reach a box that went away or is in error
SILENT_NS = 1_000_000_000  # without a new state the link counts as gone, whatever the SDK says
END_S = 5.0  # an SDK call ends within that, or closing says so
FAREWELL_S = 2.0
NEAR_M = 0.005  # a first width after an interruption may be that far from where the pads are
BACK = "was interrupted; re-arm to go on from where it stands"


class VendorFault(DeviceError):
    """The arm itself is in error; the message is the vendor's text and the way out."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One state as the vendor's box reports it; NaN is what it does not report."""

    q: F64  # (n,) rad
    dq: F64  # (n,) rad/s
    tau: F64  # (n,) N·m
    temperature_c: F64  # (n,)
    voltage_v: F64  # (n,)
    width_m: float = np.nan  # m between the pads
    width_ns: int = 0  # when that was measured, where it does not come with the rest
    force_n: float = np.nan  # N, + closes
    faults: tuple[str, ...] = ()


class Controller(Protocol):
    """What a vendor's SDK is asked to do, by one thread at a time. Every method may raise `DeviceError`."""

    def connect(self) -> None:
        """Reach the box and take over: goal := present, then follow goals. Legal again after any failure.

        Clears no error: an arm in error raises `VendorFault`.
        """
        ...

    def sample(self) -> Sample | None:
        """The newest state, or None when it is the one handed out before."""
        ...

    def send(self, q: F64, width_m: float | None) -> None:
        """Follow the goals (n,) rad and, when it is not None, a width in m."""
        ...

    def release(self) -> None:
        """Stop following goals and let go of the box; legal in every state."""
        ...


@dataclass(slots=True)
class _Goals:
    q: F64 | None = None
    width_m: float | None = None
    fresh: bool = False


@dataclass(slots=True)
class _State:
    sample: Sample | None = None
    t_ns: int = 0
    trouble: str = ""  # why there is no newer state
    faulty: bool = False  # `trouble` is the arm's own
    back: frozenset[str] = field(default_factory=frozenset)  # devices that obey no goal that is not near


class Link:
    """The thread between a `Controller` and the devices that share it; the last device to close releases it.

    Reading and commanding take a lock for a few microseconds and never wait for the box. When the box is gone or
    in error the thread tries to take over again; from then on goals far from where the arm stands are refused, and
    the state carries a fault, until somebody commands it from there.
    """

    def __init__(self, name: str, controller: Controller, clock: Clock) -> None:
        self.name = name
        self._controller = controller
        self._clock = clock
        self._users: set[str] = set()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._changed = threading.Condition()  # guards what follows
        self._goals = _Goals()
        self._state = _State()

    def open(self, user: str) -> None:
        """Take over the arm where it stands. Raises `DeviceError` with the vendor's reason."""
        if self._thread is None:
            self._ending, self._goals, self._state = False, _Goals(), _State()
            try:
                self._take_over()
            except BaseException as error:
                with contextlib.suppress(DeviceError):  # the first error is the one to tell
                    self._controller.release()
                if isinstance(error, DeviceError):
                    raise type(error)(f"{user}: {_one_line(error)}") from None
                raise
            self._thread = threading.Thread(target=self._run, name=f"{self.name} link", daemon=True)
            self._thread.start()
        self._users.add(user)

    def close(self, user: str) -> None:
        """Release the arm with its last user. Raises `DeviceError` when the SDK does not return."""
        if user not in self._users:
            return
        self._users.discard(user)
        if self._users or self._thread is None:
            return
        with self._changed:
            self._ending = True
            self._changed.notify()
        thread, self._thread = self._thread, None
        thread.join(END_S)
        if thread.is_alive():
            raise DeviceError(
                f"{self.name}: its SDK has not returned for {END_S:g} s; the arm was not released"
            )
        self._controller.release()

    def is_open(self, user: str) -> bool:
        return user in self._users

    def latest(self, user: str) -> tuple[int, Sample, tuple[str, ...]]:
        """Time of measurement (ns), the state and its faults. Raises `DeviceError` while the box is gone."""
        if user not in self._users:
            raise DeviceError(f"{user}: not open")
        with self._changed:
            state = self._state
            sample, trouble, faulty = state.sample, state.trouble, state.faulty
            t_ns, back = state.t_ns, user in state.back
        if sample is None or (trouble and not faulty):
            raise DeviceError(f"{user}: {trouble or 'no state yet'}; trying again")
        faults = sample.faults if not trouble or trouble in sample.faults else (*sample.faults, trouble)
        return t_ns, sample, (*faults, BACK) if back else faults

    def command(self, user: str, q: F64 | None = None, width_m: float | None = None) -> None:
        """New goals; the thread sends them at once. Raises `DeviceError`, with nothing sent, while it cannot."""
        if user not in self._users:
            raise DeviceError(f"{user}: not open")
        with self._changed:
            state, goals = self._state, self._goals
            if state.trouble or state.sample is None:
                raise DeviceError(f"{user}: {state.trouble or 'no state yet'}; nothing was sent")
            if user in state.back:
                far = q is not None and bool((np.abs(q - state.sample.q) > NEAR_RAD).any())
                far = far or (width_m is not None and abs(width_m - state.sample.width_m) > NEAR_M)
                if far:
                    raise DeviceError(f"{user}: {BACK}")
                state.back -= {user}
            goals.q = goals.q if q is None else q
            goals.width_m = goals.width_m if width_m is None else width_m
            goals.fresh = True
            self._changed.notify()

    # ---------------------------------------------------------------- the thread

    def _run(self) -> None:
        while not self._ending:
            try:
                if self._state.trouble:
                    self._take_over()
                    log.warning("%s: back; %s", self.name, BACK)
                self._exchange()
            except Exception as error:
                if not isinstance(error, DeviceError):
                    log.exception("%s: its driver failed", self.name)
                self._fail(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._ending, AGAIN_S)

    def _exchange(self) -> None:
        """Send what is new, look at the state, and wait for the next goal."""
        with self._changed:
            self._changed.wait_for(lambda: self._goals.fresh or self._ending, POLL_S)
            fresh, self._goals.fresh = self._goals.fresh, False
            q, width_m = self._goals.q, self._goals.width_m
        if fresh and not self._ending:
            assert q is not None
            self._controller.send(q, width_m)
        self._look()
        age = self._clock.now() - self._state.t_ns
        if age > SILENT_NS:
            raise DeviceError(f"no new state for {age / 1e9:.1f} s; check its cable and its power")

    def _look(self) -> bool:
        """Take the newest state; whether there was one. Raises `VendorFault` for one of an arm in error."""
        sample = self._controller.sample()
        if sample is None:
            return False
        with self._changed:
            self._state.sample, self._state.t_ns = sample, self._clock.now()
        if sample.faults:
            raise VendorFault(sample.faults[0])
        return True

    def _take_over(self) -> None:
        """Connect and wait for the first state; no goal is left from before. Raises `DeviceError`."""
        self._controller.connect()
        if not until(self._clock, self._look, SILENT_NS * 1e-9):
            raise DeviceError("connected, but no state came; check its cable and its power")
        with self._changed:
            assert self._state.sample is not None
            self._goals = _Goals(q=self._state.sample.q)  # what a width alone is sent with: where it stands
            # In one piece: between no trouble and the need to begin from here, an old goal would slip through.
            self._state.back = frozenset(self._users)  # nobody, the first time
            self._state.trouble, self._state.faulty = "", False

    def _fail(self, error: Exception) -> None:
        text = _one_line(error)
        with self._changed:
            if text != self._state.trouble:
                log.warning("%s: %s", self.name, text)
            self._state.trouble, self._state.faulty = text, isinstance(error, VendorFault)
            self._goals.fresh = False


def until(clock: Clock, done: Callable[[], bool], limit_s: float) -> bool:
    """Wait for `done`, at most `limit_s`; whether it is."""
    end = clock.now() + round(limit_s * 1e9)
    while not (is_done := done()) and clock.now() < end:
        clock.sleep_until(clock.now() + round(POLL_S * 1e9))
    return is_done


def ended(method: Callable[..., object], *values: object) -> bool:
    """Whether an SDK's farewell returned in time; one that waits for ever on a lost link keeps a thread of ours."""
    done = threading.Event()

    def last() -> None:
        try:
            method(*values)
        except Exception as error:
            log.info("saying goodbye: %s", _one_line(error))
        done.set()

    threading.Thread(target=last, name="farewell", daemon=True).start()
    return done.wait(FAREWELL_S)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def vendor_module(module: str, extra: str) -> Any:
    """The vendor's package. Raises `DeviceError` that names the extra which installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DeviceError(f"{error}; install the arm's SDK: pip install 'twinloop[{extra}]'") from None
