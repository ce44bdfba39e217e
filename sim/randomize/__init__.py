"""Domain randomisation: typed parameters, one logged draw an episode, written into one scene or a batch."""

from .param import (
    GROUPS,
    Choice,
    Derived,
    Fields,
    Integer,
    LogUniform,
    Normal,
    Param,
    Uniform,
    Value,
)
from .randomizer import Draw, Randomizer
from .standard import standard

__all__ = [
    "GROUPS",
    "Choice",
    "Derived",
    "Draw",
    "Fields",
    "Integer",
    "LogUniform",
    "Normal",
    "Param",
    "Randomizer",
    "Uniform",
    "Value",
    "standard",
]
