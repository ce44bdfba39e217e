"""What the guard watches besides commands, and what each finding asks of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..rig import Rig
from ..types import F64
from .devices import Devices
from .monitor import (
    DERATE_TO,
    LONGEST_PAUSE_NS,
    PAUSE_NS,
    SUSTAINED_NS,
    Freshness,
    Heartbeat,
    Pauses,
    Sustained,
    Thermometer,
    beyond,
)

TEMPERATURE_EVERY = 20  # ticks; a winding does not heat faster


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is not as it should be: the limit to count, and what to do if `effect` is not "".

    "hold" and "fault" are modes to go to; `yields` asks to move to the measured pose, so that the motors
    stop pushing.
    """

    limit: str
    effect: str = ""
    reason: str = ""
    yields: bool = False


class Watch:
    """Age of state and frames, heartbeat, temperature, torque, tracking error; one `check` a tick."""

    def __init__(self, rig: Rig, devices: Devices) -> None:
        g = rig.guard
        self._devices = devices
        self._cameras = Freshness(round(g.stale_camera_ms * 1e6))
        self._heart = Heartbeat(round(g.heartbeat_ms * 1e6))
        self._thermometer = Thermometer(g.temperature_derate_c, g.temperature_stop_c)
        self._torque = Sustained(SUSTAINED_NS)
        self._pauses = Pauses(PAUSE_NS, LONGEST_PAUSE_NS)
        self._tracking = Sustained(round(g.tracking_error_ms * 1e6))
        self._lag_max = np.full(devices.n_joints, g.tracking_error_rad)
        self._checks = 0
        self._hot = ""  # which servo is the hottest
        self.speed = 1.0  # share of the velocity limits that the temperature leaves, 0 = stop
        self.blind = False  # some state is stale: nothing may move
        self.overloaded = False  # some torque is above its limit now

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that are watched."""
        return self._cameras.watched

    @property
    def heart(self) -> Heartbeat:
        return self._heart

    @property
    def park_speed(self) -> float:
        """As `speed`, but never 0: parking and then torque off is what cools a servo best."""
        return max(self.speed, DERATE_TO)

    def beat(self, t_ns: int, now: int) -> None:
        """The operator was alive at `t_ns`. Raises `UsageError` for a time that is none."""
        if not isinstance(t_ns, int | np.integer):
            raise UsageError(
                f"guard: heartbeat at {t_ns!r}; times are whole nanoseconds of the guard's clock"
            )
        self._heart.beat(min(int(t_ns), now))

    def note_frame(self, camera: str, t_ns: int, now: int) -> None:
        """A frame was taken at `t_ns`; a time that is none is long ago."""
        self._cameras.note(camera, min(int(t_ns) if isinstance(t_ns, int | np.integer) else 0, now))

    def reset(self) -> None:
        """Forget how long things have been wrong; what still is will be found again."""
        self._torque.reset()
        self._tracking.reset()
        self._pauses.reset()

    def check(self, now: int, sent: F64, running: bool) -> list[Finding]:
        """Findings at `now`; `sent` (M,) is the commanded position, `running` whether a chunk is followed."""
        found: list[Finding] = []
        devices = self._devices
        name = devices.freshness.stale(now)
        self.blind = name is not None
        if name is not None:
            why = f" ({devices.trouble[name]})" if name in devices.trouble else ""
            found.append(Finding("stale_state", "hold", f"{name}: its state is stale{why}"))
        if running and (name := self._cameras.stale(now)) is not None:
            found.append(Finding("stale_camera", "hold", f"{name}: its frame is stale"))
        if running and self._heart.lost(now):
            found.append(Finding("heartbeat", "hold", "the operator's heartbeat is lost"))
        self._checks += 1
        if self._checks % TEMPERATURE_EVERY == 1:
            hottest = devices.hottest()
            self.speed = 1.0 if hottest is None else self._thermometer.speed(hottest[0])
            if hottest is not None:
                self._hot = f"{hottest[1]} is too hot: {hottest[0]:.0f} °C"
        if self.speed < 1.0 and running:
            found.append(Finding("temperature", "" if self.speed else "hold", self._hot))
        self.overloaded = beyond(devices.tau, devices.tau_max)
        if self._torque.update(now, self.overloaded):
            self._torque.reset()
            if running:  # what pushes the same way again and again would heat a motor for ever
                self._pauses.begin(now)
            found.append(Finding("torque", "hold", "torque above its limit", yields=True))
        lag = devices.measured[: devices.n_joints] - sent[: devices.n_joints]
        if self._tracking.update(now, beyond(lag, self._lag_max)):
            self._tracking.reset()
            worst = int(np.argmax(np.abs(lag)))
            reason = f"{devices.names[worst]} is {lag[worst]:+.2f} rad off its command"
            found.append(Finding("tracking", "fault", reason, yields=True))
        return found

    def unfit(self, now: int, yielding: bool) -> str | None:
        """Why no chunk may run now (one of `REJECT_REASONS`); `yielding` = still giving way to a load."""
        if self._devices.freshness.stale(now) is not None:
            return "stale_state"
        if self._cameras.stale(now) is not None:
            return "stale_camera"
        if self._heart.lost(now):
            return "heartbeat"
        if self.speed == 0.0:
            return "temperature"
        return "torque" if self._pauses.lasts(now) or (self.overloaded and yielding) else None
