"""Counter-based random numbers: the k-th number of a named stream depends on nothing but (seed, name, k).

SplitMix64 (Steele, Lea and Flood, 2014) with the counter in place of a state, so that drawing one parameter
never shifts another, and thousands of numbers come from one vectorised call.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ...robot.types import F64

U64 = NDArray[np.uint64]
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def key_of(name: str) -> int:
    """64 bits that stand for `name`, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def mix(word: int) -> int:
    """SplitMix64's output function on one 64-bit word."""
    word = (word + _GOLDEN) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def unit(seed: int, *words: int) -> float:
    """A number in [0, 1) that depends on `seed` and `words` alone."""
    state = seed & _MASK
    for word in words:
        state = mix(state ^ mix(word & _MASK))
    return (mix(state) >> 11) * 2.0**-53


def units(seed: int, keys: U64) -> F64:
    """One number in (0, 1) for each of `keys` (n,), independent between keys and between seeds."""
    word = keys ^ np.uint64(mix(seed & _MASK))
    for _ in range(2):  # twice: keys of one name differ in a few low bits only
        word = word + np.uint64(_GOLDEN)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word = word ^ (word >> np.uint64(31))
    return ((word >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def keys_of(name: str, count: int) -> U64:
    """The keys of the first `count` numbers of the stream `name`, (count,)."""
    return np.array([mix(key_of(name) ^ mix(k)) for k in range(count)], dtype=np.uint64)
