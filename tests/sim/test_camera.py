"""What users rely on in the twin's cameras: true timestamps, latency, gaps, lazy = eager, honest optics."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import mujoco
import numpy as np
import pytest
from twinloop.robot.errors import DeviceError, StaleData, UsageError
from twinloop.robot.rig import load_rig
from twinloop.sim.camera import CameraEffects, TwinCamera
from twinloop.sim.optics import Optics
from twinloop.sim.randomize import standard
from twinloop.sim.render import Renderer
from twinloop.sim.scene import Scene, build_scene
from twinloop.sim.twin import Twin

MS = 1_000_000
SIZE = (96, 96)


def add_cube(spec: mujoco.MjSpec, half_m: float = 0.02) -> None:
    body = spec.worldbody.add_body(name="cube", pos=[0.25, 0.0, half_m], gravcomp=1)
    body.add_freejoint(name="cube")
    body.add_geom(name="cube", type=mujoco.mjtGeom.mjGEOM_BOX, size=[half_m] * 3, rgba=[0.9, 0.1, 0.1, 1])


class Recorder:
    """Stands in for the renderer: notes the positions that it is asked to render."""

    def __init__(self, model: mujoco.MjModel, profile: str = "fast") -> None:
        self.model = model
        self.profile = profile
        self.rendered: list[np.ndarray] = []

    def render_state(self, qpos: np.ndarray, camera: int, rgb: np.ndarray, *_: Any, **__: Any) -> None:
        self.rendered.append(qpos.copy())
        rgb[:] = 100


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(load_rig("so101"), add_cube)


@pytest.fixture(scope="module")
def renderer(scene: Scene):
    made = Renderer(scene.model)
    yield made
    made.close()


@pytest.fixture(scope="module")
def faithful(scene: Scene):
    made = Renderer(scene.model, "faithful")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nominal(scene: Scene):
    yield
    standard(scene.rig, scene).restore(scene)


def make_twin(scene: Scene, draw: Mapping[str, Any] | None = None, speed: float = 0.0) -> Twin:
    """Arm at rest; the cube hovers and moves along +y at `speed`, m/s."""
    twin = Twin(scene, draw)
    address = int(scene.model.joint("cube").qposadr[0])
    twin.data.qpos[address : address + 3] = 0.25, -0.1, 0.1
    twin.set_arm("arm", np.array(scene.descriptions["arm"].rest_q_rad) + np.array([1.6, 0, 0, 0, 0]), 0.03)
    twin.data.qvel[int(scene.model.joint("cube").dofadr[0]) + 1] = speed
    return twin


def camera(
    twin: Twin, renderer: Any, *, size: tuple[int, int] = SIZE, depth: bool | None = None, **effects: Any
) -> TwinCamera:
    """An open camera whose only departures from perfect are `effects`."""
    made = TwinCamera("front", twin, renderer, CameraEffects(**effects), size=size, depth=depth)
    made.open()
    return made


def redness(rgb: np.ndarray) -> np.ndarray:
    """How much redder than the arm's orange each pixel is, (h, w)."""
    levels = rgb.astype(int)
    return levels[..., 0] - 2 * np.maximum(levels[..., 1], levels[..., 2])


def cube_y(scene: Scene, qpos: np.ndarray) -> float:
    return float(qpos[int(scene.model.joint("cube").qposadr[0]) + 1])


# --- time ---------------------------------------------------------------------------------------------------


def test_frames_carry_mid_exposure_and_arrive_after_the_latency(scene: Scene) -> None:
    twin = make_twin(scene)
    eye = camera(twin, Recorder(scene.model), latency_s=0.042, phase=0.25, clock_ppm=150.0)
    period = round(1e9 / 30 * 1.00015)
    assert eye.period_ns == period
    seen = set()
    for _ in range(80):
        twin.clock.sleep_until(twin.clock.now() + 7 * MS)
        now, frame = twin.clock.now(), eye.read()
        arrived = (now - 42 * MS - round(0.25 * period)) // period + 1  # exposures that are old enough
        assert frame.seq == max(0, arrived)
        if frame.seq:
            assert frame.t_ns == round(0.25 * period) + (frame.seq - 1) * period
            assert 42 * MS <= now - frame.t_ns < 42 * MS + period
        seen.add(frame.seq)
    assert seen == set(range(max(seen) + 1))


def test_first_read_shows_the_state_at_open(scene: Scene) -> None:
    twin, recorder = make_twin(scene, speed=0.5), Recorder(scene.model)
    eye = camera(twin, recorder, latency_s=0.03)
    twin.clock.sleep_until(20 * MS)
    frame = eye.read()
    assert (frame.seq, frame.t_ns) == (0, 0)
    assert cube_y(scene, recorder.rendered[0]) == pytest.approx(-0.1)


def test_picture_shows_the_moment_of_its_timestamp(scene: Scene) -> None:
    """Also between physics steps, where the noted state is up to 2.5 ms younger than the exposure."""
    twin, recorder = make_twin(scene, speed=1.0), Recorder(scene.model)
    eye = camera(twin, recorder, latency_s=0.03, phase=0.4)
    between = 0
    for _ in range(6):
        twin.clock.sleep_until(twin.clock.now() + 33 * MS)
        frame = eye.read()
        assert cube_y(scene, recorder.rendered[-1]) == pytest.approx(-0.1 + frame.t_ns * 1e-9, abs=1e-5)
        between += frame.t_ns % twin.clock.step_ns > 0
    assert between


def test_only_frames_that_are_read_are_rendered(scene: Scene) -> None:
    twin, recorder = make_twin(scene), Recorder(scene.model)
    eye = camera(twin, recorder)
    twin.clock.sleep_until(1000 * MS)
    assert not recorder.rendered
    assert eye.read() is eye.read()
    assert len(recorder.rendered) == 1


def test_dropped_exposures_leave_gaps_in_seq(scene: Scene) -> None:
    def run() -> list[int]:
        twin = make_twin(scene)
        eye = camera(twin, Recorder(scene.model), drop_probability=0.3, seed=5, latency_s=0.0)
        sequence = []
        for _ in range(120):
            twin.clock.sleep_until(twin.clock.now() + 33_333_334)
            sequence.append(eye.read().seq)
        return sequence

    sequence = run()
    arrived = set(sequence)
    assert sequence == sorted(sequence)
    assert 0.55 < len(arrived) / 121 < 0.85
    assert max(np.diff(sequence)) >= 2
    assert run() == sequence


def test_latency_jitter_delays_and_never_reorders(scene: Scene) -> None:
    twin = make_twin(scene)
    eye = camera(twin, Recorder(scene.model), latency_s=0.02, latency_jitter_s=0.01, seed=3)
    ages, last = {}, 0
    for _ in range(800):
        twin.clock.sleep_until(twin.clock.now() + twin.clock.step_ns)
        frame = eye.read()
        assert frame.seq >= last
        last = frame.seq
        ages.setdefault(frame.seq, (twin.clock.now() - frame.t_ns) * 1e-9)
    arrival = np.array([age for seq, age in ages.items() if seq])
    assert arrival.min() >= 0.02
    assert 0.005 < np.mean(arrival - 0.02) < 0.016


def test_pulled_cable_is_stale_data_with_an_age(scene: Scene) -> None:
    twin = make_twin(scene)
    eye = camera(twin, Recorder(scene.model))
    twin.clock.sleep_until(200 * MS)
    last = eye.read()
    eye.unplug()
    twin.clock.sleep_until(400 * MS)
    assert eye.read() is last
    twin.clock.sleep_until(600 * MS)
    with pytest.raises(StaleData) as caught:
        eye.read()
    assert caught.value.age_ns == twin.clock.now() - last.t_ns
    eye.unplug(False)
    twin.clock.sleep_until(700 * MS)
    assert eye.read().seq > last.seq + 10


def test_closed_cameras_are_silent_and_can_be_opened_again(scene: Scene) -> None:
    twin, recorder = make_twin(scene), Recorder(scene.model)
    eye = TwinCamera("front", twin, recorder, CameraEffects(), size=SIZE)  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="not open"):
        eye.read()
    eye.open()
    twin.clock.sleep_until(100 * MS)
    eye.close()
    eye.close()
    twin.clock.sleep_until(200 * MS)
    with pytest.raises(DeviceError, match="not open"):
        eye.read()
    eye.open()
    twin.clock.sleep_until(300 * MS)
    frame = eye.read()
    assert (frame.seq, frame.t_ns) == (3, 200 * MS + 2 * eye.period_ns)


def test_wrong_names_and_foreign_renderers_are_refused(scene: Scene) -> None:
    twin = make_twin(scene)
    with pytest.raises(UsageError, match="did you mean 'front'"):
        TwinCamera("frnt", twin, Recorder(scene.model))  # type: ignore[arg-type]
    other = build_scene(load_rig("so101"))
    with pytest.raises(UsageError, match="another scene"):
        TwinCamera("front", twin, Recorder(other.model))  # type: ignore[arg-type]


# --- pictures -----------------------------------------------------------------------------------------------


def run_drawn(scene: Scene, renderer: Renderer, draw: Mapping[str, Any], every_ms: int) -> list[Any]:
    """Frames of one second of an episode with everything randomised, read every `every_ms`."""
    standard(scene.rig, scene).apply(scene, draw)
    twin = make_twin(scene, draw, speed=0.2)
    eyes = [TwinCamera(name, twin, renderer, size=SIZE) for name in scene.rig.cameras]
    for eye in eyes:
        eye.open()
    goal = np.array(scene.descriptions["arm"].rest_q_rad) + 0.3
    twin.arms["arm"].command(goal)
    frames = []
    while twin.clock.now() < 1000 * MS:
        twin.clock.sleep_until(twin.clock.now() + every_ms * MS)
        frames = [eye.read() for eye in eyes]
    return frames


@pytest.mark.parametrize("profile", ["fast", "faithful"])
def test_reading_earlier_frames_changes_nothing(
    scene: Scene, renderer: Renderer, faithful: Renderer, profile: str
) -> None:
    draw = standard(scene.rig, scene).draw(11)
    chosen = renderer if profile == "fast" else faithful
    eager = run_drawn(scene, chosen, draw, 50)
    lazy = run_drawn(scene, chosen, draw, 1000)
    for a, b in zip(eager, lazy, strict=True):
        assert (a.seq, a.t_ns) == (b.seq, b.t_ns)
        assert a.seq > 20
        assert np.array_equal(a.rgb, b.rgb)


def test_a_logged_draw_replays_bit_for_bit_and_another_does_not(scene: Scene, renderer: Renderer) -> None:
    randomizer = standard(scene.rig, scene)
    draw = randomizer.draw(4)
    first = run_drawn(scene, renderer, draw, 200)
    run_drawn(scene, renderer, randomizer.draw(5), 500)
    again = run_drawn(scene, renderer, json.loads(json.dumps(draw)), 200)
    other = run_drawn(scene, renderer, randomizer.draw(6), 200)
    for a, b, c in zip(first, again, other, strict=True):
        assert (a.seq, a.t_ns) == (b.seq, b.t_ns)
        assert np.array_equal(a.rgb, b.rgb)
        assert not np.array_equal(a.rgb, c.rgb)


def test_frames_are_read_only_rgb_of_the_size_asked_for(scene: Scene, renderer: Renderer) -> None:
    twin = make_twin(scene)
    frame = camera(twin, renderer, size=(128, 72)).read()
    assert frame.rgb.shape == (72, 128, 3)
    assert frame.rgb.dtype == np.uint8
    assert not frame.rgb.flags.writeable
    assert frame.depth_m is None
    native = TwinCamera("front", twin, renderer)
    assert (native.spec.width, native.spec.height, native.spec.fps) == (640, 480, 30)


def test_perfect_camera_delivers_what_is_rendered(scene: Scene, renderer: Renderer) -> None:
    twin = make_twin(scene)
    frame = camera(twin, renderer).read()
    rgb = np.empty((96, 96, 3), np.uint8)
    renderer.render(twin.data, scene.cameras["front"], rgb)
    assert np.array_equal(frame.rgb, rgb)


def test_depth_camera_has_metres_and_holes(scene: Scene, renderer: Renderer) -> None:
    twin = make_twin(scene)
    frame = camera(twin, renderer, depth=True, depth_noise=0.002, depth_min_m=0.2, depth_max_m=0.9).read()
    assert frame.depth_m is not None and frame.depth_m.dtype == np.float32
    true = np.empty((96, 96), np.float32)
    renderer.render(twin.data, scene.cameras["front"], np.empty((96, 96, 3), np.uint8), true)
    known = frame.depth_m > 0
    assert 0.3 < known.mean() < 0.99
    assert not known[true > 0.9].any()
    error = frame.depth_m[known] - true[known]
    assert 0.0003 < error.std() < 0.003
    assert np.allclose(frame.depth_m * 1000, np.rint(frame.depth_m * 1000), atol=1e-3)


def test_realsense_in_the_rig_means_depth(scene: Scene, renderer: Renderer) -> None:
    rig = scene.rig
    cameras = {**rig.cameras, "front": replace(rig.cameras["front"], kind="realsense")}
    twin = make_twin(replace(scene, rig=replace(rig, cameras=cameras)))
    eye = TwinCamera("front", twin, renderer, size=SIZE)
    eye.open()
    assert eye.spec.depth
    assert eye.read().depth_m is not None


def test_motion_blurs_a_faithful_picture_and_stillness_does_not(scene: Scene, faithful: Renderer) -> None:
    def picture(speed: float, height: float = 0.1, **effects: Any) -> np.ndarray:
        twin = make_twin(scene, speed=speed)
        twin.data.qpos[int(scene.model.joint("cube").qposadr[0]) + 2] = height
        eye = camera(twin, faithful, size=(320, 240), latency_s=0.0, **effects)
        twin.clock.sleep_until(40 * MS)  # the second exposure, at 33.3 ms
        return eye.read().rgb.astype(int)

    empty = picture(0.0, height=-1.0)

    def seen(rgb: np.ndarray) -> np.ndarray:
        """Where the cube (or its shadow) is in the picture, (h, w)."""
        return np.abs(rgb - empty).max(axis=2) > 12

    def place(rgb: np.ndarray) -> tuple[float, float]:
        """Row and column of the middle of what the cube adds to the picture."""
        added = np.abs(rgb - empty).sum(axis=2)[:120]  # above its shadow
        rows, columns = np.indices(added.shape)
        return float((rows * added).sum() / added.sum()), float((columns * added).sum() / added.sum())

    assert np.abs(picture(0.0) - picture(0.0, exposure_s=0.02)).mean() < 0.3
    sharp, blurred = picture(1.5), picture(1.5, exposure_s=0.02)
    assert seen(blurred).any(axis=0).sum() > seen(sharp).any(axis=0).sum() + 8  # 3 cm of motion

    high, far = picture(1.5, height=0.25), picture(0.0, height=0.25)
    rolled = picture(1.5, height=0.25, readout_s=0.03)
    row, column = place(high)
    early_s = (0.5 - row / 240) * 0.03  # rows above the middle are exposed before mid-exposure
    per_metre = (column - place(far)[1]) / (1.5 / 30)
    assert early_s > 0.002
    assert column - place(rolled)[1] == pytest.approx(1.5 * early_s * per_metre, rel=0.25)


def test_the_front_camera_sees_the_cube_in_every_draw() -> None:
    """At 96x96 a 25 mm cube in the workspace is at least 4 px wide, whatever is drawn."""
    scene = build_scene(load_rig("so101"), lambda spec: add_cube(spec, 0.0125))
    renderer, randomizer = Renderer(scene.model), standard(scene.rig, scene)
    address = int(scene.model.joint("cube").qposadr[0])
    for seed in range(16):
        draw = randomizer.draw(seed)
        randomizer.apply(scene, draw)
        for x, y in ((0.25, 0.05), (0.2, -0.15), (0.33, 0.0)):
            pictures = []
            for z in (0.0125, -1.0):
                twin = make_twin(scene, draw)
                twin.data.qpos[address : address + 3] = x, y, z
                eye = TwinCamera("front", twin, renderer, size=SIZE)
                eye.open()
                pictures.append(eye.read().rgb.astype(int))
            changed = np.abs(pictures[0] - pictures[1]).max(axis=2) > 25
            assert changed.any(axis=0).sum() >= 4, (seed, x, y)
    renderer.close()


# --- optics -------------------------------------------------------------------------------------------------

GREY = np.full((480, 640, 3), 128, np.uint8)


def develop(picture: np.ndarray = GREY, seq: int = 1, jpeg: bool = False, **effects: Any) -> np.ndarray:
    height, width = picture.shape[:2]
    return Optics(CameraEffects(**effects), width, height, 50.0).develop(picture, seq, jpeg)


def test_exposure_white_balance_and_gamma_act_in_light() -> None:
    assert np.array_equal(develop(), GREY)
    twice = 255 * (2 * (128 / 255) ** 2.2) ** (1 / 2.2)
    assert develop(gain=2.0)[0, 0] == pytest.approx([twice] * 3, abs=1)
    warm = develop(white_balance=(1.1, 1.0, 0.9))[0, 0].astype(int)
    assert warm[0] > 128 == warm[1] > warm[2]
    assert develop(gamma=1.1)[0, 0, 0] < 128


def test_noise_has_the_promised_size_and_never_repeats() -> None:
    first = develop(photon_noise=0.02, read_noise=0.002).astype(float)
    light = (128 / 255) ** 2.2
    sd = math.hypot(0.02 * math.sqrt(light), 0.002) * 255 / 2.2 * light ** (1 / 2.2 - 1)
    assert first.std() == pytest.approx(sd, rel=0.08)
    assert first.mean() == pytest.approx(128, abs=0.1)
    assert np.array_equal(first, develop(photon_noise=0.02, read_noise=0.002))
    second = develop(seq=2, photon_noise=0.02, read_noise=0.002).astype(float)
    other = develop(seed=9, photon_noise=0.02, read_noise=0.002).astype(float)
    for different in (second, other):
        assert abs(np.corrcoef(first.ravel(), different.ravel())[0, 1]) < 0.05


def test_vignetting_takes_its_share_from_the_corners() -> None:
    shaded = develop(vignetting=0.3)
    assert shaded[240, 320, 0] == 128
    assert shaded[0, 0, 0] == pytest.approx(128 * 0.7 ** (1 / 2.2), abs=1.5)


def test_blur_and_jpeg_soften_edges() -> None:
    edge = GREY.copy()
    edge[:, 323:] = 255
    assert develop(edge, blur_px=1.0)[240, 322, 0] > 140
    assert np.array_equal(develop(edge, jpeg_quality=70), edge)  # `fast` does not compress
    assert not np.array_equal(develop(edge, jpeg_quality=70, jpeg=True), edge)


@pytest.mark.parametrize("k", [(-0.08, 0.02, 0.002, -0.002), (0.04, 0.0, 0.0, 0.0)])
def test_distortion_is_opencvs(scene: Scene, renderer: Renderer, k: tuple[float, ...]) -> None:
    """A cube's face lands where cv2.projectPoints puts it, in the corner of the picture too."""
    for y in (0.0, 0.22):
        twin = make_twin(scene)
        address = int(scene.model.joint("cube").qposadr[0])
        twin.data.qpos[address : address + 3] = 0.36, y, 0.05
        mujoco.mj_forward(twin.model, twin.data)
        rgb = camera(twin, renderer, size=(640, 480), distortion=k).read().rgb
        rows, columns = np.nonzero(redness(rgb) > 30)
        camera_id, body = scene.cameras["front"], scene.model.body("cube").id
        axes = twin.data.cam_xmat[camera_id].reshape(3, 3) * [1, -1, -1]  # x right, y down, z forward
        corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * 0.02
        points = (twin.data.xpos[body] + corners - twin.data.cam_xpos[camera_id]) @ axes
        f = 240 / math.tan(math.radians(scene.model.cam_fovy[camera_id]) / 2)
        lens = np.array([[f, 0, 319.5], [0, f, 239.5], [0, 0, 1]])
        pixels = cv2.projectPoints(points, np.zeros(3), np.zeros(3), lens, np.array(k))[0][:, 0]
        hull = cv2.convexHull(pixels.astype(np.float32))[:, 0]
        lo, hi = hull.min(axis=0), np.minimum(hull.max(axis=0), (639, 479))
        assert [columns.min(), rows.min()] == pytest.approx(lo, abs=1.6)
        assert [columns.max(), rows.max()] == pytest.approx(hi, abs=1.6)


def test_distortion_leaves_no_blank_corners() -> None:
    lens = Optics(CameraEffects(distortion=(0.04, 0.02, 0.0, 0.0)), 640, 480, 50.0)
    barrel = Optics(CameraEffects(distortion=(-0.08, -0.02, 0.002, 0.002)), 640, 480, 50.0)
    assert lens.zoom == pytest.approx(1.0, abs=0.02)
    assert 1.02 < barrel.zoom < 1.3


def test_auto_exposure_brings_dark_and_bright_rooms_together(scene: Scene, renderer: Renderer) -> None:
    def brightness(level: float, auto: float) -> float:
        ambient = scene.model.light_ambient.copy()
        scene.model.light_ambient[:] += level
        try:
            return float(camera(make_twin(scene), renderer, auto_exposure=auto).read().rgb.mean())
        finally:
            scene.model.light_ambient[:] = ambient

    fixed = brightness(0.4, 0.0) - brightness(0.0, 0.0)
    corrected = brightness(0.4, 1.0) - brightness(0.0, 1.0)
    assert fixed > 30
    assert abs(corrected) < 0.3 * fixed
