"""Servo buses: half-duplex serial lines on which a host asks and servos answer.

`port` moves bytes within a deadline, `feetech` and `dynamixel` know the packets, `bus` the exchanges that both
protocols share. Register tables and units belong to the arms.
"""

from .bus import Bus, Counters
from .dynamixel import DynamixelFraming
from .feetech import FeetechFraming
from .framing import Answer, Framing, Noise
from .port import Port, SerialPort

__all__ = [
    "Answer",
    "Bus",
    "Counters",
    "DynamixelFraming",
    "FeetechFraming",
    "Framing",
    "Noise",
    "Port",
    "SerialPort",
]
