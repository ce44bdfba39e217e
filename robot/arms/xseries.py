"""Dynamixel X series in an arm, several models on one bus: their registers in SI units. Implements `Family`.

Addresses, units and model numbers: Robotis e-manual, "Control Table" of each model. Torque constants are the
datasheets' stall torque over stall current (at 5 V for the XL330, at 12 V for the others); the XL430 has no current
sensor, its load is a duty cycle, which becomes a torque as that of the STS3215 does.

One cycle reads 21 bytes from the current to the temperature, not the 13 that indirect addressing would leave of
them: a servo that lost its power for a moment has its indirect addresses back at the factory's, and would go on
answering, with zeros for positions. Registers at their own addresses are true after a reboot, too, and the same for
all models; the indirect ones of an XL330 lie elsewhere than an XL430's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..buses import Answer, Bus
from ..buses.bus import ATTEMPTS, SETUP_NS
from ..buses.dynamixel import ALERT, REBOOT, fast_sync_read
from ..buses.framing import PING
from ..errors import DeviceError, RigError, nearest
from .family import Feedback, WatchdogState
from .motor import Motor

log = logging.getLogger(__name__)

COUNTS, CENTRE = 4096, 2048
SPEED_UNIT = 0.229 / 60.0  # turns per second
TORQUE, ERROR_STATUS, WATCHDOG, GOAL, PRESENT, POSITION_NOW, PRESENT_BYTES = 64, 70, 98, 116, 126, 132, 21
EEPROM_BYTES, RAM_BYTES = 64, 84  # of the table that is looked at while setting up
REGISTERS: Mapping[str, tuple[int, int]] = (
    MappingProxyType(  # that an arm may ask to be set: (address, bytes)
        {
            "return_delay": (9, 1),
            "drive_mode": (10, 1),
            "operating_mode": (11, 1),
            "secondary_id": (12, 1),
            "homing_offset": (20, 4),
            "d": (80, 2),
            "p": (84, 2),
            "goal_current": (102, 2),
            "profile_acceleration": (108, 4),
            "profile_velocity": (112, 4),
        }
    )
)
POSITION, EXTENDED, CURRENT_BASED = 3, 4, 5  # operating modes
WANTED: Mapping[str, int] = MappingProxyType(
    {
        "return_delay": 0,
        "drive_mode": 0,  # counts grow counter-clockwise; what is mirrored, the chain mirrors
        "operating_mode": EXTENDED,  # the guard has the limits: no jump of a turn for a horn that is one tooth off
        "secondary_id": 255,  # none: every servo gets a goal of its own
        "p": 800,
        "profile_acceleration": 0,  # the guard shapes the way
        "profile_velocity": 0,
    }
)
HARDWARE_ERRORS: Mapping[int, str] = MappingProxyType(  # bits of the register
    {1: "voltage", 4: "overheat", 8: "encoder", 16: "electrical_shock", 32: "overload"}
)
# Ten units of 20 ms. Longer than what the guard gets over by itself (a stalled cycle, 50 ms of stale state, an
# adapter that is reset), since a servo that stopped needs a person; short enough for an arm at 1 rad/s to be still
# within 0.2 rad of where its host left it.
WATCHDOG_UNITS, WATCHDOG_UNIT_NS = 10, 20_000_000
STOPPED = 255  # -1
BOOT_LOOKS = 100  # times SETUP_NS, for a servo that was rebooted
FAST_TRIES = 2


@dataclass(frozen=True, slots=True)
class XModel:
    """One model, seen at its output shaft."""

    name: str
    number: int  # as its register has it
    kt: float  # N·m/A
    ohm: float
    current_unit_a: float | None = 2.69e-3  # None: it has no current sensor
    current_max: int = 0  # units: the largest limit


MODELS: Mapping[str, XModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            XModel("xl330_m077", 1190, 0.215 / 1.47, 5.0 / 1.47, 1e-3, 1750),
            XModel("xl330_m288", 1200, 0.52 / 1.47, 5.0 / 1.47, 1e-3, 1750),
            XModel("xl430_w250", 1060, 1.5 / 1.4, 12.0 / 1.4, None),
            XModel("xm430_w350", 1020, 4.1 / 2.3, 12.0 / 2.3, current_max=1193),
            XModel("xm540_w270", 1120, 10.6 / 4.4, 12.0 / 4.4, current_max=2047),
        )
    }
)


class BusWatchdog:
    """The register of that name. Implements `Watchdog`."""

    limit_ns = WATCHDOG_UNITS * WATCHDOG_UNIT_NS

    def states(self, bus: Bus, ids: Sequence[int]) -> dict[int, WatchdogState]:
        names: dict[int, WatchdogState] = {STOPPED: "stopped", WATCHDOG_UNITS: "armed"}
        answers = bus.sync_read(ids, WATCHDOG, 1)
        return {id: names.get(answer.data[0], "off") for id, answer in answers.items()}

    def arm(self, bus: Bus, ids: Sequence[int]) -> None:
        bus.sync_write(WATCHDOG, dict.fromkeys(ids, bytes((WATCHDOG_UNITS,))))

    def clear(self, bus: Bus, ids: Sequence[int]) -> None:
        bus.sync_write(WATCHDOG, dict.fromkeys(ids, b"\0"))


class XSeriesFamily:
    """The servos of `motors`, each of its own model and with its own registers.

    Whether all firmwares know the fast sync read is found out by the first reads, which opening an arm makes. One
    damaged bit or missing servo costs all of its answers, so the cycle after such a one is read plainly, and so are
    the next until everybody answers again. Raises `RigError` for a servo or a register that is not known.
    """

    counts_turns = True  # in both modes that an arm uses

    def __init__(self, motors: Iterable[Motor]) -> None:
        self.watchdog = BusWatchdog()
        self._models: dict[int, XModel] = {}
        self._wanted: dict[int, dict[str, int]] = {}
        self._fast: bool | None = None  # None: nobody knows yet
        self._tries = FAST_TRIES
        self._plainly = False  # the next cycle
        for motor in motors:
            if motor.servo not in MODELS:
                raise RigError(f"{motor.name}: unknown servo '{motor.servo}'{nearest(motor.servo, MODELS)}")
            for name in motor.registers:
                if name not in REGISTERS:
                    raise RigError(f"{motor.name}: unknown register '{name}'{nearest(name, REGISTERS)}")
            for id in motor.ids:
                self._models[id] = MODELS[motor.servo]
                self._wanted[id] = {**WANTED, **motor.registers}

    def read(self, bus: Bus, ids: Sequence[int]) -> dict[int, Feedback]:
        answers = self._present(bus, ids)
        alerting = [id for id, answer in answers.items() if answer.error & ALERT]
        faults = self._faults(bus, alerting) if alerting else {}
        return {id: self.decode(id, answer.data, faults.get(id, ())) for id, answer in answers.items()}

    def holding(self, bus: Bus, ids: Sequence[int]) -> dict[int, bool]:
        return {id: answer.data == b"\1" for id, answer in bus.sync_read(ids, TORQUE, 1).items()}

    def command(self, bus: Bus, turns: Mapping[int, float]) -> None:
        bus.sync_write(GOAL, {id: _signed(round(value * COUNTS) + CENTRE, 4) for id, value in turns.items()})

    def decode(self, id: int, data: bytes, faults: tuple[str, ...] = ()) -> Feedback:
        """The bytes from the current to the temperature."""
        model = self._models[id]
        current, speed, counts = _number(data[0:2]), _number(data[2:6]), _number(data[6:10])
        volts, turns_s = _number(data[18:20]) / 10.0, speed * SPEED_UNIT
        if model.current_unit_a is not None:
            torque = current * model.current_unit_a * model.kt
        else:
            duty = current / 1000.0
            torque = duty * volts * model.kt / model.ohm - model.kt**2 / model.ohm * turns_s * 2.0 * math.pi
        return Feedback((counts - CENTRE) / COUNTS, turns_s, torque, float(data[20]), volts, faults)

    def prepare(self, bus: Bus, id: int) -> None:
        """As `Family` says. A servo that has shut down is rebooted: it holds nothing that could fall. One with an
        error that still holds keeps both, and reports the error: not all of them shut a servo down."""
        model = self._models[id]
        number = int.from_bytes(bus.read(id, 0, 2), "little")
        if number != model.number:
            names = {m.number: m.name for m in MODELS.values()}
            found = names.get(number, f"model {number}")
            raise DeviceError(f"servo {id}: is an {found}, an {model.name} ({model.number}) is needed")
        holds = bus.read(id, TORQUE, 1) == b"\1"
        if errors := _named(bus.read(id, ERROR_STATUS, 1)[0]):
            if holds:
                log.warning(
                    "servo %d: %s, and holds; let the arm lie down, close it and open it anew to clear that",
                    id,
                    ", ".join(errors),
                )
            else:
                self._revive(bus, id)
        self._disarm(bus, id, holds)
        self._set(bus, id, holds, bus.read(id, 0, EEPROM_BYTES), 0)
        self._set(bus, id, holds, bus.read(id, TORQUE, RAM_BYTES), TORQUE)

    def torque(self, bus: Bus, id: int, on: bool) -> None:
        if not on:
            bus.write(id, WATCHDOG, b"\0")
        bus.write(id, TORQUE, bytes((on,)))

    def _present(self, bus: Bus, ids: Sequence[int]) -> dict[int, Answer]:
        if self._fast is not False and not self._plainly:
            answers = fast_sync_read(bus, ids, PRESENT, PRESENT_BYTES)
            if answers:
                self._fast = True
                return answers
            self._tries -= 1
            self._plainly = self._fast is True
            if self._fast or self._tries > 0:
                return {}
        answers = bus.sync_read(ids, PRESENT, PRESENT_BYTES)
        if len(answers) == len(ids):
            self._plainly = False
            if self._fast is None:
                self._fast = False
                log.info("bus: a firmware does not know the fast sync read; reading plainly")
        return answers

    def _faults(self, bus: Bus, ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
        answers = bus.sync_read(ids, ERROR_STATUS, 1)
        return {id: _named(answers[id].data[0]) if id in answers else ("hardware_error",) for id in ids}

    def _revive(self, bus: Bus, id: int) -> None:
        """Reboot a servo that has shut down. Raises `DeviceError` that names what is still wrong with it."""
        before = _named(bus.read(id, ERROR_STATUS, 1)[0])
        bus.exchange(bus.framing.packet(id, REBOOT, b""), [id], 0, SETUP_NS)
        ping = bus.framing.packet(id, PING, b"")
        if not any(bus.exchange(ping, [id], 3, SETUP_NS) for _ in range(BOOT_LOOKS)):
            raise DeviceError(f"servo {id}: had shut down ({', '.join(before)}) and did not come back")
        after = _named(bus.read(id, ERROR_STATUS, 1)[0])
        if after:
            raise DeviceError(
                f"servo {id}: shut down ({', '.join(after)}), and a reboot does not clear it; let it cool, check its "
                "supply and what it drives"
            )
        log.warning("servo %d: had shut down (%s); rebooted", id, ", ".join(before))

    def _disarm(self, bus: Bus, id: int, holds: bool) -> None:
        """End a watchdog that another host left. A stopped servo must not go on to the goal of before: the new one
        follows at once, without waiting for an answer in between."""
        for _ in range(ATTEMPTS):
            if bus.read(id, WATCHDOG, 1) == b"\0":
                return
            present = bus.read(id, POSITION_NOW, 4)
            bus.sync_write(WATCHDOG, {id: b"\0"})
            if holds:
                bus.sync_write(GOAL, {id: present})
        raise DeviceError(f"servo {id}: its bus watchdog does not end; switch its power off and on")

    def _set(self, bus: Bus, id: int, holds: bool, table: bytes, start: int) -> None:
        """Write what differs in a part of the table that begins at `start`."""
        for name, value in self._wanted[id].items():
            address, size = REGISTERS[name]
            at = address - start
            if not 0 <= at < len(table) or (name == "goal_current" and not self._models[id].current_unit_a):
                continue
            data = _signed(value, size)
            if table[at : at + size] == data:
                continue
            if address < EEPROM_BYTES and holds:
                raise DeviceError(
                    f"servo {id}: {name.replace('_', ' ')} is {_number(table[at : at + size])}, {value} is needed, "
                    "and it cannot be set while the servo holds; let the arm lie down and switch its power off and on"
                )
            bus.write(id, address, data)


def current_units(servo: str, torque_n_m: float) -> int:
    """The current register's value for a torque of `servo`, at most what the servo stands.

    For models with a current sensor.
    """
    model = MODELS[servo]
    assert model.current_unit_a is not None
    return min(model.current_max, round(torque_n_m / model.kt / model.current_unit_a))


def _named(status: int) -> tuple[str, ...]:
    return tuple(name for bit, name in HARDWARE_ERRORS.items() if status & bit)


def _number(data: bytes) -> int:
    """Two's complement; a single byte has no sign."""
    return int.from_bytes(data, "little", signed=len(data) > 1)


def _signed(value: int, size: int) -> bytes:
    if size == 1:
        return bytes((value,))
    most = (1 << 8 * size - 1) - 1
    return max(-most, min(most, value)).to_bytes(size, "little", signed=True)
