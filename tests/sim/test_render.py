"""Pictures users can rely on: upright, right colours and depth, both profiles, no GL surprises."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from twinloop.robot.errors import DeviceError, UsageError
from twinloop.robot.rig import load_rig
from twinloop.sim.render import Renderer
from twinloop.sim.scene import Scene, build_scene


def add_cube(spec: mujoco.MjSpec) -> None:
    body = spec.worldbody.add_body(name="cube", pos=[0.25, 0.0, 0.02])
    body.add_freejoint(name="cube")
    body.add_geom(name="cube", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.02] * 3, rgba=[0.85, 0.1, 0.1, 1])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(load_rig("so101"), add_cube)


@pytest.fixture(scope="module")
def renderer(scene: Scene):
    made = Renderer(scene.model)
    yield made
    made.close()


def state(scene: Scene, x: float = 0.25, y: float = 0.0) -> mujoco.MjData:
    """The arm out of the way, the cube at (x, y)."""
    data = mujoco.MjData(scene.model)
    data.qpos[scene.arms["arm"].qpos] = scene.descriptions["arm"].rest_q_rad
    address = int(scene.model.joint("cube").qposadr[0])
    data.qpos[address : address + 2] = x, y
    mujoco.mj_forward(scene.model, data)
    return data


def picture(
    renderer: Renderer, scene: Scene, data: mujoco.MjData, size: tuple[int, int] = (120, 160)
) -> np.ndarray:
    rgb = np.empty((*size, 3), np.uint8)
    renderer.render(data, scene.cameras["front"], rgb)
    return rgb


def red(rgb: np.ndarray) -> tuple[float, float]:
    """Row and column of the middle of the red pixels."""
    rows, columns = np.nonzero((rgb[..., 0] > 100) & (rgb[..., 1] < 60) & (rgb[..., 2] < 60))
    assert rows.size > 20, "the red cube is not in the picture"
    return float(rows.mean()), float(columns.mean())


def test_picture_is_upright_and_not_mirrored(scene: Scene, renderer: Renderer) -> None:
    # The front camera looks back along -x: +y is to its right, and nearer to it is lower.
    row, column = red(picture(renderer, scene, state(scene)))
    row_near, _ = red(picture(renderer, scene, state(scene, x=0.33)))
    _, column_left = red(picture(renderer, scene, state(scene, y=-0.1)))
    assert row_near > row + 5
    assert column_left < column - 10


def test_one_renderer_serves_sizes_and_states_and_repeats_itself(scene: Scene, renderer: Renderer) -> None:
    here, there = state(scene), state(scene, y=0.1)
    first = picture(renderer, scene, here)
    for size in ((96, 96), (480, 640), (720, 1280)):  # the last is larger than the scene's buffer
        row, column = red(picture(renderer, scene, there, size))
        assert row / size[0] == pytest.approx(0.62, abs=0.1)
        assert column > size[1] / 2
    assert np.array_equal(picture(renderer, scene, here), first)


def test_state_alone_gives_the_same_picture(scene: Scene, renderer: Renderer) -> None:
    data = state(scene, y=0.05)
    rgb = np.empty((120, 160, 3), np.uint8)
    renderer.render_state(data.qpos, scene.cameras["front"], rgb)
    assert np.array_equal(rgb, picture(renderer, scene, data))


def test_depth_is_metres_along_the_optical_axis(scene: Scene, renderer: Renderer) -> None:
    data, camera = state(scene), scene.cameras["front"]
    rgb, depth = np.empty((120, 160, 3), np.uint8), np.empty((120, 160), np.float32)
    renderer.render(data, camera, rgb, depth)
    eye, axes = data.cam_xpos[camera], data.cam_xmat[camera].reshape(3, 3)
    focal = 60 / np.tan(np.radians(scene.model.cam_fovy[camera]) / 2)
    for row, column in ((60, 80), (100, 20), (90, 140)):
        ray = axes @ np.array([(column + 0.5 - 80) / focal, -(row + 0.5 - 60) / focal, -1.0])
        hit, normal = np.zeros(1, np.int32), None
        groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)  # what is drawn
        length = np.linalg.norm(ray)
        distance = mujoco.mj_ray(scene.model, data, eye, ray / length, groups, 1, -1, hit, normal)
        assert depth[row, column] == pytest.approx(distance / length, rel=0.01)


def test_faithful_casts_shadows_and_fast_does_not(scene: Scene, renderer: Renderer) -> None:
    data = state(scene)
    faithful = Renderer(scene.model, "faithful")
    try:
        lit, shaded = picture(renderer, scene, data), picture(faithful, scene, data)
    finally:
        faithful.close()
    darker = (lit.astype(int) - shaded).max(axis=2) > 20
    assert 50 < darker.sum() < 0.5 * darker.size


def test_rendering_leaves_the_model_alone(scene: Scene) -> None:
    before = (scene.model.vis.quality.offsamples, scene.model.vis.global_.offwidth)
    cam = scene.model.cam_fovy.copy()
    made = Renderer(scene.model)
    picture(made, scene, state(scene), (720, 1280))
    made.close()
    assert (scene.model.vis.quality.offsamples, scene.model.vis.global_.offwidth) == before
    assert np.array_equal(scene.model.cam_fovy, cam)


def test_renderer_can_be_closed_twice_and_used_again(scene: Scene) -> None:
    made = Renderer(scene.model)
    made.close()
    first = picture(made, scene, state(scene))
    made.close()
    made.close()
    assert np.array_equal(picture(made, scene, state(scene)), first)
    made.close()


def test_two_renderers_take_turns(scene: Scene, renderer: Renderer) -> None:
    first = picture(renderer, scene, state(scene))
    other = Renderer(scene.model)
    picture(other, scene, state(scene, y=0.1))
    assert np.array_equal(picture(renderer, scene, state(scene)), first)
    other.close()
    assert np.array_equal(picture(renderer, scene, state(scene)), first)


def test_forgotten_renderer_takes_nothing_from_the_others(scene: Scene, renderer: Renderer) -> None:
    first = picture(renderer, scene, state(scene))
    forgotten = Renderer(scene.model)
    picture(forgotten, scene, state(scene))
    picture(renderer, scene, state(scene, y=0.1))  # this one's context is current when the other goes
    del forgotten
    gc.collect()
    assert np.array_equal(picture(renderer, scene, state(scene)), first)


def test_no_gl_is_one_line_that_names_the_packages(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "off")
    with pytest.raises(DeviceError, match=r"MUJOCO_GL=off.*libegl1 libgl1") as caught:
        Renderer(scene.model).open()
    assert "\n" not in str(caught.value)


def test_unknown_profile_names_the_choices(scene: Scene) -> None:
    with pytest.raises(UsageError, match="did you mean 'fast'"):
        Renderer(scene.model, "fats")


def test_headless_process_renders_without_settings_and_exits_silently() -> None:
    """MuJoCo imported first, no MUJOCO_GL, no screen, renderer never closed: still works and says nothing."""
    code = (
        "import mujoco, numpy as np\n"
        "from twinloop.sim.render import Renderer\n"
        "spec = mujoco.MjSpec()\n"
        "spec.worldbody.add_camera(name='c', pos=[0, 0, 1])\n"
        "spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.3, 0, 0])\n"
        "model = spec.compile(); data = mujoco.MjData(model); mujoco.mj_forward(model, data)\n"
        "rgb = np.zeros((32, 32, 3), np.uint8)\n"
        "renderer = Renderer(model); renderer.render(data, 0, rgb); print(rgb.mean() > 1)\n"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "DISPLAY", "PYOPENGL_PLATFORM")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
