"""A Dynamixel X servo as its bus sees it: the control table, and what the firmware makes of it.

After the descriptions in Robotis' e-manual. Position modes only; a servo in another mode lets go. Where the manual
leaves a choice, it is the one that is worse for the host: a goal that is older than the torque or than a stop of the
bus watchdog is obeyed as soon as that ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from .motor import Motor, Sensed
from .xtable import (
    BAUDS,
    COUNTS,
    CURRENT,
    CURRENT_BASED,
    EEPROM_END,
    EXTENDED,
    GOALS,
    LIMITS,
    MODELS,
    POSITION,
    PWM,
    PWM_ALL,
    SIZE,
    VELOCITY,
)  # fmt: skip

RESULT_FAIL, INSTRUCTION, DATA_RANGE, DATA_LENGTH, DATA_LIMIT, ACCESS = 1, 2, 4, 5, 6, 7
VOLTAGE, OVERHEAT, ENCODER, SHOCK, OVERLOAD = 1, 4, 8, 16, 32  # bits of the hardware error status
REVERSE = 1  # bit of the drive mode
VELOCITY_UNIT = 0.229 * COUNTS / 60.0  # counts/s
ACCELERATION_UNIT = 214.577 * COUNTS / 3600.0  # counts/s2
WATCHDOG_UNIT_NS = 20_000_000
STOPPED = 255  # of the bus watchdog: -1
BOOT_NS = 100_000_000
# What counts as an overload is not published: nearly the whole duty for a second, without a turn to show for it.
OVERLOAD_DUTY, OVERLOAD_SPEED, OVERLOAD_NS = 0.8, 0.05, 1_000_000_000  # share, turns/s, ns
SINGLE_TURN_OFFSET = 1024  # counts; a larger one is ignored in position mode
FAST_FIRMWARE = 45  # the first that knows the fast sync read


class XServo:
    """One servo: `read` and `write` its table, `step` its firmware, around any `Motor`."""

    def __init__(self, id: int, model: str, motor: Motor, settings: Mapping[str, int] | None = None) -> None:
        self.motor = motor
        self.model = MODELS[model]
        self.table = self.model.table()
        self._at = {r.address + k: (name, k) for name, r in self.table.items() for k in range(r.size)}
        self._memory = bytearray(SIZE)
        self._hot_c: float | None = None
        self._booting_ns = 0
        self._uptime_ns = 0
        self._first = 0.0  # counts at which the encoder's turn began when the turns were counted last
        self._status = 0
        self._over_ns = 0
        self._silent_ns = 0  # since anybody spoke to it
        self._stand: float | None = None  # counts, where the bus watchdog stopped it
        self._way: float | None = None  # counts, where the ramp to the goal stands; None: torque was off
        self._way_s = 0.0  # counts/s
        self._factory(id, 1)
        for name, value in (settings or {}).items():
            self._put(name, value)
        self._boot()
        self._booting_ns = 0

    @property
    def id(self) -> int:
        return self.get("id")

    @property
    def secondary_id(self) -> int | None:
        """A second id that it obeys and never answers to."""
        id = self.get("secondary_id")
        return id if id <= 252 and id != self.id else None

    @property
    def baud(self) -> int | None:
        """The rate at which it hears and answers."""
        index = self.get("baud")
        return BAUDS[index] if index < len(BAUDS) else None

    @property
    def awake(self) -> bool:
        """It hears nothing while it boots."""
        return self._booting_ns <= 0

    @property
    def alert(self) -> bool:
        """A bit of every answer: look at the hardware error status."""
        return bool(self._status)

    def get(self, name: str) -> int:
        """A register's value."""
        register = self.table[name]
        raw = self._memory[register.address : register.address + register.size]
        return int.from_bytes(raw, "little", signed=register.signed)

    def heard(self) -> None:
        """Somebody spoke to it: its bus watchdog begins anew."""
        self._silent_ns = 0

    def read(self, address: int, size: int) -> tuple[int, bytes]:
        """As a read instruction does: error number and data; between the registers there are zeros."""
        if address + size > SIZE:
            return ACCESS, b""
        self._refresh(self._sense())
        return 0, bytes(self._memory[address : address + size])

    def write(self, address: int, data: bytes, *, by_secondary_id: bool = False) -> int:
        """As a write instruction does: all or nothing; returns the error number."""
        values: dict[str, int] = {}
        at = address
        while at < address + len(data):
            name, offset = self._at.get(at, ("", 0))
            if not name or self.table[name].low is None:
                return ACCESS
            register = self.table[name]
            piece = data[at - address : at - address + register.size]
            if offset or len(piece) < register.size:
                return DATA_LENGTH
            values[name] = int.from_bytes(piece, "little", signed=register.signed)
            at += register.size
        for name, value in values.items():
            if error := self._refusal(name, value, by_secondary_id):
                return error
        for name, value in values.items():
            self._put(name, value)
            self._react(name, value)
        return 0

    def heat(self, temperature_c: float | None) -> None:
        """A fault to be switched on: the servo is that hot, whatever it does; None: as hot as it is."""
        self._hot_c = temperature_c

    def overload(self) -> None:
        """A fault to be switched on: the firmware has found an overload; only a reboot forgets it."""
        self._fail(OVERLOAD)

    def reboot(self) -> None:
        """As the instruction does, and as its supply off and on: only the EEPROM is kept, and it is silent a while."""
        self._boot()

    power_cycle = reboot

    def factory_reset(self, option: int) -> int:
        """0xFF: all, 1: but the id, 2: but id and baud rate; then it boots. Returns the error number."""
        if option not in (0xFF, 1, 2):
            return DATA_RANGE
        if self.get("torque"):
            return ACCESS
        self._factory(1 if option == 0xFF else self.id, self.get("baud") if option == 2 else 1)
        self._boot()
        return 0

    def clear_turns(self) -> int:
        """Count turns anew from the one it stands in. Returns the error number."""
        if self.get("torque") and abs(self.get("velocity")) > 0:
            return RESULT_FAIL
        self._count_turns()
        return 0

    def step(self, dt_ns: int) -> None:
        """Let `dt_ns` of the firmware's time pass: protections, the ramp to the goal, the motor."""
        self._uptime_ns += dt_ns
        if self._booting_ns > 0:
            self._booting_ns -= dt_ns
            self.motor.drive(None, 0.0, 0)
            return
        sensed = self._sense()
        self._protect(sensed, dt_ns)
        self._watch(sensed, dt_ns)
        if not self.get("torque") or self.get("operating_mode") not in (POSITION, EXTENDED, CURRENT_BASED):
            self._way = None
            self.motor.drive(None, 0.0, 0)
            return
        if self._way is None:
            self._way, self._way_s = self._counts(sensed), 0.0
        self._ramp(float(self.get("goal")) if self._stand is None else self._stand, dt_ns * 1e-9)
        self.motor.drive(self._turns(self._way), self._duty(sensed), self.get("p"))

    # ---------------------------------------------------------------- writing

    def _refusal(self, name: str, value: int, by_secondary_id: bool) -> int:
        register = self.table[name]
        assert register.low is not None
        if register.address < EEPROM_END and (self.get("torque") or by_secondary_id):
            return ACCESS
        if name in GOALS and self.get("watchdog") == STOPPED:
            return DATA_RANGE
        if not register.low <= value <= register.high:
            return DATA_RANGE
        if name == "operating_mode" and value not in self._modes():
            return DATA_RANGE
        if name == "torque" and value and self._status & self.get("shutdown"):
            return RESULT_FAIL
        if name in LIMITS and abs(value) > self.get(LIMITS[name]):
            return DATA_LIMIT
        if name == "goal" and self.get("operating_mode") == POSITION:
            return 0 if self.get("min_position") <= value <= self.get("max_position") else DATA_LIMIT
        return 0

    def _modes(self) -> tuple[int, ...]:
        if self.model.current_unit_a is None:
            return (VELOCITY, POSITION, EXTENDED, PWM)
        return (CURRENT, VELOCITY, POSITION, EXTENDED, CURRENT_BASED, PWM)

    def _react(self, name: str, value: int) -> None:
        if name in ("operating_mode", "drive_mode"):
            self._count_turns()
        elif name == "watchdog":
            self._silent_ns, self._stand = 0, None
        elif name == "torque":
            self._way, self._stand = None, None
            self._silent_ns = 0

    def _put(self, name: str, value: int) -> None:
        register = self.table[name]
        bits = 8 * register.size
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if register.signed else (0, (1 << bits) - 1)
        data = max(low, min(high, value)).to_bytes(register.size, "little", signed=register.signed)
        self._memory[register.address : register.address + register.size] = data

    def _factory(self, id: int, baud: int) -> None:
        for name, register in self.table.items():
            self._put(name, register.default)
        self._put("id", id)
        self._put("baud", baud)

    def _boot(self) -> None:
        for name, register in self.table.items():
            if register.address >= EEPROM_END:
                self._put(name, register.default)
        for goal, limit in LIMITS.items():
            if goal in self.table and goal != "goal_velocity":
                self._put(goal, self.get(limit))
        self._status = self._over_ns = self._silent_ns = self._uptime_ns = 0
        self._way = self._stand = None
        self._booting_ns = BOOT_NS
        self._count_turns()
        self._refresh(self._sense())
        self._put("goal", self.get("position"))

    # ---------------------------------------------------------------- the firmware's cycle

    def _sense(self) -> Sensed:
        sensed = self.motor.sense()
        return sensed if self._hot_c is None else replace(sensed, temperature_c=self._hot_c)

    @property
    def _sign(self) -> int:
        return -1 if self.get("drive_mode") & REVERSE else 1

    def _offset(self) -> int:
        offset = self.get("homing_offset")
        return 0 if self.get("operating_mode") == POSITION and abs(offset) > SINGLE_TURN_OFFSET else offset

    def _count_turns(self) -> None:
        """The encoder knows where in a turn it stands, not in which."""
        counts = self._sign * self.motor.sense().turns * COUNTS
        self._first = math.floor(counts / COUNTS) * COUNTS

    def _counts(self, sensed: Sensed) -> float:
        """Position as the registers count it."""
        return self._sign * sensed.turns * COUNTS - self._first + self._offset()

    def _turns(self, counts: float) -> float:
        return self._sign * (counts - self._offset() + self._first) / COUNTS

    def _ramp(self, goal: float, dt_s: float) -> None:
        """Towards the goal at the speed and acceleration that the profile allows; 0 is as fast as it goes."""
        assert self._way is not None
        fastest = self.get("profile_velocity") * VELOCITY_UNIT
        steepest = self.get("profile_acceleration") * ACCELERATION_UNIT
        left = goal - self._way
        if not fastest:  # without a velocity, the acceleration is ignored
            self._way, self._way_s = goal, 0.0
            return
        wanted = math.inf if not steepest else math.sqrt(2.0 * steepest * abs(left))
        wanted = math.copysign(min(wanted, fastest, abs(left) / dt_s), left)
        change = steepest * dt_s or math.inf
        self._way_s += min(max(wanted - self._way_s, -change), change)
        self._way += self._way_s * dt_s

    def _duty(self, sensed: Sensed) -> float:
        """Largest share of the supply: by the limits of PWM and, in current-based mode, of the current."""
        duty = min(self.get("pwm_limit"), abs(self.get("goal_pwm"))) / PWM_ALL
        if self.get("operating_mode") == CURRENT_BASED and self.model.current_unit_a is not None:
            amps = abs(self.get("goal_current")) * self.model.current_unit_a
            emf = self.model.kt * abs(sensed.turns_s) * 2.0 * math.pi
            duty = min(duty, (amps * self.model.ohm + emf) / max(sensed.supply_v, 1.0))
        return duty

    def _watch(self, sensed: Sensed, dt_ns: int) -> None:
        """The bus watchdog: too long a silence makes it stand where it is."""
        self._silent_ns += dt_ns
        units = self.get("watchdog")
        if not self.get("torque") or units in (0, STOPPED) or self._silent_ns <= units * WATCHDOG_UNIT_NS:
            return
        self._put("watchdog", STOPPED)
        self._stand = self._counts(sensed)
        for name in ("profile_acceleration", "profile_velocity"):
            self._put(name, 0)

    def _protect(self, sensed: Sensed, dt_ns: int) -> None:
        pulling = abs(sensed.duty) >= OVERLOAD_DUTY and abs(sensed.turns_s) < OVERLOAD_SPEED
        self._over_ns = self._over_ns + dt_ns if pulling and self.get("torque") else 0
        if self._over_ns >= OVERLOAD_NS:
            self._fail(OVERLOAD)
        if sensed.temperature_c > self.get("max_temperature"):
            self._fail(OVERHEAT)
        if not self.get("min_voltage") <= round(sensed.supply_v * 10.0) <= self.get("max_voltage"):
            self._fail(VOLTAGE)

    def _fail(self, error: int) -> None:
        """Latched; those in the shutdown register let the motor go."""
        self._status |= error
        self._put("error_status", self._status)
        if error & self.get("shutdown"):
            self._put("torque", 0)

    def _refresh(self, sensed: Sensed) -> None:
        sign, unit = self._sign, self.model.current_unit_a
        speed = round(sign * sensed.turns_s * COUNTS / VELOCITY_UNIT)
        amount = sensed.duty * 1000.0 if unit is None else sensed.current_a / unit
        self._put("tick", self._uptime_ns // 1_000_000 % 32_768)
        self._put("moving", int(abs(speed) > self.get("moving_threshold")))
        self._put("pwm", round(sign * sensed.duty * PWM_ALL))
        self._put("current", round(sign * amount))
        self._put("velocity", speed)
        self._put("position", round(self._counts(sensed)))
        self._put("velocity_now", round(self._way_s / VELOCITY_UNIT))
        self._put("goal_now", round(self._counts(sensed) if self._way is None else self._way))
        self._put("voltage", round(sensed.supply_v * 10.0))
        self._put("temperature", round(sensed.temperature_c))
