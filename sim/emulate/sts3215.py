"""A Feetech STS3215 as its bus sees it: the memory table, and what the firmware makes of it.

Addresses, sizes, signs and defaults: Feetech's STS3215 memory table, as LeRobot 0.6 (`motors/feetech/tables.py`)
and scservo_sdk have it. Position mode only; a servo in another mode lets go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...robot.buses.feetech import sign_magnitude, signed
from .motor import Motor, Sensed

COUNTS = 4096  # a turn
MODEL = 777
EEPROM_END = 40  # addresses below keep their values without power, where the lock was open
SIZE = 87
VOLTAGE, SENSOR, OVERHEAT, OVERCURRENT, OVERLOAD = 1, 2, 4, 8, 32  # bits of status and error byte
RECENTRE = 128  # torque register: make this pose count 2048
CURRENT_UNIT_A = 6.5e-3
ACCELERATION_UNIT = 100  # counts/s2
PROTECTION_UNIT_NS = 10_000_000
BAUDS = (1_000_000, 500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400)  # by the register's value


@dataclass(frozen=True, slots=True)
class Register:
    """One entry of the memory table."""

    address: int
    size: int = 1
    default: int = 0
    sign_bit: int | None = None
    writable: bool = True


REGISTERS = {
    "firmware_major": Register(0, default=3, writable=False),
    "firmware_minor": Register(1, default=10, writable=False),
    "model": Register(3, 2, MODEL, writable=False),
    "id": Register(5, default=1),
    "baud": Register(6),
    "return_delay": Register(7, default=250),  # 2 us
    "response_level": Register(8, default=1),
    "min_position": Register(9, 2, 0),
    "max_position": Register(11, 2, 4095),
    "max_temperature": Register(13, default=70),  # deg C
    "max_voltage": Register(14, default=80),  # 0.1 V
    "min_voltage": Register(15, default=40),
    "max_torque": Register(16, 2, 1000),  # 0.1 %
    "phase": Register(18, default=12),
    "unloading": Register(19, default=44),  # status bits that let the motor go
    "led_alarm": Register(20, default=47),
    "p": Register(21, default=32),
    "d": Register(22, default=32),
    "i": Register(23),
    "startup_force": Register(24, 2, 16),
    "cw_dead_zone": Register(26, default=1),
    "ccw_dead_zone": Register(27, default=1),
    "protection_current": Register(28, 2, 310),  # 6.5 mA
    "angular_resolution": Register(30, default=1),
    "offset": Register(31, 2, sign_bit=11),
    "mode": Register(33),
    "protective_torque": Register(34, default=20),  # %
    "protection_time": Register(35, default=200),  # 10 ms
    "overload_torque": Register(36, default=80),  # %
    "speed_p": Register(37, default=10),
    "overcurrent_time": Register(38, default=200),  # 10 ms
    "speed_i": Register(39, default=200),
    "torque": Register(40),
    "acceleration": Register(41),  # 100 counts/s2, 0 = as fast as it goes
    "goal": Register(42, 2, sign_bit=15),
    "goal_time": Register(44, 2),
    "goal_speed": Register(46, 2, sign_bit=15),  # counts/s, 0 = as fast as it goes
    "torque_limit": Register(48, 2, 1000),
    "lock": Register(55, default=1),
    "position": Register(56, 2, sign_bit=15, writable=False),
    "speed": Register(58, 2, sign_bit=15, writable=False),
    "load": Register(60, 2, sign_bit=10, writable=False),  # 0.1 % of the supply
    "voltage": Register(62, writable=False),  # 0.1 V
    "temperature": Register(63, writable=False),
    "status": Register(65, writable=False),
    "moving": Register(66, writable=False),
    "current": Register(69, 2, sign_bit=15, writable=False),
    "goal_now": Register(71, 2, sign_bit=15, writable=False),
    "moving_threshold": Register(80, default=1),
    "speed_unit": Register(82, default=1),
    "max_speed": Register(84, default=254),
    "max_acceleration": Register(85, default=254),
    "acceleration_multiplier": Register(86, default=1),
}
READ_ONLY = frozenset(r.address + k for r in REGISTERS.values() if not r.writable for k in range(r.size))


class Sts3215:
    """One servo: `read` and `write` its table, `step` its firmware, around any `Motor`."""

    def __init__(self, id: int, motor: Motor) -> None:
        self.motor = motor
        self._memory = bytearray(SIZE)
        for name, register in REGISTERS.items():
            self._set(name, register.default)
        self._set("id", id)
        self._saved = bytes(self._memory[:EEPROM_END])
        self._over_ns: dict[int, int] = {OVERCURRENT: 0, OVERLOAD: 0}  # how long it has been too much
        self._latched = 0
        self._way: float | None = None  # counts, where the ramp to the goal stands; None: torque was off
        self._way_s = 0.0  # counts/s
        self._hot_c: float | None = None
        self._refresh(self._sense())

    @property
    def id(self) -> int:
        return self.get("id")

    @property
    def baud(self) -> int | None:
        """The rate at which it hears and answers; None: its register holds no rate."""
        index = self.get("baud")
        return BAUDS[index] if index < len(BAUDS) else None

    @property
    def status(self) -> int:
        """The error byte of its answers."""
        return self.get("status")

    def get(self, name: str) -> int:
        """A register's value, its sign applied."""
        register = REGISTERS[name]
        raw = int.from_bytes(self._memory[register.address : register.address + register.size], "little")
        return raw if register.sign_bit is None else signed(raw, register.sign_bit)

    def read(self, address: int, size: int) -> bytes:
        """As a read instruction does; beyond the table there are zeros."""
        self._refresh(self._sense())
        return bytes(self._memory[address : address + size]).ljust(size, b"\0")

    def write(self, address: int, data: bytes) -> None:
        """As a write instruction does: what cannot be written stays as it is."""
        for at, value in enumerate(data, address):
            if at < SIZE and at not in READ_ONLY:
                self._memory[at] = value
        if address < EEPROM_END and not self.get("lock"):
            self._saved = bytes(self._memory[:EEPROM_END])
        touched = range(address, address + len(data))
        if REGISTERS["torque"].address in touched:
            self._switch(self.get("torque"))

    def heat(self, temperature_c: float | None) -> None:
        """A fault to be switched on: the servo is that hot, whatever it does; None: as hot as it is."""
        self._hot_c = temperature_c

    def overload(self) -> None:
        """A fault to be switched on: the firmware has found an overload, as after seconds at its torque limit."""
        self._latched |= OVERLOAD

    def power_cycle(self) -> None:
        """Supply off and on: only what was written with the lock open is kept."""
        self._memory[:EEPROM_END] = self._saved
        for name, register in REGISTERS.items():
            if register.address >= EEPROM_END and register.writable:
                self._set(name, register.default)
        self._switch(0)

    def step(self, dt_ns: int) -> None:
        """Let `dt_ns` of the firmware's time pass: protections, the ramp to the goal, the motor."""
        sensed = self._sense()
        self._protect(sensed, dt_ns)
        self._refresh(sensed)
        let_go = self.status & self.get("unloading")
        if self.get("torque") != 1 or self.get("mode") != 0 or let_go:
            self._way = None
            self.motor.drive(None, 0.0, 0)
            return
        if self._way is None:
            self._way, self._way_s = self._counts(sensed), 0.0
        self._ramp(self._goal(), dt_ns * 1e-9)
        share = min(self.get("torque_limit"), self.get("max_torque")) / 1000.0
        if self._latched & OVERLOAD:
            share = min(share, self.get("protective_torque") / 100.0)
        self.motor.drive((self._way + self.get("offset")) / COUNTS, share, self.get("p"))

    def _sense(self) -> Sensed:
        sensed = self.motor.sense()
        return sensed if self._hot_c is None else replace(sensed, temperature_c=self._hot_c)

    def _goal(self) -> float:
        low, high = self.get("min_position"), self.get("max_position")
        goal = self.get("goal")
        return min(max(goal, low), high) if low < high else goal  # both 0: many turns

    def _ramp(self, goal: float, dt_s: float) -> None:
        """Towards the goal at the speed and acceleration that the registers allow."""
        assert self._way is not None
        fastest, steepest = abs(self.get("goal_speed")), self.get("acceleration") * ACCELERATION_UNIT
        left = goal - self._way
        if not fastest and not steepest:
            self._way, self._way_s = goal, 0.0
            return
        wanted = math.inf if not steepest else math.sqrt(2.0 * steepest * abs(left))
        wanted = math.copysign(min(wanted, fastest or math.inf, abs(left) / dt_s), left)
        change = steepest * dt_s or math.inf
        self._way_s += min(max(wanted - self._way_s, -change), change)
        self._way += self._way_s * dt_s

    def _switch(self, torque: int) -> None:
        if torque == RECENTRE:
            actual = round(self.motor.sense().turns * COUNTS)
            self._set("offset", max(-2047, min(2047, actual - COUNTS // 2)))
            self._set("torque", 0)
        self._way = None
        self._latched = 0  # an overload is forgotten when the torque is switched
        self._over_ns = dict.fromkeys(self._over_ns, 0)

    def _protect(self, sensed: Sensed, dt_ns: int) -> None:
        limits: dict[int, tuple[bool, str]] = {
            OVERLOAD: (abs(sensed.duty) * 100.0 > self.get("overload_torque"), "protection_time"),
            OVERCURRENT: (
                abs(sensed.current_a) > self.get("protection_current") * CURRENT_UNIT_A,
                "overcurrent_time",
            ),
        }
        for bit, (too_much, time) in limits.items():
            self._over_ns[bit] = self._over_ns[bit] + dt_ns if too_much else 0
            if self._over_ns[bit] >= self.get(time) * PROTECTION_UNIT_NS > 0:
                self._latched |= bit
        if sensed.temperature_c >= self.get("max_temperature"):
            self._latched |= OVERHEAT

    def _refresh(self, sensed: Sensed) -> None:
        volts = round(sensed.supply_v * 10.0)
        outside = not self.get("min_voltage") <= volts <= self.get("max_voltage")
        speed = round(sensed.turns_s * COUNTS)
        position = round(self._counts(sensed))
        self._set("position", position % COUNTS if not self.get("phase") & 0x10 else position)
        self._set("speed", speed)
        self._set("load", round(sensed.duty * 1000.0))
        self._set("voltage", volts)
        self._set("temperature", round(sensed.temperature_c))
        self._set("status", self._latched | (VOLTAGE if outside else 0))
        self._set("moving", int(abs(speed) > 5))
        self._set("current", round(sensed.current_a / CURRENT_UNIT_A))
        self._set("goal_now", round(self._goal()))

    def _counts(self, sensed: Sensed) -> float:
        """Position as the registers count it: the encoder's less the offset."""
        return sensed.turns * COUNTS - self.get("offset")

    def _set(self, name: str, value: int) -> None:
        register = REGISTERS[name]
        if register.sign_bit is not None:
            most = (1 << register.sign_bit) - 1
            value = sign_magnitude(max(-most, min(most, value)), register.sign_bit)
        most = (1 << 8 * register.size) - 1
        self._memory[register.address : register.address + register.size] = max(0, min(most, value)).to_bytes(
            register.size, "little"
        )
