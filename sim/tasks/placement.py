"""Placing objects and the arm at the start of an episode, from the episode's draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..randomize import Param, Uniform
from ..scene import Scene
from ..twin import Twin
from .build import Build

START_WIDTH_M = 0.04


def uniform(name: str, lo: float, hi: float, unit: str, doc: str, size: int | None = None) -> Param:
    """A task parameter that is drawn uniformly and read by the task's `place`."""
    return Param(name=name, group="task", distribution=Uniform(lo, hi, size), unit=unit, doc=doc, apply=None)


def radius(scene: Scene, name: str, lo: float, hi: float, doc: str) -> Param:
    """Distance from the (first) arm's pan axis: `lo` .. `hi`, m, for an SO-101; others' by their length."""
    scale = Build.of(scene.rig).scale
    return uniform(name, lo * scale, hi * scale, "m", doc)


def start(scene: Scene, most_rad: float) -> Param:
    """Offset of each joint of the (first) arm from its home pose at the start."""
    joints = len(next(iter(scene.arms.values())).names)
    return uniform("task.start", -most_rad, most_rad, "rad", "start pose, offset of each joint", size=joints)


def cube_params(geom: str) -> tuple[Param, ...]:
    """Size, mass, friction and colour of a cube. The mass follows the size: a density is drawn."""

    def size(fields: Any, half_m: Any) -> None:
        fields["geom_size"][fields.geom(geom), :3] = half_m

    def density(fields: Any, kg_m3: Any) -> None:
        half = float(fields["geom_size"][fields.geom(geom), 0])
        mass = float(kg_m3) * (2 * half) ** 3
        body = fields.body(geom)
        fields["body_mass"][body] = mass
        fields["body_inertia"][body, :] = mass * (2 * half) ** 2 / 6.0  # solid cube

    def friction(fields: Any, value: Any) -> None:
        fields["geom_friction"][fields.geom(geom), 0] = value

    def colour(fields: Any, rgb: Any) -> None:
        fields["geom_rgba"][fields.geom(geom), :3] = np.array([0.85, 0.15, 0.12]) + rgb

    return (
        Param(f"task.{geom}_half", "task", Uniform(0.011, 0.014), "m", "half the cube's edge", size),
        Param(
            f"task.{geom}_density",
            "task",
            Uniform(500.0, 1300.0),
            "kg/m3",
            "density; mass and inertia follow from it and the size",
            density,
            needs=(f"task.{geom}_half",),
        ),
        Param(f"task.{geom}_friction", "task", Uniform(0.8, 1.4), "1", "sliding friction", friction),
        Param(f"task.{geom}_colour", "task", Uniform(-0.12, 0.12, 3), "1", "offset of RGB", colour),
    )


def home(twin: Twin, draw: Mapping[str, Any]) -> None:
    """Put the first arm at its home pose plus the drawn offset, gripper open; other arms at their rest pose."""
    name, *others = twin.scene.arms
    for other in others:
        twin.set_arm(other, np.array(twin.scene.descriptions[other].rest_q_rad), START_WIDTH_M)
    description = twin.scene.descriptions[name]
    q = np.array(description.home_q_rad)
    offset = np.asarray(draw.get("task.start", 0.0), dtype=np.float64)
    q = q + (offset[: q.size] if offset.ndim else offset)
    spec = twin.arms[name].spec
    twin.set_arm(name, np.clip(q, spec.q_min, spec.q_max), START_WIDTH_M)
