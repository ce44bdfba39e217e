"""`twinloop blackbox`: what a guard's last seconds tell, and the twin's answer to the same commands."""

import subprocess
import sys

import numpy as np
import pytest
from twinloop.launch.blackbox import blackbox_path, load_log, replay_log, told
from twinloop.robot.errors import UsageError
from twinloop.robot.guard import Guard
from twinloop.robot.rig import load_rig
from twinloop.robot.robot import GuardedRobot
from twinloop.robot.types import ActionChunk
from twinloop.sim.scene import build_scene
from twinloop.sim.twin import Twin

RIG, MS = load_rig("so101"), 1_000_000


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """Of a twin that followed commands and met an e-stop."""
    path = tmp_path_factory.mktemp("box") / "so101.blackbox"
    twin = Twin(build_scene(RIG))
    home = np.array(twin.scene.descriptions["arm"].home_q_rad)
    twin.set_arm("arm", home, 0.03)
    robot = GuardedRobot(RIG, twin.clock, Guard(RIG, twin.arms, twin.grippers, twin.clock, blackbox=path), {})
    robot.open()
    for k in range(60):
        now = robot.clock.now()
        goal = home + [0.5 * np.sin(0.1 * k), 0.2, 0, 0, 0]
        robot.apply(
            ActionChunk(now, 33 * MS, {"arm": goal[None]}, {"gripper": np.array([0.02])}, now + 90 * MS)
        )
        robot.clock.sleep_until(now + 33 * MS)
    robot.guard.estop("somebody pressed it")
    robot.clock.sleep_until(robot.clock.now() + 300 * MS)
    robot.guard.close(unparked=True)
    return path


def test_the_story_names_modes_reasons_limits_and_the_last_pose(box):
    lines = list(told(load_log(box)))
    text = "\n".join(lines)
    assert "200 Hz; 0 late" in lines[0] and "at the end: estop" in lines[1]
    assert "estop: somebody pressed it" in text and "run: chunk" in text and "jerk" in text
    assert any(line.startswith("arm.shoulder_pan") for line in lines)


def test_the_twin_takes_the_same_commands_the_same_way(box):
    found = {joint.name: joint for joint in replay_log(load_log(box), RIG)}
    assert len(found) == 6
    for joint in found.values():  # the first moments differ: backlash and load settle anew
        assert joint.rms < (0.5 if joint.unit == "deg" else 1.5), joint


def test_what_is_no_black_box_is_one_line(tmp_path, box):
    other = tmp_path / "x"
    other.write_text("hello")
    for path, words in ((other, "not a Twinloop black box"), (tmp_path / "none", "no such file")):
        with pytest.raises(UsageError, match=words):
            load_log(path)
    with pytest.raises(UsageError, match="is it of this rig"):
        replay_log(load_log(box), load_rig("so101_bimanual"))


def test_the_command_finds_the_one_of_the_rig(box, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = blackbox_path(RIG)
    path.parent.mkdir()
    path.write_bytes(box.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "twinloop.launch.cli", "blackbox", "show"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "at the end: estop" in done.stdout, done.stderr
