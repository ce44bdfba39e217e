"""A task around the emulated arm: the guard's process drives it, cameras of their own look at it, in real time."""

import time

import numpy as np
import pytest
from twinloop.robot.cameras.process import CameraProcess
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError, StaleData
from twinloop.robot.process import GuardProcess
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk
from twinloop.sim.emulate.process import EmulatorProcess
from twinloop.sim.emulate.stage import Stage

RIG, CLOCK, MS = load_rig("so101"), RealClock(), 1_000_000
SIZE = (96, 72)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def emulator():
    with EmulatorProcess(RIG, Stage("pick_place", seed=3, size=SIZE)) as made:
        yield made


@pytest.fixture(scope="module")
def camera(emulator):
    made = CameraProcess(
        "front",
        _small(RIG),
        CLOCK,
        source="twinloop.sim.emulate.camera:connect",
        options={"folder": str(emulator.folder)},
    )
    made.open()
    yield made
    made.close()


def _small(rig):
    from dataclasses import replace

    cameras = {n: replace(c, width=SIZE[0], height=SIZE[1]) for n, c in rig.cameras.items()}
    return replace(rig, cameras=cameras)


def frames(camera, seconds):
    found, end = {}, time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            frame = camera.read()
            found[frame.seq] = frame
        except (StaleData, DeviceError):
            pass
        time.sleep(0.005)
    return list(found.values())


def test_an_episode_is_placed_judged_and_seen(emulator, camera):
    done, objects = emulator.judge()
    assert not done and len(objects) == 6  # cube and box
    seen = frames(camera, 1.0)
    assert len(seen) > 5 and seen[0].rgb.shape == (SIZE[1], SIZE[0], 3)
    ages = [CLOCK.now() - frame.t_ns for frame in seen[-1:]]
    assert 0 < ages[0] < 1000 * MS
    emulator.place(11)
    again, other = emulator.judge()
    assert not again and np.abs(np.array(other) - objects).max() > 0.01
    time.sleep(0.5)
    later = frames(camera, 0.5)[-1]
    assert later.seq > seen[-1].seq
    assert np.abs(later.rgb.astype(int) - seen[-1].rgb).mean() > 3  # another look of the world


def test_the_camera_sees_the_arm_move(emulator, camera):
    guard = GuardProcess(RIG, emulator.paths)
    guard.open()
    try:
        before = frames(camera, 0.4)[-1]
        start = guard.arm_states["arm"].q
        goal = np.array([0.3, -0.3, 0.3, 1.0, -1.5])
        begin = CLOCK.now()
        while CLOCK.now() - begin < 2500 * MS:
            now, share = CLOCK.now(), min(1.0, (CLOCK.now() - begin) / 2e9)
            row = start + share * (goal - start)
            guard.submit(ActionChunk(now, 33 * MS, {"arm": row[None]}, {}, now + 90 * MS))
            CLOCK.sleep_until(now + 30 * MS)
        assert np.abs(guard.arm_states["arm"].q - goal).max() < 0.15
        after = frames(camera, 0.4)[-1]
        assert (np.abs(after.rgb.astype(int) - before.rgb).max(axis=2) > 60).mean() > 0.02
    finally:
        guard.park()
        end = time.monotonic() + 20
        while not guard.parked and time.monotonic() < end:
            time.sleep(0.02)
        guard.close(unparked=not guard.parked)


@pytest.mark.parametrize("fault", ["frozen", "gone"])
def test_a_frozen_camera_and_one_that_is_gone_are_stale_and_come_back(emulator, camera, fault):
    emulator.camera_fault("front", fault)
    end = time.monotonic() + 20
    with pytest.raises(StaleData):
        while time.monotonic() < end:
            camera.read()
            time.sleep(0.01)
    emulator.camera_fault("front", "")
    assert len(frames(camera, 3.0)) > 3


def test_a_slow_camera_delivers_fewer_pictures(emulator, camera):
    usual = len(frames(camera, 1.5))
    emulator.camera_fault("front", "slow")
    try:
        time.sleep(0.3)
        assert len(frames(camera, 1.5)) < usual / 3
    finally:
        emulator.camera_fault("front", "")


def test_an_emulated_realsense_shows_the_same_scene_through_its_own_driver(emulator):
    pytest.importorskip("pyrealsense2", exc_type=ImportError)
    from dataclasses import replace

    small = _small(RIG)
    front = replace(small.cameras["front"], kind="realsense")
    options = {
        "folder": str(emulator.folder),
        "device": "twinloop.sim.emulate.realsense:open_device",
        "depth_size": list(SIZE),
    }
    made = CameraProcess("front", replace(small, cameras={"front": front}), CLOCK, options=options)
    made.open()
    try:
        seen = frames(made, 1.5)
        assert len(seen) > 5
        frame = seen[-1]
        assert frame.rgb.std() > 10 and 0 < CLOCK.now() - frame.t_ns < 1000 * MS
    finally:
        made.close()
