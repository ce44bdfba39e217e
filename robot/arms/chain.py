"""The servos of an arm and its gripper on one bus: one cycle reads all, each device takes its share."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType

from ..buses import Bus
from ..errors import DeviceError
from ..interfaces import Clock
from .family import Family, Feedback, Watchdog
from .motor import TURN, Motor, Reading, in_joint

log = logging.getLogger(__name__)

ATTEMPTS = 50  # cycles, 0.2 s, in which every motor must answer once, while opening
OUTSIDE_RAD = 0.3  # a joint that is opened may stand that far outside its range: it sagged, it was pushed
NEAR_RAD = 0.02  # a first goal after an interruption may be that far from where the motor stands
AGAIN_NS = 200_000_000  # between two attempts to open a port that went away
LOOK_NS = 20_000_000  # between two looks at the torque of one servo after the other
LATE_NS = 80_000_000  # a look waits that long for a cycle in which all answer
SILENT_NS = 40_000_000  # a motor without an answer for that long is named, before its arm is stale
NO_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType({})
INTERRUPTED: Mapping[str, str] = MappingProxyType(  # fault -> what happened
    {"lost_power": "lost its power", "motor_watchdog": "stopped by itself, since nobody spoke to it"}
)


class ServoChain:
    """All motors on one bus; the devices that share it open, read and close it independently.

    Every device calls `cycle` under its own name: the first that has seen the last readings asks the servos
    anew, the others get what it got.

    Where the servos have a watchdog, it is armed by the first goal: before that they only hold, and whoever opens
    an arm may take his time. It is looked after whenever a servo has not answered for half its limit, and off
    again before torque goes off.

    A servo that lost its power alone is found by its torque, which is off: it is looked at before a servo that
    missed an answer is trusted again, and of one servo after the other, 20 ms apart, so of six within 0.12 s and of
    nine within 0.18 s; 0.1 s apart while one is silent, whose answer the cycle waited for. A cycle makes one such
    look, or one at watchdogs, beyond its reading. What went limp is told to stand where it is, which takes that cycle
    longer, and obeys no goal that is not near; one that let go for a fault that it reports stays as it is.
    """

    def __init__(self, bus: Bus, family: Family, motors: Sequence[Motor], clock: Clock) -> None:
        self.bus = bus
        self._family = family
        self._motors = {motor.name: motor for motor in motors}
        self._ids = [id for motor in motors for id in motor.ids]
        self._clock = clock
        self._users: set[str] = set()
        self._seen: set[str] = set()  # users that have had the latest readings
        self._readings: dict[str, Reading] = {}
        self._lost_ns: int | None = None  # when the port went away, or was last tried
        self._on: set[int] = set()  # ids whose torque we switched on
        self._found: set[int] = set()  # ids that held before they were opened, and have had no goal since
        self._dropped: dict[str, str] = {}  # interrupted motor -> fault; obeys no goal that is not near
        self._ranges: dict[str, tuple[float, float]] = {}  # rad, of the joints that are open
        self._ahead: dict[str, float] = {}  # motor -> rad, whole turns, by which its encoder is ahead
        self._shifts: dict[int, float] = {}  # id -> turns by which its encoder is ahead of its shaft's first
        self._led: set[int] = set()  # ids that have had a goal
        self._unsure: set[int] = set()  # ids whose torque may be off
        self._look_ns = self._looked = 0  # when the next one's turn is; the id whose turn was the last
        self._watched: set[int] = set()  # ids whose watchdog is known to be armed
        self._heard_ns: dict[int, int] = {}  # id -> its latest answer

    def open(
        self, user: str, names: Sequence[str], ranges: Mapping[str, tuple[float, float]] = NO_RANGES
    ) -> None:
        """Make the motors `names` hold where they are: goal := present, then torque on.

        Where servos count turns, and forget them without power, an angle outside its range in `ranges`, rad, is taken
        for the one in it that is whole turns away. Raises `DeviceError`, for one that stays far outside, too.
        """
        if not self._users:
            self.bus.open()
        self._users.add(user)
        self._ranges.update(ranges)
        self._energise(names, opening=True)

    def close(self, user: str, names: Sequence[str]) -> None:
        """Let go of `names`, but not of what held before it was opened and has had no goal since: another device
        could not be opened. The last user closes the port. Raises the first error, after trying all."""
        if user not in self._users:
            return
        try:
            self._release(names)
        finally:
            self._users.discard(user)
            self._seen.discard(user)
            if not self._users:
                self.bus.close()
                log.info("bus: %s", self.bus.counters.line())

    def slacken(self, user: str, names: Sequence[str]) -> None:
        """Let go of `names`, and read on. Raises the first error, after trying all."""
        self._must_be_open(user)
        self._found.difference_update(*(self._motors[name].ids for name in names))
        self._release(names)

    def stiffen(self, user: str, names: Sequence[str]) -> None:
        """Make `names` hold where they are now: goal := present, then torque on."""
        self._must_be_open(user)
        self._energise(names)

    def is_open(self, user: str) -> bool:
        return user in self._users

    def cycle(self, user: str, names: Sequence[str]) -> list[Reading]:
        """The latest readings of the motors `names`; those that did not answer this time keep theirs.

        Raises `DeviceError` while the port is gone (it is opened again once it is back), and when a motor has
        not answered since the port was opened, or for 40 ms.
        """
        self._must_be_open(user)
        if self._lost_ns is not None:
            self._find_again()
        if user in self._seen or not self._seen:
            self._seen.clear()
            now_ns = self._clock.now()
            answers = self._ask()
            watchdog = self._family.watchdog
            if watchdog is None or not self._watch(watchdog, answers.keys(), now_ns):
                self._look(answers, now_ns)
        self._seen.add(user)
        return self._latest(names)

    def command(self, goals_rad: Mapping[str, float]) -> None:
        """Write joint angles as goals, rad.

        Raises `DeviceError`, with nothing sent, for an angle that is not finite, and for a motor that lost its
        power and is told to go elsewhere than it stands: where it is, nobody meant it to be.
        """
        for name, angle in goals_rad.items():
            if not math.isfinite(angle):
                raise DeviceError(f"{name}: goal {angle} is not finite; nothing was sent")
            fault = self._dropped.get(name)
            seen = self._readings.get(name)
            if fault is not None and (seen is None or abs(angle - seen.q) > NEAR_RAD):
                raise DeviceError(f"{name}: {INTERRUPTED[fault]}; re-arm to go on from where it stands")
        self._send(goals_rad)
        for name in goals_rad:
            self._dropped.pop(name, None)
            self._led.update(self._motors[name].ids)
            self._found.difference_update(self._motors[name].ids)

    @property
    def watchdog_ns(self) -> int | None:
        """After how long a silence the servos stop by themselves; None: they do not."""
        return None if self._family.watchdog is None else self._family.watchdog.limit_ns

    def _must_be_open(self, user: str) -> None:
        if user not in self._users:
            raise DeviceError(f"{user}: not open")

    def _release(self, names: Sequence[str]) -> None:
        """Torque off. Raises the first error, after trying all."""
        errors: list[DeviceError] = []
        ids = {id for name in names for id in self._motors[name].ids}
        self._on -= ids & self._found
        self._found -= ids
        for id in sorted(ids & self._on):  # opening failed before the others: what holds there is not ours
            self._led.discard(id)
            try:
                self._family.torque(self.bus, id, False)
                self._on.discard(id)
            except DeviceError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _send(self, goals_rad: Mapping[str, float]) -> None:
        turns: dict[int, float] = {}
        for name, angle in goals_rad.items():
            motor = self._motors[name]
            first = motor.sign * (angle + self._ahead.get(name, 0.0) - motor.zero_rad) / TURN
            for id, mirrored in zip(motor.ids, motor.mirrored, strict=True):
                shifted = first + self._shifts.get(id, 0.0)
                turns[id] = -shifted if mirrored else shifted
        try:
            self._family.command(self.bus, turns)
        except DeviceError:
            if self._lost_ns is None:  # else `cycle` waits for its next attempt
                self._lost_ns = self._clock.now()
            raise

    def _hold(self, names: Sequence[str], opening: bool) -> None:
        """Goal := present, each servo's own: two on one shaft are never told to pull against one another."""
        seen: dict[int, Feedback] = {}
        waiting = list(names)  # what was read before is no present position
        for _ in range(ATTEMPTS):
            answers = self._ask()
            for name in [n for n in waiting if answers.keys() >= set(self._motors[n].ids)]:
                seen |= {id: answers[id] for id in self._motors[name].ids}
                waiting.remove(name)
            if not waiting:
                break
        if waiting:
            raise DeviceError(f"{', '.join(waiting)}: no answer; check power, cables and ids")
        for name in names:
            self._place(name, opening)
        latest = self._latest(names)
        for motor in (self._motors[name] for name in names):
            ends = [
                -seen[id].turns if mirrored else seen[id].turns
                for id, mirrored in zip(motor.ids, motor.mirrored, strict=True)
            ]
            self._shifts.update({id: end - ends[0] for id, end in zip(motor.ids, ends, strict=True)})
        self._send({name: reading.q for name, reading in zip(names, latest, strict=True)})

    def _place(self, name: str, opening: bool) -> None:
        """Find the turn in which a joint stands. Raises `DeviceError` when it is opened far outside its range."""
        if name not in self._ranges:
            return
        low, high = self._ranges[name]
        reading = self._readings[name]

        def outside(q: float) -> float:
            return max(low - q, q - high, 0.0)

        turned = reading.q - TURN * round((reading.q - (low + high) / 2.0) / TURN)
        if self._family.counts_turns and outside(turned) < outside(reading.q):
            self._ahead[name] = self._ahead.get(name, 0.0) + reading.q - turned
            self._readings[name] = reading = replace(reading, q=turned)
        if opening and outside(reading.q) > OUTSIDE_RAD:
            raise DeviceError(
                f"{name}: stands at {reading.q:.2f}, its range is {low:.2f}..{high:.2f} rad; move it there by hand, "
                "with its power off, or calibrate the arm"
            )

    def _latest(self, names: Sequence[str]) -> list[Reading]:
        since = self._clock.now() - SILENT_NS
        silent = [n for n in names if n not in self._readings or self._readings[n].t_ns < since]
        if silent:
            raise DeviceError(f"{', '.join(silent)}: no answer; check power, cables and ids")
        return [
            replace(reading, faults=(*reading.faults, self._dropped[name]))
            if name in self._dropped
            else reading
            for name, reading in ((name, self._readings[name]) for name in names)
        ]

    def _ask(self) -> dict[int, Feedback]:
        """One cycle of the bus. A motor whose servos did not all answer keeps its reading, and its time."""
        asked_ns = self._clock.now()
        try:
            answers = self._family.read(self.bus, self._ids)
            t_ns = (asked_ns + self._clock.now()) // 2
            for motor in self._motors.values():
                if answers.keys() >= set(motor.ids):
                    self._readings[motor.name] = in_joint(
                        motor, [answers[id] for id in motor.ids], t_ns, self._ahead.get(motor.name, 0.0)
                    )
        except DeviceError:
            self._lost_ns = self._clock.now()
            raise
        return answers

    def _look(self, answers: Mapping[int, Feedback], now_ns: int) -> None:
        """Find servos whose torque went off, and make them hold once their motor's servos all answer."""
        missing = self._on - answers.keys()
        self._unsure |= missing
        if missing and now_ns < self._look_ns + LATE_NS:  # this cycle has waited a deadline already
            return
        if now_ns >= self._look_ns and self._on:
            self._look_ns = now_ns + LOOK_NS
            self._looked = min((id for id in self._on if id > self._looked), default=min(self._on))
            self._unsure.add(self._looked)
        self._unsure &= self._on
        asked = sorted(self._unsure & answers.keys())
        found = self._family.holding(self.bus, asked) if asked else {}
        off = {id for id, holds in found.items() if not holds and not answers[id].faults}
        self._unsure -= found.keys() - off
        if off:  # one that let go for a fault since it answered says so now
            now = self._family.read(self.bus, sorted(off))
            self._unsure -= {id for id, answer in now.items() if answer.faults}
            off = {id for id, answer in now.items() if not answer.faults}
        limp = {motor.name: motor.ids for motor in self._motors.values() if off.intersection(motor.ids)}
        if not limp:
            return
        self._dropped |= dict.fromkeys(limp, "lost_power")
        whole = [name for name, ids in limp.items() if answers.keys() >= set(ids)]
        if whole:
            self._energise(whole)
            self._unsure.difference_update(*(limp[name] for name in whole))
            log.warning("lost their power: %s", ", ".join(whole))

    def _watch(self, watchdog: Watchdog, answered: Set[int], now_ns: int) -> bool:
        """Arm the watchdogs of servos that were led, and find those that stopped while nobody spoke to them.

        Whether it had to ask.
        """
        long = watchdog.limit_ns // 2
        self._watched -= {id for id in answered if now_ns - self._heard_ns.get(id, now_ns) > long}
        self._heard_ns.update(dict.fromkeys(answered, now_ns))
        unsure = sorted((self._led & answered) - self._watched)
        if not unsure:
            return False
        states = watchdog.states(self.bus, unsure)
        self._watched |= {id for id, state in states.items() if state == "armed"}
        stopped = {id for id, state in states.items() if state == "stopped"}
        if stopped:
            found = [m for m in self._motors.values() if not stopped.isdisjoint(m.ids)]
            self._dropped = dict.fromkeys([m.name for m in found], "motor_watchdog") | self._dropped
            # Two servos on a shaft go on together, and from where they stand now: the others wait, stopped.
            whole = [m for m in found if answered >= set(m.ids) and states.keys() >= set(m.ids) & set(unsure)]
            if whole:
                watchdog.clear(self.bus, [id for m in whole for id in m.ids if id in stopped])
                self._send({m.name: self._readings[m.name].q for m in whole})
                log.warning("%s: %s", ", ".join(m.name for m in whole), INTERRUPTED["motor_watchdog"])
        off = [id for id, state in states.items() if state == "off"]
        if off:
            watchdog.arm(self.bus, off)  # known to be armed when `states` says so, one cycle later
        return True

    def _find_again(self) -> None:
        """Open the port anew. Servos that still hold go on; those that lost power are told to stand where they
        are, and say so until somebody commands them from there."""
        now = self._clock.now()
        if self._lost_ns is not None and now - self._lost_ns < AGAIN_NS:
            raise DeviceError("port gone; trying again")
        self._lost_ns = now
        self.bus.close()
        self.bus.open()
        found = self._family.holding(self.bus, sorted(self._on))
        if len(found) < len(self._on):
            raise DeviceError("port back, but not all servos answer; trying again")
        off = {id for id, holds in found.items() if not holds}
        dropped = {motor.name for motor in self._motors.values() if off.intersection(motor.ids)}
        self._readings.clear()
        if dropped:
            self._energise(sorted(dropped))
        self._lost_ns = None
        self._dropped |= dict.fromkeys(dropped, "lost_power")
        told = f"lost their power: {', '.join(sorted(dropped))}" if dropped else "all held"
        log.warning("port back; %s", told)

    def _energise(self, names: Sequence[str], *, opening: bool = False) -> None:
        """Goal := present, then torque on."""
        ids = [id for name in names for id in self._motors[name].ids]
        self._led -= set(ids)
        self._watched -= set(ids)
        for id in ids:
            self._family.prepare(self.bus, id)
        if opening:
            self._found |= {id for id, holds in self._family.holding(self.bus, ids).items() if holds}
        self._hold(names, opening)
        for id in ids:
            self._family.torque(self.bus, id, True)
            self._on.add(id)
