"""The operator's page, its own process, talked to as a browser does: HTTP and a WebSocket."""

import json
import re
import ssl
import urllib.error
import urllib.request

import numpy as np
import pytest
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError, UsageError
from twinloop.robot.rig import load_rig
from twinloop.robot.types import ActionChunk, Applied, ArmState, Frame, GripperState, Observation, Step
from twinloop.teleop.controls import KEYS, NAMES
from twinloop.teleop.page import PageProcess
from twinloop.teleop.page.asks import checked
from twinloop.teleop.page.dropped import Dropped
from twinloop.teleop.page.link import Link, make_link
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

RIG, CLOCK = load_rig("so101"), RealClock()
HOME = np.array([0.0, -0.6, 0.45, 1.3, -1.52])
WAIT_S = 20.0


def step(seq=1):
    t_ns, zeros = CLOCK.now(), np.zeros(5)
    arm = ArmState(t_ns, HOME, zeros, zeros, np.full(5, np.nan), zeros)
    picture = Frame(t_ns, seq, np.full((480, 640, 3), 90, np.uint8))
    obs = Observation(t_ns, {"arm": arm}, {"gripper": GripperState(t_ns, 0.03, 1.0)}, {"front": picture})
    chunk = ActionChunk(t_ns, 33_000_000, {"arm": HOME[None]}, {}, t_ns + 10**8)
    return Step(obs, chunk, Applied(t_ns, {"arm": HOME}, {"arm": HOME}, {}, {}, {}, "run", "person"))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with PageProcess(RIG, make_link("127.0.0.1", 0), tmp_path_factory.mktemp("tls")) as page:
        yield page


def socket_of(page, **options):
    return connect(f"ws://127.0.0.1:{page.port}/ws", open_timeout=WAIT_S, close_timeout=1, **options)


def until(page, found):
    """Steps and patience until `found()` is something."""
    due, seq = CLOCK.now() + WAIT_S * 1e9, 0
    while CLOCK.now() < due:
        seq += 1
        page.on_step(step(seq))
        if (what := found()) is not None:
            return what
        CLOCK.sleep_until(CLOCK.now() + 20_000_000)
    pytest.fail("nothing came")


def test_the_page_and_its_parts_are_served_and_nothing_else(page):
    for name, part in (("", "hold to move"), ("page.js", "WebSocket"), ("style.css", "--bad")):
        with urllib.request.urlopen(f"{page.url}{name}") as answer:
            assert (
                part in answer.read().decode()
                and "default-src 'self'" in answer.headers["Content-Security-Policy"]
            )
    for name in ("server.py", "../server.py", "%2e%2e/server.py", "nothing.js"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(page.url + name)


def test_a_browser_sees_joints_cameras_the_session_and_pictures(page):
    page.tell({"rig": "so101", "mode": "hold", "episode": "episode 3"})
    with socket_of(page) as socket:
        seen = {}

        def look():
            message = socket.recv(WAIT_S)
            if isinstance(message, bytes):
                seen[message[1 : 1 + message[0]].decode()] = message[1 + message[0] :]
            elif "arms" in (told := json.loads(message)):
                seen["state"] = told
            return seen if {"state", "front", "3d"} <= seen.keys() else None

        found = until(page, look)
    joint = found["state"]["arms"]["arm"][3]
    assert joint["name"] == "wrist_flex" and joint["q"] == pytest.approx(1.3) and joint["temperature"] is None
    assert found["state"]["session"]["episode"] == "episode 3"
    assert found["state"]["cameras"]["front"]["age_ms"] >= 0
    assert found["front"][:2] == found["3d"][:2] == b"\xff\xd8", "JPEG"


def test_a_hand_on_the_page_moves_while_it_is_heard(page):
    with socket_of(page) as socket:
        socket.send(json.dumps({"type": "jog", "engaged": True, "linear": [1, 0, 0], "width": 0.25}))
        jog = until(page, lambda: j if (j := page.read(CLOCK.now())).engaged else None)
        assert jog.linear_m_s[0] > 0 and jog.width_share == 0.25
        socket.send(json.dumps({"type": "control", "control": "success"}))
        assert until(page, lambda: page.controls() or None) == ("success",)
    heard = page.beat_ns()
    assert not page.read(heard + 100_000_001).engaged, "a link that is lost lets go"


def test_frames_that_the_loop_never_saw_are_counted():
    counted = Dropped({"front": 1.0})
    pixels = np.zeros((1, 1, 3), np.uint8)
    # A repeated frame is none that is lost; neither are those while the loop stood, or of a camera that began anew.
    for t_ms, seq, lost in (
        (0, 5, 0),
        (33, 6, 0),
        (66, 8, 1),
        (99, 8, 1),
        (132, 10, 1),
        (5000, 99, 1),
        (5033, 1, 1),
    ):
        frame = Frame(t_ms * 10**6, seq, pixels)
        counted.look(Observation(t_ms * 10**6, {}, {}, {"front": frame}))
        assert counted.count == lost, t_ms


def test_every_control_has_a_button_with_the_key_of_the_terminal(page):
    with urllib.request.urlopen(page.url) as answer:
        text = answer.read().decode()
    buttons = dict(re.findall(r'data-control="(\w+)" data-key="([^"]+)"', text))
    named = {key: name for key, name in NAMES.items() if key != " "}
    assert buttons == {control: named.get(key, key) for key, control in KEYS.items()}


@pytest.mark.parametrize(
    "said",
    [
        "no json",
        "[1]",
        '{"type": "jog"}',
        '{"type": "jog", "engaged": 1}',
        '{"type": "jog", "engaged": true, "linear": [1, 2]}',
        '{"type": "jog", "engaged": true, "linear": [1, 2, NaN]}',
        '{"type": "jog", "engaged": true, "linear": [1, 2, "3"]}',
        '{"type": "jog", "engaged": true, "width": true}',
        '{"type": "control", "control": "rm -rf"}',
        '{"type": "control", "control": ["estop"]}',
        '{"type": "note", "text": 3}',
        '{"type": "jog", "engaged": true, "clutch": "1"}',
    ],
)
def test_what_is_no_ask_is_none(said):
    assert checked(said) is None


def test_a_hand_that_asks_for_too_much_gets_the_most():
    kind, data = checked(
        '{"type": "jog", "engaged": true, "linear": [9, -9, 0], "moved": [1e9, 0, 0], "grip": -7}'
    )
    assert json.loads(data) == {"engaged": True, "linear": [1, -1, 0], "moved": [2.0, 0, 0], "grip": -1}


def test_pages_of_others_may_not_speak_to_it(page):
    with pytest.raises(InvalidStatus, match="403"):
        socket_of(page, origin="http://evil.example")
    rebound = urllib.request.Request(page.url, headers={"Host": "evil.example"})  # a name made to point here
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(rebound)


def test_beyond_loopback_there_is_a_token_and_tls(tmp_path):
    pytest.importorskip("cryptography")
    link = make_link("0.0.0.0", 0)
    assert link.tls and len(link.token) >= 12
    trust = ssl.create_default_context()
    with PageProcess(RIG, link, tmp_path) as page:
        trust.load_verify_locations(tmp_path / "page.crt")
        address = f"https://127.0.0.1:{page.port}/"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address, context=trust)
        with urllib.request.urlopen(f"{address}?token={link.token}", context=trust) as answer:
            assert answer.status == 200
        assert link.token in page.url
    assert (tmp_path / "page.key").stat().st_mode & 0o077 == 0


def test_a_port_that_is_taken_and_a_bad_token_are_said(page, tmp_path):
    with pytest.raises(DeviceError, match=f"port {page.port}"):
        PageProcess(RIG, Link(port=page.port), tmp_path).open()
    with pytest.raises(UsageError, match="8 characters"):
        make_link("0.0.0.0", 1, "short")


@pytest.mark.thorough
def test_a_frozen_browser_costs_the_loop_nothing_and_a_killed_page_is_said(tmp_path):
    page = PageProcess(RIG, make_link("127.0.0.1", 0), tmp_path)
    page.open()
    try:
        with socket_of(page, max_queue=1) as frozen, socket_of(page) as live:
            seen = []

            def look():
                seen.append(live.recv(WAIT_S))
                return True if len(seen) > 60 else None

            until(page, look)
            assert frozen.protocol.state.name == "OPEN"
        assert page.trouble == ""
        page._process.kill()
        page._process.wait()
        page.on_step(step())
        assert page.trouble == "the page's process died" and not page.read(CLOCK.now() + 10**9).engaged
    finally:
        page.close()
