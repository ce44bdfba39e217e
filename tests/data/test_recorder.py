"""The recorder: steps of the loop become rows with true times, what was asked and what was sent."""

from dataclasses import replace

import numpy as np
import pytest
from twinloop.data import Dataset, DatasetWriter, Recorder, recorder_spec
from twinloop.data.check import check
from twinloop.data.info import summary
from twinloop.robot.errors import DatasetError, UsageError
from twinloop.robot.types import (
    ActionChunk,
    Applied,
    ArmState,
    CameraSpec,
    Frame,
    GripperState,
    Observation,
    Step,
    frozen,
)

STEP_NS = 33_333_333
NAMES = ("shoulder", "elbow")


def state(t_ns: int, q) -> ArmState:
    zero = frozen(np.zeros(len(q)))
    return ArmState(t_ns, frozen(q), frozen(np.ones(len(q))), frozen(np.full(len(q), 2.0)), zero, zero)


def step(k: int, *, seq: int | None = -1, limits=None, mode="run", source="person", t0=10**12, meant=None):
    """Step k: the arm at (k, 0.5), meant and asked (k, 1), sent (k, 2); the camera frame is 12 ms old."""
    meant = meant or ({"arm": frozen([[k, 1]])}, {"gripper": frozen([0.04])})
    t = t0 + k * STEP_NS
    frames = {}
    if seq is not None:
        number = k if seq == -1 else seq
        frames["front"] = Frame(t - 12_000_000, number, np.full((96, 96, 3), 40 + 10 * k, np.uint8))
    obs = Observation(
        t, {"arm": state(t - 1_000_000, [k, 0.5])}, {"gripper": GripperState(t, 0.03, 1.5)}, frames
    )
    applied = Applied(
        t,
        {"arm": frozen([k, 1])},
        {"arm": frozen([k, 2])},
        {"gripper": 0.04},
        {"gripper": 0.05},
        limits or {},
        mode,
        source,
    )
    chunk = ActionChunk(t, STEP_NS, *meant, t + 3 * STEP_NS, source)
    return Step(obs, chunk, applied)


@pytest.fixture
def recorder(tmp_path):
    spec = recorder_spec(
        fps=30,
        robot_type="so101",
        arms={"arm": NAMES},
        grippers=["gripper"],
        cameras={"front": CameraSpec(96, 96, 30)},
        vectors={"sim.objects": ("cube.x", "cube.y")},
        extra={"rig": "so101"},
    )
    with DatasetWriter(tmp_path / "d", spec) as writer:
        yield Recorder(writer, vectors={"sim.objects": lambda step: (0.1, step.obs.t_ns * 0)})


def saved(recorder):
    recorder.writer.close()
    assert check(recorder.writer.root).ok
    return Dataset(recorder.writer.root).open()


def test_a_step_becomes_a_row(recorder):
    recorder.start("pick", {"seed": 3})
    for k in range(5):
        recorder.on_step(step(k))
    recorder.save(success=True)
    dataset = saved(recorder)
    assert dataset.spec.vectors["observation.state"] == ("shoulder.pos", "elbow.pos", "gripper.pos")
    columns = dataset.episode(0).columns
    np.testing.assert_allclose(columns["observation.state"][3], [3, 0.5, 0.03])
    np.testing.assert_allclose(columns["observation.velocity"][3], [1, 1])
    np.testing.assert_allclose(columns["observation.effort"][3], [2, 2, 1.5])
    np.testing.assert_allclose(columns["action"][3], [3, 1, 0.04])
    np.testing.assert_allclose(columns["action.asked"][3], [3, 1, 0.04])
    np.testing.assert_allclose(columns["action.sent"][3], [3, 2, 0.05])
    np.testing.assert_allclose(columns["sim.objects"][3], [0.1, 0])
    np.testing.assert_allclose(columns["time.observation"], np.arange(5) * STEP_NS * 1e-9, atol=1e-9)
    np.testing.assert_allclose(columns["time.arm.arm"], np.arange(5) * STEP_NS * 1e-9 - 0.001, atol=1e-9)
    np.testing.assert_allclose(columns["time.camera.front"], np.arange(5) * STEP_NS * 1e-9 - 0.012, atol=1e-9)
    np.testing.assert_array_equal(columns["camera.front.seq"], range(5))
    np.testing.assert_array_equal(columns["next.success"], [False] * 4 + [True])
    assert dataset.episode(0).info["seed"] == 3 and dataset.episode(0).info["success"] is True


def test_the_action_is_what_was_meant_at_the_observation(recorder):
    """Not the noisy command, nor a later row of the chunk; the command where the answer was no command."""
    recorder.start("pick")
    rows = frozen([[7, 8], [9, 10]])
    recorder.on_step(step(0, meant=({"arm": rows}, {"gripper": frozen([0.01, 0.02])})))
    early = replace(step(1).chunk, t0_ns=10**12 + STEP_NS // 2, q={"arm": rows})  # half a period old
    recorder.on_step(replace(step(1), chunk=early))
    recorder.on_step(step(2, meant=({}, {})))  # left out: what was asked before goes on
    for k, bad in enumerate(([[np.nan, 1]], [[1, 2, 3]], np.empty((0, 2)))):
        recorder.on_step(step(3 + k, meant=({"arm": np.array(bad)}, {"gripper": np.array([np.inf])})))
    recorder.on_step(replace(step(6), chunk=None))
    recorder.save()
    columns = saved(recorder).episode(0).columns
    np.testing.assert_allclose(
        columns["action"], [[7, 8, 0.01], [8, 9, 0.04], *([k, 1, 0.04] for k in range(2, 7))]
    )
    np.testing.assert_allclose(columns["action.asked"][:2], [[0, 1, 0.04], [1, 1, 0.04]])


def test_repeated_and_dropped_frames_are_told_apart(recorder):
    recorder.start("pick")
    # Row 2 shows frame 1 again; frame 3 never came; row 5 has none; frames 7 and 8 never came.
    for k, seq in enumerate([0, 1, 1, 2, 4, None, 6, 9]):
        recorder.on_step(step(k, seq=seq))
    recorder.save()
    dataset = saved(recorder)
    columns = dataset.episode(0).columns
    np.testing.assert_array_equal(columns["camera.front.dropped"], [0, 0, 0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(columns["camera.front.seq"], [0, 1, 1, 2, 4, 4, 6, 9])
    assert columns["time.camera.front"][5] == columns["time.camera.front"][4]  # of the picture shown
    assert dataset.episode(0).info["cameras"] == {"front": {"dropped": 1 + 1 + 2, "repeated": 1}}


def test_a_camera_faster_than_the_loop_drops_nothing(recorder):
    recorder._camera_fps = {"front": 60.0}
    recorder.start("pick")
    for k in range(6):
        recorder.on_step(step(k, seq=2 * k))
    recorder.save()
    assert saved(recorder).episode(0).info["cameras"] == {"front": {"dropped": 0, "repeated": 0}}


def test_limits_modes_sources_and_interventions(recorder):
    recorder.start("pick")
    recorder._intervention = lambda step: step.applied.source == "person"
    recorder.on_step(step(0, limits={"speed": 2}, source="policy:1"))
    recorder.on_step(step(1, limits={"table": 1, "speed": 1, "jerk": 0}, source="person", mode="hold"))
    recorder.on_step(step(2, source="policy:1"))
    recorder.save(success=False)
    dataset = saved(recorder)
    columns, extra = dataset.episode(0).columns, dataset.spec.extra
    assert extra["limit_names"] == ["speed", "table"] and extra["sources"] == ["policy:1", "person"]
    np.testing.assert_array_equal(columns["guard.limits"], [0b01, 0b11, 0])
    np.testing.assert_array_equal(columns["guard.mode"], [0, extra["modes"].index("hold"), 0])
    np.testing.assert_array_equal(columns["source"], [0, 1, 0])
    np.testing.assert_array_equal(columns["intervention"], [0, 1, 0])
    assert not columns["next.success"].any() and dataset.episode(0).info["limited_rows"] == 2
    found = summary(dataset.root)
    assert found.sources == {"policy:1": 2, "person": 1} and found.interventions == 1
    assert found.successes == (0, 1)


def test_two_arms_prefix_their_names_and_keep_the_order_of_the_rig(tmp_path):
    spec = recorder_spec(
        fps=30,
        robot_type="bi",
        arms={"left": NAMES, "right": NAMES},
        grippers=["left_gripper", "right_gripper"],
    )
    assert spec.vectors["action"] == (
        *("left.shoulder.pos", "left.elbow.pos", "right.shoulder.pos", "right.elbow.pos"),
        *("left_gripper.pos", "right_gripper.pos"),
    )
    with DatasetWriter(tmp_path / "d", spec) as writer:
        recorder = Recorder(writer)
        recorder.start("fold")
        arms = {"right": state(5, [3, 4]), "left": state(5, [1, 2])}  # another order than the rig's
        grippers = {"right_gripper": GripperState(5, 0.2, 0), "left_gripper": GripperState(5, 0.1, 0)}
        empty = Applied(5, {}, {}, {}, {})
        nothing = ActionChunk(5, 1, {}, {}, 6)
        recorder.on_step(Step(Observation(5, arms, grippers, {}), nothing, empty))
        recorder.save()
    dataset = Dataset(tmp_path / "d").open()
    np.testing.assert_allclose(dataset.column("observation.state"), [[1, 2, 3, 4, 0.1, 0.2]])
    np.testing.assert_allclose(dataset.column("action"), [[1, 2, 3, 4, 0.1, 0.2]])  # nothing asked: stay


def test_steps_outside_an_episode_are_ignored_and_times_start_anew(recorder):
    recorder.on_step(step(0))
    assert not recorder.recording
    for t0 in (10**12, 2 * 10**12):
        recorder.start("pick")
        recorder.on_step(step(0, t0=t0))
        recorder.on_step(step(1, t0=t0))
        recorder.save()
        recorder.on_step(step(2, t0=t0))
    recorder.start("pick")
    recorder.on_step(step(0))
    recorder.discard()
    dataset = saved(recorder)
    assert dataset.lengths == (2, 2)
    assert dataset.episode(1).columns["time.observation"][0] == 0


def test_what_does_not_fit_is_told(recorder):
    recorder.start("pick")
    odd_camera = replace(step(0).obs, frames={"frnt": step(0).obs.frames["front"]})
    with pytest.raises(DatasetError, match="camera 'frnt' is not in the dataset; did you mean 'front'"):
        recorder.on_step(replace(step(0), obs=odd_camera))
    recorder.discard()
    odd = Recorder(recorder.writer, vectors={"sim.object": lambda step: ()})
    with pytest.raises(UsageError, match="no vector 'sim.object'; did you mean 'sim.objects'"):
        odd.start("pick")
