"""The safety guard: every limit between a command and the motors. docs/safety.md says what it does not do."""

from .blackbox import BlackBox, read_blackbox
from .collision import CollisionModel
from .filter import LimitFilter
from .guard import Guard
from .limits import LIMIT_NAMES, mask_names
from .protections import Protection

__all__ = [
    "LIMIT_NAMES",
    "BlackBox",
    "CollisionModel",
    "Guard",
    "LimitFilter",
    "Protection",
    "mask_names",
    "read_blackbox",
]
