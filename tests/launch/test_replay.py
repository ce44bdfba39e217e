"""Replay: a real recording, a synthetic one with a known calibration, and the mistakes one can make."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from html import escape
from pathlib import Path

import numpy as np
import pytest
from twinloop.data import DatasetSpec, DatasetWriter
from twinloop.launch.recording import open_source
from twinloop.launch.replay import ReplayAgent, match, replay
from twinloop.launch.zeros import fit_zeros, overlaps
from twinloop.robot.errors import UsageError
from twinloop.robot.lerobot_units import LeRobotUnits
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.robot.types import Observation
from twinloop.sim.scene import build_scene

REAL = Path(os.environ.get("TWINLOOP_DATA", Path(__file__).parents[3] / "shared/data")) / "so101_teleop_v3"
RIG = load_rig("so101")
ARM = load_model("so101")
NAMES = RIG.state_names()
FPS = 30
SPANS = {  # ticks of a made-up arm
    "shoulder_pan": (700, 3400),
    "shoulder_lift": (900, 3200),
    "elbow_flex": (950, 3150),
    "wrist_flex": (900, 3200),
    "wrist_roll": (200, 3900),
    "gripper": (2000, 3400),
}


def motion(rows: int = 45) -> np.ndarray:
    """Goals around the home pose, (rows, 6), rad and m."""
    t = np.arange(rows)[:, None] / FPS
    phase = np.arange(5)[None, :]
    q = ARM.home_q_rad + 0.12 * (np.sin(2.5 * t + phase) - np.sin(phase))
    return np.column_stack((q, 0.03 + 0.01 * np.sin(2 * t)))


def write(root: Path, names: tuple[str, ...], si: np.ndarray, units: LeRobotUnits | None) -> Path:
    """One episode whose measured poses follow its commands two rows later."""
    spec = DatasetSpec(
        fps=FPS,
        robot_type="so101",
        vectors={"action": names, "observation.state": names},
        extra={"units": "SI: rad, m"} if units is None else {},
    )
    values = si if units is None else units.from_si(si, NAMES)
    with DatasetWriter(root, spec) as writer:
        writer.start("move", {})
        for k in range(len(values)):
            writer.add({"action": values[k], "observation.state": values[max(0, k - 2)]}, {})
        writer.save({})
    return root


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arm") / "arm.json"
    entries = {
        name: {"id": k + 1, "drive_mode": 0, "homing_offset": 0, "range_min": low, "range_max": high}
        for k, (name, (low, high)) in enumerate(SPANS.items())
    }
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, calibration: Path) -> Path:
    root = tmp_path_factory.mktemp("data") / "lerobot"
    return write(root, NAMES, motion(), LeRobotUnits.from_file(calibration, ARM))


def command(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "twinloop.launch.cli", "replay", *map(str, args)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


def test_real_arm(tmp_path: Path):
    if not REAL.exists():
        pytest.skip(f"{REAL} is not there; set TWINLOOP_DATA to the folder with so101_teleop_v3")
    done = command(REAL, "--rig", "so101", "--sim", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no calibration file" in done.stdout
    found = json.loads((tmp_path / "report.json").read_text())
    assert [e["rows"] for e in found["episodes"]] == [373, 374, 372]
    assert [j["joint"] for j in found["overall"]] == [*ARM.joints, "gripper"]
    for joint in found["overall"]:
        twin, real = joint["twin_real"], joint["real_command"]
        assert 0.0 < twin["shifted_rmse_deg"] <= twin["rmse_deg"] < 15.0, joint
        assert abs(twin["shift_ms"]) < 100.0, joint
        assert 50.0 < real["shift_ms"] < 250.0, joint  # a real servo comes later than its command
        assert 0.0 < joint["free_rmse_deg"] < 8.0, joint
    page = (tmp_path / "report.html").read_text()
    assert escape(found["mapping"]) in page and escape("came without its arm's calibration file") in page
    assert len(page.encode()) < 600_000 and page.count("<svg") == 18


def test_zeros_of_the_real_arm_come_from_where_it_stood():
    if not REAL.exists():
        pytest.skip(f"{REAL} is not there; set TWINLOOP_DATA to the folder with so101_teleop_v3")
    source = open_source(REAL, RIG)
    recordings, scene = [source.episode(k) for k in range(3)], build_scene(RIG)
    before, fitted = overlaps(source, recordings, scene), fit_zeros(source, recordings, scene)
    assert before.inside_before == before.inside_after == fitted.inside_before > 50
    assert fitted.inside_after == 0 and fitted.worst_after_m < 3e-3
    assert before.worst_before_m > 20e-3
    turned = np.degrees(fitted.offset_rad)
    assert turned[0] == 0.0 and 3.0 < np.abs(turned).max() < 12.0
    elbow = [replay(source, [0], fit=fit).overall[2].twin_real.rmse_deg for fit in (False, True)]
    assert elbow[1] < 0.8 * elbow[0]


def test_zeros_stay_where_every_pose_is_possible(recording: Path, calibration: Path):
    source = open_source(recording, RIG, calibration)
    fitted = fit_zeros(source, [source.episode(0)], build_scene(RIG))
    assert fitted.inside_before == 0 and not fitted.offset_rad.any()
    plain, turned = (replay(source, fit=fit).episodes[0] for fit in (False, True))
    assert np.array_equal(plain.twin_deg, turned.twin_deg)


def test_known_calibration_gives_back_the_motion(recording: Path, calibration: Path):
    source = open_source(recording, RIG, calibration)
    episode = source.episode(0)
    assert np.allclose(episode.asked_q, motion()[:, :5], atol=1e-6)
    assert episode.asked_width_m is not None and np.allclose(episode.asked_width_m, motion()[:, 5], atol=1e-6)
    assert str(calibration) in source.mapping
    guessed = open_source(recording, RIG).episode(0)
    assert np.abs(guessed.asked_q - motion()[:, :5]).max() > 0.01  # the map matters


def test_replay_of_known_motion(recording: Path, calibration: Path):
    result = replay(open_source(recording, RIG, calibration))
    for joint in result.overall:
        assert joint.twin_real.rmse_deg < 4.0, joint
        assert joint.real_command.shift_ms == pytest.approx(2e3 / FPS, abs=1.0), joint
        assert joint.real_command.shifted_rmse_deg < 0.05, joint
    assert result.episodes[0].twin_deg.shape == (45, 6)
    again = replay(open_source(recording, RIG, calibration))
    assert np.array_equal(again.episodes[0].twin_deg, result.episodes[0].twin_deg)


def test_si_dataset_in_other_order_is_taken_as_it_is(tmp_path: Path, calibration: Path):
    turned = NAMES[::-1]
    root = write(tmp_path / "si", turned, motion()[:, ::-1], None)
    source = open_source(root, RIG)
    assert np.allclose(source.episode(0).asked_q, motion()[:, :5], atol=1e-6)
    assert "rad and m" in source.mapping
    with pytest.raises(UsageError, match="leave out --calibration"):
        open_source(root, RIG, calibration)


def test_agent_shows_the_way_ahead(recording: Path, calibration: Path):
    agent = ReplayAgent(open_source(recording, RIG, calibration).episode(0), "arm", "gripper", 100_000_000)
    agent.reset(0)
    chunks = [agent.act(Observation(k, {}, {}, {})) for k in range(45)]
    assert [len(c.q["arm"]) for c in chunks[-5:]] == [4, 4, 3, 2, 1]
    assert np.array_equal(chunks[7].q["arm"], agent.recording.asked_q[7:11])
    assert chunks[7].t0_ns == 7 and chunks[7].width_m["gripper"].shape == (4,)


def test_match_finds_a_shift_between_rows():
    t = np.arange(200) / FPS
    still = match([0 * t + 3], [0 * t], FPS)
    assert still.shift_ms is None and still.mean_deg == 3.0 and still.rmse_deg == 3.0
    late = match([10 * np.sin(t - 0.05)], [10 * np.sin(t)], FPS)
    assert late.shift_ms == pytest.approx(50.0, abs=1.0)
    assert late.shifted_rmse_deg < 0.01 < late.rmse_deg
    assert math.isclose(match([t + 1], [t], FPS).max_deg, 1.0)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("DATA",), "add --sim"),
        (("nowhere", "--sim"), "nowhere"),
        (("DATA", "--sim", "--episodes", "7"), "has episodes 0 to 0, not 7"),
        (("DATA", "--sim", "--calibration", "missing.json"), "missing.json"),
        (("DATA", "--sim", "--calibration", "wrong.json"), "motor 'gripper' is missing"),
        (("DATA", "--sim", "--out", "wrong.json"), "--out wrong.json"),
        (("NAMES", "--sim"), "did you mean 'elbow_flex.pos'"),
    ],
)
def test_mistakes_are_one_line(recording: Path, tmp_path: Path, args: tuple[str, ...], said: str):
    (tmp_path / "wrong.json").write_text('{"elbow": {}}')
    if args[0] == "NAMES":
        write(tmp_path / "named", tuple(n.replace("elbow_flex", "elbow_flx") for n in NAMES), motion(5), None)
    known = {"DATA": str(recording), "NAMES": "named"}
    done = command(*(known.get(a, a) for a in args), cwd=tmp_path)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 1, done.stderr
    assert lines[0].startswith("twinloop: error: ") and said in lines[0]
    assert not (tmp_path / "out").exists()
