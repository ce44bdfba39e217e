"""Control tables of the Dynamixel X series and what makes one model differ from the others.

Addresses, sizes, units, ranges and defaults: Robotis e-manual, "Control Table" of each model; winding and torque
constant from its stall figures (at 5 V for the XL330, at 12 V for the others).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

COUNTS = 4096  # a turn
SIZE = 148
EEPROM_END = 64  # addresses below keep their values without power; locked while the torque is on
CURRENT, VELOCITY, POSITION, EXTENDED, CURRENT_BASED, PWM = 0, 1, 3, 4, 5, 16  # operating modes
PWM_ALL = 885
MANY_TURNS = 1_048_575  # counts
BAUDS = (
    9_600,
    57_600,
    115_200,
    1_000_000,
    2_000_000,
    3_000_000,
    4_000_000,
    4_500_000,
)  # by the register's value


@dataclass(frozen=True, slots=True)
class Register:
    """One entry of the control table."""

    address: int
    size: int = 1
    default: int = 0
    low: int | None = None  # None: read only
    high: int = 0

    @property
    def signed(self) -> bool:
        return self.low is None and self.size > 1 or (self.low or 0) < 0


def _table() -> dict[str, Register]:
    gain = (0, 16_383)
    return {
        "model": Register(0, 2),
        "information": Register(2, 4),
        "firmware": Register(6, 1, 46),
        "id": Register(7, 1, 1, 0, 252),
        "baud": Register(8, 1, 1, 0, 7),
        "return_delay": Register(9, 1, 250, 0, 254),  # 2 us
        "drive_mode": Register(10, 1, 0, 0, 13),
        "operating_mode": Register(11, 1, POSITION, 0, 16),
        "secondary_id": Register(12, 1, 255, 0, 255),
        "protocol": Register(13, 1, 2, 2, 2),
        "homing_offset": Register(20, 4, 0, -1_044_479, 1_044_479),
        "moving_threshold": Register(24, 4, 10, 0, 1_023),
        "max_temperature": Register(31, 1, 80, 0, 100),  # deg C
        "max_voltage": Register(32, 2, 160, 31, 160),  # 0.1 V
        "min_voltage": Register(34, 2, 95, 31, 160),
        "pwm_limit": Register(36, 2, PWM_ALL, 0, PWM_ALL),
        "velocity_limit": Register(44, 4, 200, 0, 2_047),
        "max_position": Register(48, 4, COUNTS - 1, 0, COUNTS - 1),
        "min_position": Register(52, 4, 0, 0, COUNTS - 1),
        "startup": Register(60, 1, 0, 0, 3),
        "shutdown": Register(63, 1, 52, 0, 63),
        "torque": Register(64, 1, 0, 0, 1),
        "led": Register(65, 1, 0, 0, 1),
        "return_level": Register(68, 1, 2, 0, 2),
        "registered": Register(69),
        "error_status": Register(70),
        "velocity_i": Register(76, 2, 1920, *gain),
        "velocity_p": Register(78, 2, 100, *gain),
        "d": Register(80, 2, 0, *gain),
        "i": Register(82, 2, 0, *gain),
        "p": Register(84, 2, 800, *gain),
        "feedforward_2": Register(88, 2, 0, *gain),
        "feedforward_1": Register(90, 2, 0, *gain),
        "watchdog": Register(98, 1, 0, 0, 127),
        "goal_pwm": Register(100, 2, PWM_ALL, -PWM_ALL, PWM_ALL),
        "goal_velocity": Register(104, 4, 0, -2_047, 2_047),
        "profile_acceleration": Register(108, 4, 0, 0, 32_767),
        "profile_velocity": Register(112, 4, 0, 0, 32_767),
        "goal": Register(116, 4, 0, -MANY_TURNS, MANY_TURNS),
        "tick": Register(120, 2),
        "moving": Register(122),
        "moving_status": Register(123),
        "pwm": Register(124, 2),
        "current": Register(126, 2),  # of an XL430, load in 0.1 %
        "velocity": Register(128, 4),
        "position": Register(132, 4),
        "velocity_now": Register(136, 4),
        "goal_now": Register(140, 4),
        "voltage": Register(144, 2),  # 0.1 V
        "temperature": Register(146, 1),
        "backup_ready": Register(147),
    }


GOALS = frozenset({"goal_pwm", "goal_current", "goal_velocity", "goal"})
LIMITS: Mapping[str, str] = MappingProxyType(  # goal -> register that limits it
    {"goal_pwm": "pwm_limit", "goal_current": "current_limit", "goal_velocity": "velocity_limit"}
)


@dataclass(frozen=True, slots=True)
class Model:
    """What makes one model differ from the others."""

    number: int
    ohm: float  # of the winding, seen at the output shaft
    kt: float  # N·m/A at the output shaft
    current_unit_a: float | None = 2.69e-3  # None: no current sensor, no current registers, no current modes
    defaults: Mapping[str, int] = field(default_factory=dict)

    def table(self) -> dict[str, Register]:
        """Its control table."""
        table = _table()
        if self.current_unit_a is not None:
            most = self.defaults["current_limit"]
            table["current_limit"] = Register(38, 2, most, 0, most)
            table["goal_current"] = Register(102, 2, most, -most, most)
        for name, value in {"model": self.number, **self.defaults}.items():
            table[name] = replace(table[name], default=value)
        return table


_XL330 = {
    "max_temperature": 70,
    "max_voltage": 70,
    "min_voltage": 35,
    "shutdown": 53,
    "p": 400,
    "velocity_i": 1600,
}
MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "xl330_m077": Model(
            1190, 5.0 / 1.47, 0.215 / 1.47, 1e-3,
            {**_XL330, "current_limit": 1750, "velocity_limit": 1620, "velocity_p": 180},
        ),
        "xl330_m288": Model(
            1200, 5.0 / 1.47, 0.52 / 1.47, 1e-3,
            {**_XL330, "current_limit": 1750, "velocity_limit": 445, "velocity_p": 180},
        ),
        "xl430_w250": Model(
            1060, 12.0 / 1.4, 1.5 / 1.4, None,
            {"max_temperature": 72, "max_voltage": 140, "min_voltage": 60, "velocity_limit": 265,
             "velocity_i": 1000, "p": 640, "d": 4000},
        ),
        "xm430_w350": Model(1020, 12.0 / 2.3, 4.1 / 2.3, 2.69e-3, {"current_limit": 1193, "velocity_limit": 200}),
        "xm540_w270": Model(1120, 12.0 / 4.4, 10.6 / 4.4, 2.69e-3, {"current_limit": 2047, "velocity_limit": 128}),
    }
)  # fmt: skip
