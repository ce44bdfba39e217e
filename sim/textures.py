"""Procedural table and wall textures, made here from a fixed seed: no image files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..robot.types import F64, U8

SIZE = 128  # px


def _flat(_: np.random.Generator) -> F64:
    return np.ones((SIZE, SIZE))


def _checker(cells: int) -> Callable[[np.random.Generator], F64]:
    def make(_: np.random.Generator) -> F64:
        k = np.arange(SIZE) * cells // SIZE
        return 0.72 + 0.28 * ((k[:, None] + k[None, :]) % 2).astype(np.float64)

    return make


def _wood(rng: np.random.Generator) -> F64:
    """Planks along u with a fine, slightly wavy grain; tiles."""
    v, u = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    warp = sum(
        rng.normal(0, 0.006 / k) * np.sin(2 * np.pi * (k * u + j * v + rng.uniform()))
        for k in (1, 2, 3)
        for j in (-1, 1, 2)
    )
    grain = sum(
        rng.normal(0, 1 / k) * np.sin(2 * np.pi * (k * (v + warp) + rng.uniform())) for k in range(5, 40)
    )
    plank = np.repeat(rng.uniform(-0.05, 0.05, 4), SIZE // 4)[:, None]
    return 0.82 + 0.07 * grain / np.abs(grain).max() + plank + rng.normal(0, 0.012, (SIZE, SIZE))


def _cloud(rng: np.random.Generator) -> F64:
    """Smooth noise: a sum of octaves of random Fourier waves, so that the texture tiles."""
    v, u = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    out = np.zeros((SIZE, SIZE))
    for _ in range(40):
        a, b = rng.integers(-6, 7, 2)
        out += np.cos(2 * np.pi * (a * u + b * v + rng.uniform())) / (1 + np.hypot(a, b))
    return 0.8 + 0.2 * out / np.abs(out).max()


def _speckle(rng: np.random.Generator) -> F64:
    return np.clip(0.85 + rng.normal(0, 0.1, (SIZE, SIZE)), 0, 1)


def _lines(rng: np.random.Generator) -> F64:
    k = np.arange(SIZE)
    line = ((k % 16) < 1).astype(float)
    return 1.0 - 0.35 * np.maximum(line[:, None], line[None, :])


PATTERNS: dict[str, Callable[[np.random.Generator], F64]] = {
    "flat": _flat,
    "checker_fine": _checker(16),
    "checker_coarse": _checker(4),
    "wood": _wood,
    "cloud": _cloud,
    "speckle": _speckle,
    "lines": _lines,
}


def texture(name: str) -> U8:
    """Grey texture `name` of `PATTERNS`, (128, 128, 3) uint8; a material's colour tints it."""
    seed = sorted(PATTERNS).index(name)
    grey = np.clip(PATTERNS[name](np.random.default_rng(seed)), 0.0, 1.0)
    return np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=2)
