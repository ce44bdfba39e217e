"""What the room looks like: lights, table, backdrop, clutter beside the workspace, colour of the arms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mujoco
import numpy as np

from ..scene import DISTRACTORS, Scene
from ..textures import PATTERNS
from .dynamics import arm_bodies
from .param import Apply, Choice, Fields, Integer, Param, Uniform

_RGB = int(mujoco.mjtTextureRole.mjTEXROLE_RGB)
_SHAPES = {
    "box": int(mujoco.mjtGeom.mjGEOM_BOX),
    "cylinder": int(mujoco.mjtGeom.mjGEOM_CYLINDER),
    "sphere": int(mujoco.mjtGeom.mjGEOM_SPHERE),
    "capsule": int(mujoco.mjtGeom.mjGEOM_CAPSULE),
}
PATTERN_NAMES = tuple(PATTERNS)
TINT_MIN = 0.25  # arm parts darker than this (servos, screws) keep their colour


def scene_params(scene: Scene) -> tuple[Param, ...]:
    """Everything here is for the eye only: nothing touches."""
    model = scene.model
    key, fill = model.light("key").id, model.light("fill").id
    table, backdrop = model.material("table").id, model.material("backdrop").id
    textures = {name: model.texture(name).id for name in PATTERN_NAMES}
    clutter = [model.geom(f"distractor_{k}").id for k in range(DISTRACTORS)]
    floor_m = scene.rig.table.height_m
    links = set(arm_bodies(scene).tolist())
    parts = [g for g in range(model.ngeom) if int(model.geom_bodyid[g]) in links and model.geom_group[g] < 3]
    bare = [g for g in parts if model.geom_matid[g] < 0 and _light(model.geom_rgba[g])]
    plain = np.array(bare, dtype=np.intp)
    materials = sorted({int(model.geom_matid[g]) for g in parts if model.geom_matid[g] >= 0})
    painted = np.array([m for m in materials if _light(model.mat_rgba[m])], dtype=np.intp)

    def direction(light: int) -> Apply:
        def apply(fields: Fields, angles: Sequence[float]) -> None:
            azimuth, tilt = angles
            away = math.sin(tilt)
            down = (-away * math.cos(azimuth), -away * math.sin(azimuth), -math.cos(tilt))
            fields["light_dir"][light] = down
            fields["light_pos"][light] = (0.2 - 1.4 * down[0], -1.4 * down[1], floor_m - 1.4 * down[2])

        return apply

    def intensity(light: int) -> Apply:
        def apply(fields: Fields, scale: float) -> None:
            fields["light_diffuse"][light] *= scale

        return apply

    def colour(light: int) -> Apply:
        def apply(fields: Fields, rgb: Sequence[float]) -> None:
            fields["light_diffuse"][light] *= rgb

        return apply

    def ambient(fields: Fields, level: float) -> None:
        fields["light_ambient"][fill] = level

    def texture(material: int) -> Apply:
        def apply(fields: Fields, name: str) -> None:
            fields["mat_texid"][material, _RGB] = textures[name]

        return apply

    def paint(material: int) -> Apply:
        def apply(fields: Fields, rgb: Sequence[float]) -> None:
            fields["mat_rgba"][material, :3] = rgb

        return apply

    def table_repeat(fields: Fields, count: float) -> None:
        fields["mat_texrepeat"][table] = count

    def table_shine(fields: Fields, value: float) -> None:
        fields["mat_specular"][table] = value

    def brightness(fields: Fields, scale: float) -> None:
        fields["mat_rgba"][table, :3] *= scale

    def clutter_shape(fields: Fields, names: Sequence[str]) -> None:
        fields["geom_type"][clutter] = [_SHAPES[name] for name in names]

    def clutter_size(fields: Fields, half_m: Sequence[float]) -> None:
        fields["geom_size"][clutter] = np.reshape(half_m, (DISTRACTORS, 3))

    def clutter_colour(fields: Fields, rgb: Sequence[float]) -> None:
        fields["geom_rgba"][clutter, :3] = np.reshape(rgb, (DISTRACTORS, 3))

    def clutter_place(fields: Fields, xy: Sequence[float]) -> None:
        # Left and right of the workspace in turn; standing on the table whatever their shape.
        places, sizes, shapes = fields["geom_pos"], fields["geom_size"], fields["geom_type"]
        for k, geom in enumerate(clutter):
            up = _half_height(int(shapes[geom]), sizes[geom])
            side = 1.0 if k % 2 else -1.0
            places[geom] = (xy[2 * k], side * xy[2 * k + 1], floor_m + up)

    def clutter_count(fields: Fields, count: int) -> None:
        fields["geom_pos"][clutter[count:], 2] = floor_m - 0.3  # the others stay under the table

    def arm_tint(fields: Fields, rgb: Sequence[float]) -> None:
        if plain.size:
            fields["geom_rgba"][plain, :3] = np.minimum(1.0, fields["geom_rgba"][plain, :3] * rgb)
        if painted.size:
            fields["mat_rgba"][painted, :3] = np.minimum(1.0, fields["mat_rgba"][painted, :3] * rgb)

    clutter_rgb = (0.05, 0.25, 0.25) * DISTRACTORS, (0.5, 0.95, 0.95) * DISTRACTORS
    clutter_xy = (-0.25, 0.26) * DISTRACTORS, (0.42, 0.42) * DISTRACTORS
    return (
        Param("scene.key_direction", "scene", Uniform((-math.pi, 0.1), (math.pi, 0.9), 2), "rad",
              "azimuth and tilt from the vertical of the main light", direction(key)),
        Param("scene.key_intensity", "scene", Uniform(0.5, 1.4), "x nominal", "main light", intensity(key)),
        Param("scene.key_colour", "scene", Uniform(0.85, 1.0, 3), "1", "RGB of the main light", colour(key)),
        Param("scene.fill_direction", "scene", Uniform((-math.pi, 0.3), (math.pi, 1.1), 2), "rad",
              "azimuth and tilt from the vertical of the second light", direction(fill)),
        Param("scene.fill_intensity", "scene", Uniform(0.5, 1.4), "x nominal", "second light",
              intensity(fill)),
        Param("scene.fill_colour", "scene", Uniform(0.85, 1.0, 3), "1", "RGB of the second light",
              colour(fill)),
        Param("scene.ambient", "scene", Uniform(0.05, 0.3), "1", "light from everywhere", ambient),
        Param("scene.table_texture", "scene", Choice(PATTERN_NAMES), "", "pattern of the table",
              texture(table)),
        Param("scene.table_repeat", "scene", Uniform(1.5, 6.0), "1", "repeats of the pattern on the table",
              table_repeat),
        Param("scene.table_colour", "scene", Uniform(0.72, 1.0, 3), "1", "hue of the table", paint(table)),
        Param("scene.table_brightness", "scene", Uniform(0.3, 1.0), "1", "brightness of the table",
              brightness, needs=("scene.table_colour",)),
        Param("scene.table_shine", "scene", Uniform(0.0, 0.3), "1", "highlights on the table", table_shine),
        Param("scene.backdrop_texture", "scene", Choice(PATTERN_NAMES), "", "pattern of the wall",
              texture(backdrop)),
        Param("scene.backdrop_colour", "scene", Uniform(0.25, 1.0, 3), "1", "colour of the wall",
              paint(backdrop)),
        Param("scene.arm_tint", "scene", Uniform(0.6, 1.15, 3), "x nominal", "colour of the printed parts",
              arm_tint),
        Param("scene.clutter_shape", "scene", Choice(tuple(_SHAPES), DISTRACTORS), "",
              "shape of each distractor", clutter_shape),
        Param("scene.clutter_size", "scene", Uniform(0.012, 0.04, 3 * DISTRACTORS), "m",
              "half sizes of each distractor", clutter_size),
        Param("scene.clutter_colour", "scene", Uniform(*clutter_rgb, 3 * DISTRACTORS), "1",
              "RGB of each distractor, never red: that is the cubes' colour", clutter_colour),
        Param("scene.clutter_place", "scene", Uniform(*clutter_xy, 2 * DISTRACTORS), "m",
              "x, and distance from the middle, of each distractor", clutter_place,
              needs=("scene.clutter_shape", "scene.clutter_size")),
        Param("scene.clutter_count", "scene", Integer(0, DISTRACTORS + 1), "1", "distractors in sight",
              clutter_count, needs=("scene.clutter_place",)),
    )  # fmt: skip


def _half_height(shape: int, size: np.ndarray) -> float:
    """Half the height of a standing primitive, m."""
    if shape == _SHAPES["sphere"]:
        return float(size[0])
    if shape == _SHAPES["cylinder"]:
        return float(size[1])
    if shape == _SHAPES["capsule"]:
        return float(size[0] + size[1])
    return float(size[2])


def _light(rgba: np.ndarray) -> bool:
    return float(rgba[:3].max()) > TINT_MIN
