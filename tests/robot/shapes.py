"""Geoms as points and distances, for the tests of arm descriptions."""

from __future__ import annotations

import itertools

import mujoco
import numpy as np

GEOM = mujoco.mjtGeom


def surface(model, data, g):
    """Points of a geom's surface in the world, (k, 3) m."""
    size, kind = model.geom_size[g], int(model.geom_type[g])
    if kind == int(GEOM.mjGEOM_BOX):
        grid = np.linspace(-1, 1, 7)
        local = np.array([p for p in itertools.product(grid, repeat=3) if max(map(abs, p)) == 1.0]) * size
    else:
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        rim = size[0] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if kind == int(GEOM.mjGEOM_CYLINDER):
            rings = [(1.0, z) for z in np.linspace(-1, 1, 5) * size[1]]
        else:
            assert kind == int(GEOM.mjGEOM_CAPSULE)
            rings = [
                (np.cos(up), end * (size[1] + size[0] * np.sin(up)))
                for end in (-1, 1)
                for up in np.linspace(0, np.pi / 2, 6)
            ]
        local = np.concatenate([np.column_stack([rim * r, np.full(24, z)]) for r, z in rings])
    return data.geom_xpos[g] + local @ data.geom_xmat[g].reshape(3, 3).T


def outside(model, data, points, g):
    """Distance of `points` from the surface of capsule `g`, negative inside."""
    half = data.geom_xmat[g].reshape(3, 3)[:, 2] * model.geom_size[g, 1]
    way = points - (data.geom_xpos[g] - half)
    along = np.clip(way @ half / (2 * half @ half), 0, 1)
    return np.linalg.norm(way - np.outer(along, 2 * half), axis=1) - model.geom_size[g, 0]
