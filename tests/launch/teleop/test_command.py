"""`twinloop teleop` and `twinloop record --device` as a user has them: a terminal, a browser, refusals."""

import hashlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from twinloop.data import Dataset
from twinloop.data.check import check
from twinloop.data.writer import DatasetWriter
from twinloop.launch.cli import main
from twinloop.launch.live_recording import live_spec
from twinloop.launch.teleop.match import check_match, with_devices
from twinloop.robot.errors import DatasetError
from twinloop.robot.guard import read_blackbox
from twinloop.robot.models import load_model
from twinloop.robot.rig import load_rig
from twinloop.sim.tasks import load_task
from websockets.sync.client import connect

RIG = load_rig("so101")
SIZE = ("--size", "64", "48", "--quiet")
WAIT_S = 60
SECOND = r"episode \d+ [1-9]\.\d s"  # of the running episode
pytestmark = pytest.mark.slow


OWN_TERMINAL = (
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "from twinloop.launch.cli import main; sys.exit(main(sys.argv[1:]))"
)


def environment(home):
    return {**os.environ, "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(home)}


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *args, home):
        master, slave = pty.openpty()
        self.master, self.text = master, ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, *map(str, args)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**environment(home), "COLUMNS": "500"},
        )  # fmt: skip
        os.close(slave)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def read(self, seconds=0.05):
        """What it printed meanwhile; false once it has ended."""
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                return False
        return True

    def until(self, words, hold=""):
        """Wait until it says `words` (a regular expression) again, with the key `hold` held, as its repeats tell."""
        begin, end = len(self.text), time.monotonic() + WAIT_S
        while not re.search(words, self.text[begin:]):
            assert time.monotonic() < end, f"'{words}' never came: {self.text[-3000:]}"
            self.press(hold)
            assert self.read(0.03), f"it ended before '{words}': {self.text[-3000:]}"

    def end(self):
        end = time.monotonic() + WAIT_S
        while self.read() and time.monotonic() < end:
            pass
        os.close(self.master)
        return self.process.wait(timeout=WAIT_S)


def infos(root):
    assert check(root).ok, check(root).lines()
    dataset = Dataset(root).open()
    return [dataset.episode(k) for k in range(dataset.num_episodes)]


def content(root):
    """Every file of a folder, and a checksum of it; locks aside."""
    files = (p for p in sorted(root.rglob("*")) if p.is_file() and p.name != "lock")
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two episodes from a terminal, the first with a note and a mark."""
    root = tmp_path_factory.mktemp("teleop") / "d"
    terminal = Terminal(
        "record", root, "--device", "keyboard", "--sim", *SIZE, "--text", "push it", home=root.parent
    )
    terminal.until("Enter starts")
    terminal.press("m")
    terminal.until("note:")
    terminal.press("Two hands\n")
    terminal.until("goes with the next episode")
    terminal.press("\n")
    terminal.until("recording]")
    terminal.until(SECOND, hold="w")
    terminal.press("m")
    terminal.until("mark at")
    terminal.press("y")
    terminal.until("Enter starts")
    terminal.press("\n")
    terminal.until("recording]")
    terminal.until(SECOND)
    terminal.press("n")
    terminal.until("Enter starts")
    terminal.press("q")
    assert terminal.end() == 0, terminal.text
    return root


def test_a_person_at_a_terminal_records_two_episodes(recorded):
    good, bad = infos(recorded)
    assert good.info["success"] and not bad.info["success"] and good.task == "push it"
    assert good.info["note"] == "Two hands" and len(good.info["marks_s"]) == 1 and "note" not in bad.info
    action = good.columns["action"]
    assert abs(action[:, :5] - action[0, :5]).max() > 0.05, "w moved it"
    assert (recorded.parent / "d-starts.png").stat().st_size > 1000


OPERATOR = ("--device", "scripted", "--sim", "--episodes", "1", "--size", "64", "48")


def test_recording_goes_on_where_it_ended_unless_something_differs(recorded, capsys):
    before = content(recorded)
    for extra, word in (
        (("--task", "lift"), "task"),
        (("--rig", "koch"), "rig_hash"),
        (("--size", "96", "64"), "resolution"),
        (("--no-cameras",), "front"),
        (("--emulated",), "sim.qpos"),
    ):
        sim = () if "--emulated" in extra else ("--sim",)
        size = () if "--size" in extra else ("--size", "64", "48")
        assert main(["record", str(recorded), "--device", "web", "--port", "0", *sim, *size, *extra]) == 2
        said = capsys.readouterr()
        assert "does not fit" in said.err and word in said.err and said.err.count("\n") == 1
        assert "page" not in said.out, "nothing was opened"
    assert content(recorded) == before
    assert main(["record", str(recorded), *OPERATOR]) == 0
    assert [e.info["seed"] for e in infos(recorded)] == [0, 1, 2]


def test_a_dry_run_touches_nothing(recorded, tmp_path, capsys):
    before = content(recorded)
    for root in (recorded, tmp_path / "new"):
        assert main(["record", str(root), *OPERATOR, "--dry-run"]) == 0
        assert "nothing was written" in capsys.readouterr().out
    assert content(recorded) == before and not list(tmp_path.iterdir())


def test_another_calibration_does_not_fit(tmp_path):
    """What two sessions would have recorded on a real arm that was calibrated anew between them."""
    specs = []
    for text in ("{}", "{ }"):
        file = tmp_path / "my_arm.json"
        file.write_text(text)
        rig = replace(RIG, arms={"arm": replace(RIG.arms["arm"], calibration=file)})
        specs.append(with_devices(live_spec(rig, load_task("reach"), (), "real"), rig, (), real=True))
    DatasetWriter(tmp_path / "d", specs[0]).open()
    check_match(tmp_path / "d", specs[0])
    with pytest.raises(DatasetError, match="calibration: dataset"):
        check_match(tmp_path / "d", specs[1])


def test_a_closed_terminal_saves_the_episode_and_leaves_nothing_behind(tmp_path):
    root = tmp_path / "d"
    terminal = Terminal(
        "record", root, "--device", "keyboard", "--sim", "--no-cameras", "--quiet", home=tmp_path
    )
    terminal.until("Enter starts")
    terminal.press("\n")
    terminal.until("recording]")
    terminal.until(SECOND)
    os.close(terminal.master)
    assert terminal.process.wait(timeout=WAIT_S) == 129, terminal.text
    (only,) = infos(root)
    assert only.info["ended"] == "interrupted" and only.length > 15


def test_without_a_recording_the_twin_is_moved_by_hand(tmp_path):
    terminal = Terminal("teleop", "--device", "keyboard", "--sim", "--quiet", home=tmp_path)
    terminal.until("idle]")
    terminal.press("y")
    terminal.until("nothing is recorded")
    terminal.press(" ")
    terminal.until("guard estop")
    terminal.press("w\\")
    terminal.until("re-armed")
    terminal.press("q")
    assert terminal.end() == 0 and not list(tmp_path.rglob("*.parquet")), terminal.text


def test_on_the_emulated_arm_an_episode_is_recorded_thrown_away_and_recorded_again(tmp_path):
    """The drivers on their own wire, guard and recorder in processes of their own; parked at the end."""
    root = tmp_path / "d"
    terminal = Terminal(
        *("record", root, "--device", "keyboard", "--emulated", "--no-cameras", "--quiet"), home=tmp_path
    )
    for key, words in (("y", "0: thrown away"), ("n", "idle]")):
        terminal.until("idle]")
        terminal.press("\n")
        terminal.until("recording]")
        terminal.until(SECOND, hold="w")
        terminal.press(key)
        terminal.until("episode 0: .* rows")
        terminal.until("idle]")
        terminal.press("\x7f" if key == "y" else "")
        terminal.until(words)
    terminal.press("q")
    assert terminal.end() == 0, terminal.text
    (only,) = infos(root)
    assert only.info["success"] is False and only.info["backend"] == "emulated" and only.length > 20
    assert abs(only.columns["action"][:, :5] - only.columns["action"][0, :5]).max() > 0.05, "w moved it"
    measured = only.columns["observation.state"]
    assert abs(measured[0, :5] - load_model("so101").home_q_rad).max() < 0.2, "it began at home"
    rest = load_model("so101").rest_q_rad
    columns, rows = read_blackbox(tmp_path / "twinloop" / "so101.blackbox")
    ended = [rows[-1, columns.index(f"measured arm.{joint}")] for joint in load_model("so101").joints]
    assert abs(ended - rest).max() < 0.2, "it parked"


class Browser:
    """A page, as a browser is: what it sees, and what it sends."""

    def __init__(self, socket):
        self.socket, self.state, self.pictures = socket, {}, set()

    def control(self, name):
        self.socket.send(json.dumps({"type": "control", "control": name}))

    def until(self, found, jog=None):
        """Send `jog` every 25 ms until `found(session)`; with `jog` None say nothing."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if jog is not None:
                self.socket.send(json.dumps({"type": "jog", **jog}))
            due = time.monotonic() + 0.025
            while (left := due - time.monotonic()) > 0:
                try:
                    message = self.socket.recv(left)
                except TimeoutError:
                    break
                if isinstance(message, bytes):
                    self.pictures.add(message[1 : 1 + message[0]].decode())
                elif (told := json.loads(message))["type"] == "state":
                    self.state |= told
            if self.state and found(self.state["session"]):
                return self.state["session"]
        pytest.fail(f"never seen: {self.state.get('session')}")


@contextmanager
def browser(*args, home):
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "twinloop.launch.cli", *map(str, args)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment(home),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(m[1] for line in lines if (m := re.search(r"page: http(\S+)", line)))
        with connect(f"ws{url}ws", open_timeout=WAIT_S, max_size=None) as socket:
            yield process, Browser(socket)
    finally:
        process.kill()
        process.wait()


def says(words):
    return lambda session: words in session.get("episode", "")


REST = {"engaged": False}


@pytest.mark.thorough
def test_a_hand_in_a_browser_records_an_episode_and_a_lost_link_holds_the_arm(tmp_path):
    root = tmp_path / "d"
    args = ("record", root, "--device", "web", "--sim", *SIZE, "--port", 0)
    with browser(*args, home=tmp_path) as (process, page):
        page.until(says("idle"), REST)
        page.control("start")
        page.until(says("recording"), REST)
        began = page.state["arms"]["arm"][0]["q"]
        page.until(lambda s: (s["elapsed_s"] or 0) > 1.0, {"engaged": True, "linear": [0, 1, 0]})
        assert abs(page.state["arms"]["arm"][0]["q"] - began) > 0.05
        lost = page.until(lambda s: s["mode"] == "hold")
        assert "heartbeat is lost" in lost["reason"]
        stood = page.state["arms"]["arm"][0]["q"]
        page.until(lambda s: s["mode"] == "run", REST)
        assert abs(page.state["arms"]["arm"][0]["q"] - stood) < 0.1, "it goes on from where it stands"
        page.control("success")
        page.until(says("idle, episode 1"), REST)
        assert {"front", "wrist"} <= page.pictures
        page.control("quit")
        assert process.wait(timeout=WAIT_S) == 0
    (only,) = infos(root)
    assert only.info["success"] and only.info["device"] == "web"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ("teleop", "--device", "mouse"),
            "unknown device 'mouse'; did you mean 'spacemouse'? valid: gamepad",
        ),
        (("teleop", "--device", "keyboard:2"), "there is one only"),
        (("teleop", "--device", "gamepad:x"), "its number"),
        (("teleop", "--device", "web", "--host", "0.0.0.0", "--token", "short"), "8 characters"),
        (("teleop", "--device", "scripted"), "add --sim"),
        (("teleop", "--device", "keyboard", "--sim", "--emulated"), "one of them"),
        (("teleop", "--device", "keyboard", "--sim"), "standard input is no terminal"),
        (("teleop", "--device", "keyboard", "--sim", "--ik", "damped"), "--ik: unknown solver 'damped'"),
        (("teleop", "--device", "leader", "--ik", "dls"), "--ik: a leader tells joint angles"),
        (("record", "x", "--sim"), "--sim: is for what you record yourself; add --device"),
        (("record", "x", "--device", "scripted", "--sim"), "--episodes"),
        (("record", "x", "--device", "web", "--sim", "--task", "cook"), "unknown task 'cook'"),
    ],
)
def test_a_mistake_is_one_line(args, words, capsys):
    more = () if "--sim" in args or "--emulated" in args or "scripted" in args else ("--sim",)
    assert main([*args, *more]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not Path("x").exists()
