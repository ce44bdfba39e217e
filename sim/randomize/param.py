"""One randomised quantity: its name, distribution, unit, and how it is written into the model.

Distributions turn uniform numbers into JSON values (float, int, str, or a list of floats), so that a draw can
be stored with its episode and replayed bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from ...robot.errors import UsageError

Value: TypeAlias = float | int | str | list[float] | list[str]
Group = Literal["dynamics", "servo", "sensing", "camera", "scene", "task"]
GROUPS: tuple[Group, ...] = ("dynamics", "servo", "sensing", "camera", "scene", "task")
_STANDARD = NormalDist()


class Fields(Protocol):
    """Writable model values of one simulation: `fields["body_mass"]` is the array, (nbody,).

    Fields are named as `MjModel`'s arrays, and "opt.gravity" and the like for its options. `geom(name)` and
    its kin return ids; an unknown name raises `UsageError`.
    """

    def __getitem__(self, name: str) -> np.ndarray: ...

    def body(self, name: str) -> int: ...

    def geom(self, name: str) -> int: ...

    def joint(self, name: str) -> int: ...

    def material(self, name: str) -> int: ...


Apply: TypeAlias = Callable[[Fields, Any], None]  # writes a value into one simulation's model


class Distribution(Protocol):
    """What a value is drawn from."""

    @property
    def count(self) -> int:
        """How many uniform numbers a draw takes."""
        ...

    def sample(self, units: Sequence[float]) -> Value:
        """The value for `count` uniform numbers in (0, 1)."""
        ...

    def describe(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform between `lo` and `hi`; a list of `size` values when `size` is given.

    With `size`, the bounds may be lists with one value each.
    """

    lo: float | tuple[float, ...]
    hi: float | tuple[float, ...]
    size: int | None = None

    @property
    def count(self) -> int:
        return self.size or 1

    def sample(self, units: Sequence[float]) -> Value:
        lo, hi = self.lo, self.hi
        if isinstance(lo, tuple) or isinstance(hi, tuple):
            los = lo if isinstance(lo, tuple) else (lo,) * self.count
            his = hi if isinstance(hi, tuple) else (hi,) * self.count
            return [a + (b - a) * u for a, b, u in zip(los, his, units, strict=True)]
        if self.size is None:
            return lo + (hi - lo) * units[0]
        return [lo + (hi - lo) * u for u in units]

    def describe(self) -> str:
        return f"uniform {_short(self.lo)} .. {_short(self.hi)}"


@dataclass(frozen=True, slots=True)
class LogUniform:
    """Uniform in the logarithm between `lo` > 0 and `hi`: for quantities known to a factor."""

    lo: float
    hi: float
    size: int | None = None

    @property
    def count(self) -> int:
        return self.size or 1

    def sample(self, units: Sequence[float]) -> Value:
        span = math.log(self.hi / self.lo)
        values = [self.lo * math.exp(span * u) for u in units]
        return values[0] if self.size is None else values

    def describe(self) -> str:
        return f"log-uniform {_short(self.lo)} .. {_short(self.hi)}"


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal with `mean` and `sd`, cut off (not clipped) at `lo` and `hi`."""

    mean: float
    sd: float
    lo: float
    hi: float
    size: int | None = None

    @property
    def count(self) -> int:
        return self.size or 1

    def sample(self, units: Sequence[float]) -> Value:
        below = _STANDARD.cdf((self.lo - self.mean) / self.sd)
        above = _STANDARD.cdf((self.hi - self.mean) / self.sd)
        inverse = _STANDARD.inv_cdf
        values = [self.mean + self.sd * inverse(below + (above - below) * u) for u in units]
        return values[0] if self.size is None else values

    def describe(self) -> str:
        return f"normal {_short(self.mean)} ± {_short(self.sd)}, {_short(self.lo)} .. {_short(self.hi)}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `options`, all equally likely; a list of `size` of them when `size` is given."""

    options: tuple[Any, ...]
    size: int | None = None

    @property
    def count(self) -> int:
        return self.size or 1

    def sample(self, units: Sequence[float]) -> Value:
        options = self.options
        values = [options[min(int(u * len(options)), len(options) - 1)] for u in units]
        return values[0] if self.size is None else values

    def describe(self) -> str:
        return f"one of {', '.join(str(o) for o in self.options)}"


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number, `lo` <= value < `hi`."""

    lo: int
    hi: int

    @property
    def count(self) -> int:
        return 1

    def sample(self, units: Sequence[float]) -> Value:
        return self.lo + min(int(units[0] * (self.hi - self.lo)), self.hi - self.lo - 1)

    def describe(self) -> str:
        return f"whole number {self.lo} .. {self.hi - 1}"


@dataclass(frozen=True, slots=True)
class Derived:
    """Not drawn: `function` of the values of `needs`, in that order. Logged in the draw like the others."""

    function: Callable[..., Value]
    needs: tuple[str, ...]

    @property
    def count(self) -> int:
        return 0

    def sample(self, units: Sequence[float]) -> Value:
        raise UsageError("a derived parameter is computed from others, not drawn")

    def describe(self) -> str:
        return f"follows from {', '.join(self.needs)}"


@dataclass(frozen=True, slots=True)
class Param:
    """One randomised quantity. Without `apply` it is only drawn, and read from the draw elsewhere."""

    name: str  # "<group>.<what>"; "camera.<camera>.<what>"; tasks use "task.<what>"
    group: Group
    distribution: Distribution
    unit: str
    doc: str
    apply: Apply | None = None
    needs: tuple[str, ...] = ()  # parameters that are drawn and applied before this one

    @property
    def all_needs(self) -> tuple[str, ...]:
        """`needs`, and what a derived distribution needs."""
        derived = self.distribution.needs if isinstance(self.distribution, Derived) else ()
        return tuple(dict.fromkeys((*self.needs, *derived)))


def _short(value: float | tuple[float, ...]) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f"{v:.4g}" for v in value) + "]"
    return f"{value:.4g}"
