"""The servos of an arm and its gripper on one bus: one cycle reads all, each device takes its share."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..buses import Bus
from ..errors import DeviceError
from ..interfaces import Clock
from .family import Family, Feedback

log = logging.getLogger(__name__)

TURN = 2.0 * math.pi  # rad
ATTEMPTS = 3  # cycles in which every motor must answer once, while opening
NEAR_RAD = 0.02  # a first goal after lost power may be that far from where the motor stands
AGAIN_NS = 200_000_000  # between two attempts to open a port that went away


@dataclass(frozen=True, slots=True)
class Motor:
    """A joint's servo (or two, on one shaft) and how its encoder lies in the joint."""

    name: str
    ids: tuple[int, ...]  # the first is read; the others turn with it
    zero_rad: float  # joint angle in the middle of the encoder's range
    sign: int = 1  # -1: the encoder counts against the joint
    mirrored: tuple[bool, ...] = (False,)  # by id: mounted the other way round


@dataclass(frozen=True, slots=True)
class Reading:
    """One motor's last answer, in the joint's direction."""

    t_ns: int
    q: float  # rad
    dq: float  # rad/s
    tau: float  # N·m, all its servos together
    temperature_c: float
    voltage_v: float
    faults: tuple[str, ...]


class ServoChain:
    """All motors on one bus; the devices that share it open, read and close it independently.

    Every device calls `cycle` under its own name: the first that has seen the last readings asks the servos
    anew, the others get what it got.
    """

    def __init__(self, bus: Bus, family: Family, motors: Sequence[Motor], clock: Clock) -> None:
        self.bus = bus
        self._family = family
        self._motors = {motor.name: motor for motor in motors}
        self._ids = [motor.ids[0] for motor in motors]
        self._clock = clock
        self._users: set[str] = set()
        self._seen: set[str] = set()  # users that have had the latest readings
        self._readings: dict[str, Reading] = {}
        self._lost_ns: int | None = None  # when the port went away, or was last tried
        self._on: set[int] = set()  # ids whose torque we switched on
        self._dropped: set[str] = set()  # motors that lost power: they obey no goal that is not near

    def open(self, user: str, names: Sequence[str]) -> None:
        """Make the motors `names` hold where they are: goal := present, then torque on. Raises `DeviceError`."""
        if not self._users:
            self.bus.open()
        self._users.add(user)
        self._energise(names)

    def close(self, user: str, names: Sequence[str]) -> None:
        """Let go of `names`; the last user closes the port. Raises the first error, after trying all."""
        if user not in self._users:
            return
        errors: list[DeviceError] = []
        for name in names:
            for id in self._motors[name].ids:
                if id not in self._on:  # opening failed before: what holds there is not ours
                    continue
                try:
                    self._family.torque(self.bus, id, False)
                    self._on.discard(id)
                except DeviceError as error:
                    errors.append(error)
        self._users.discard(user)
        self._seen.discard(user)
        if not self._users:
            self.bus.close()
            log.info("bus: %s", self.bus.counters.line())
        if errors:
            raise errors[0]

    def is_open(self, user: str) -> bool:
        return user in self._users

    def cycle(self, user: str, names: Sequence[str]) -> list[Reading]:
        """The latest readings of the motors `names`; those that did not answer this time keep theirs.

        Raises `DeviceError` while the port is gone (it is opened again once it is back), and when a motor has
        not answered since the port was opened.
        """
        if user not in self._users:
            raise DeviceError(f"{user}: not open")
        if self._lost_ns is not None:
            self._find_again()
        if user in self._seen or not self._seen:
            self._seen.clear()
            self._ask()
        self._seen.add(user)
        return self._latest(names)

    def command(self, goals_rad: Mapping[str, float]) -> None:
        """Write joint angles as goals, rad.

        Raises `DeviceError`, with nothing sent, for an angle that is not finite, and for a motor that lost its
        power and is told to go elsewhere than it stands: where it is, nobody meant it to be.
        """
        packets: dict[int, dict[int, bytes]] = {}
        for name, angle in goals_rad.items():
            if not math.isfinite(angle):
                raise DeviceError(f"{name}: goal {angle} is not finite; nothing was sent")
            if name in self._dropped and abs(angle - self._readings[name].q) > NEAR_RAD:
                raise DeviceError(f"{name}: lost its power; re-arm to go on from where it stands")
            motor = self._motors[name]
            turns = motor.sign * (angle - motor.zero_rad) / TURN
            for id, mirrored in zip(motor.ids, motor.mirrored, strict=True):
                address, data = self._family.goal(-turns if mirrored else turns)
                packets.setdefault(address, {})[id] = data
        for address, values in packets.items():
            try:
                self.bus.sync_write(address, values)
            except DeviceError:
                if self._lost_ns is None:  # else `cycle` waits for its next attempt
                    self._lost_ns = self._clock.now()
                raise
        self._dropped -= goals_rad.keys()

    def _hold(self, names: Sequence[str]) -> None:
        for _ in range(ATTEMPTS):
            self._ask()
            if all(name in self._readings for name in names):
                break
        self.command({name: reading.q for name, reading in zip(names, self._latest(names), strict=True)})

    def _latest(self, names: Sequence[str]) -> list[Reading]:
        silent = [name for name in names if name not in self._readings]
        if silent:
            raise DeviceError(f"{', '.join(silent)}: no answer; check power, cables and ids")
        return [
            replace(reading, faults=(*reading.faults, "lost_power")) if name in self._dropped else reading
            for name, reading in ((name, self._readings[name]) for name in names)
        ]

    def _ask(self) -> None:
        address, size = self._family.feedback
        asked_ns = self._clock.now()
        try:
            answers = self.bus.sync_read(self._ids, address, size)
        except DeviceError:
            self._lost_ns = self._clock.now()
            raise
        t_ns = (asked_ns + self._clock.now()) // 2
        for motor in self._motors.values():
            answer = answers.get(motor.ids[0])
            if answer is not None:
                self._readings[motor.name] = _in_joint(
                    motor, self._family.decode(answer.data, answer.error), t_ns
                )

    def _find_again(self) -> None:
        """Open the port anew. Servos that still hold go on; those that lost power are told to stand where they
        are, and say so until somebody commands them from there."""
        now = self._clock.now()
        if self._lost_ns is not None and now - self._lost_ns < AGAIN_NS:
            raise DeviceError("port gone; trying again")
        self._lost_ns = now
        self.bus.close()
        self.bus.open()
        address, size = self._family.standing
        found = self.bus.sync_read(sorted(self._on), address, size)
        if len(found) < len(self._on):
            raise DeviceError("port back, but not all servos answer; trying again")
        off = {id for id, answer in found.items() if not self._family.holds(answer.data)}
        dropped = {motor.name for motor in self._motors.values() if off.intersection(motor.ids)}
        self._readings.clear()
        if dropped:
            self._energise(sorted(dropped))
        self._lost_ns, self._dropped = None, dropped
        log.warning(
            "port back; %s", f"lost their power: {', '.join(sorted(dropped))}" if dropped else "all held"
        )

    def _energise(self, names: Sequence[str]) -> None:
        """Goal := present, then torque on."""
        for name in names:
            for id in self._motors[name].ids:
                self._family.prepare(self.bus, id)
        self._hold(names)
        for name in names:
            for id in self._motors[name].ids:
                self._family.torque(self.bus, id, True)
                self._on.add(id)


def _in_joint(motor: Motor, seen: Feedback, t_ns: int) -> Reading:
    sign = motor.sign * (-1 if motor.mirrored[0] else 1)
    return Reading(
        t_ns,
        motor.zero_rad + sign * seen.turns * TURN,
        sign * seen.turns_s * TURN,
        sign * seen.torque_n_m * len(motor.ids),
        seen.temperature_c,
        seen.voltage_v,
        seen.faults,
    )
