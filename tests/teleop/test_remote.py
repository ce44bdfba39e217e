"""A hand on another machine: what travels, what is refused, what a lost link does. Over real sockets."""

import json
from dataclasses import fields
from urllib.parse import urlencode

import numpy as np
import pytest
from twinloop.robot.clock import RealClock
from twinloop.robot.rig import load_rig
from twinloop.teleop.jog import Jog
from twinloop.teleop.page import PageProcess
from twinloop.teleop.page.link import make_link
from twinloop.teleop.remote import Remote
from twinloop.teleop.remote_words import Look, NoLook, jog_of, look_of, plain
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

CLOCK, WAIT_S, MS = RealClock(), 20.0, 1_000_000
PUSH = {"engaged": True, "linear_m_s": [0.1, 0.0, 0.0]}
REST = {"engaged": True}


def test_every_field_of_a_jog_travels():
    values = {
        "engaged": False,
        "grip_m_s": -0.05,
        "width_share": 0.25,
        "clutch": 7,
        "age_ns": 4_000_000,
        "q_rad": np.arange(6.0) / 7,
    }
    for field in fields(Jog):
        values.setdefault(field.name, ("estop",) if field.name == "keys" else np.array([0.1, -1 / 3, 0.0]))
    sent = Jog(**values)
    look = look_of(Look(3, 7, plain(sent), 5, 2, [(1, "estop")]).text())
    assert (look.n, look.t_ns, look.echo_ns, look.held_ns) == (3, 7, 5, 2)
    came = jog_of(look.jog, tuple(control for _, control in look.keys))
    for field in fields(Jog):
        np.testing.assert_array_equal(getattr(came, field.name), getattr(sent, field.name), field.name)
    assert jog_of(look_of(Look(1, 1, plain(Jog())).text()).jog).moved_m is None


def said(jog=None, **changed):
    return json.dumps({"n": 1, "t": 1, "echo": None, "held": 0, "jog": jog or {}, "keys": []} | changed)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no json", "JSON"),
        ("[" * 1500, "JSON"),
        ("{}", "no look"),
        (said(n=-1), "n:"),
        (said(t=1.5), "t:"),
        (said(echo=2**70), "echo:"),
        (said({"linear_m_s": [1, 2]}), "vector of 2"),
        (said({"linear_m_s": [float("nan"), 0, 0]}), "nan"),
        (said({"linear_m_s": [0, 0, 10**30]}), "limit"),
        (said({"moved_m": [1e9, 0, 0]}), "limit"),
        (said({"q_rad": [0.0] * 99}), "vector of 99"),
        (said({"q_rad": [True]}), "no number"),
        (said({"width_share": "1"}), "no number"),
        (said({"engaged": 1}), "true or false"),
        (said({"clutch": -1}), "no whole number"),
        (said({"keys": ["estop"]}), "no such field"),
        (said(keys=[[1, "rm -rf"]]), "keys"),
        (said(keys=[[1, "note"]] * 99), "keys"),
        (said(keys=[[1, "note" * 900]]), "bytes"),
    ],
)
def test_what_is_no_look_is_ignored_and_says_why(text, why):
    with pytest.raises(NoLook, match=why):
        look_of(text)


class Operator:
    """The other side, by hand."""

    def __init__(self, page, name="me"):
        address = f"ws://127.0.0.1:{page.port}/hand?{urlencode({'id': name})}"
        self._link = connect(address, open_timeout=WAIT_S)
        self.n, self.word, self.heard = 0, {}, 0

    def __enter__(self):
        self.socket = self._link.__enter__()
        return self

    def __exit__(self, *error):
        self._link.__exit__(*error)

    def say(self, jog, keys=(), late_ns=0):
        """One look, as if it had been under way for `late_ns` longer; its answer is awaited."""
        self.n += 1
        echo = None if not self.word else self.word["t"] - late_ns
        self.socket.send(Look(self.n, CLOCK.now(), jog, echo, CLOCK.now() - self.heard, keys).text())
        while self.word.get("n") != self.n:
            self.listen()

    def listen(self):
        self.word |= json.loads(self.socket.recv(WAIT_S))
        self.heard = CLOCK.now()

    def nonsense(self):
        before = self.word["ignored"]
        self.socket.send("nonsense")
        while self.word["ignored"] == before:
            self.listen()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with PageProcess(load_rig("so101"), make_link("127.0.0.1", 0), tmp_path_factory.mktemp("tls")) as page:
        yield page


@pytest.fixture
def remote(page):
    remote = Remote(page)
    remote.open()
    yield remote
    remote.close()


def test_a_hand_moves_while_it_is_heard_and_after_a_loss_only_when_it_has_let_go(page, remote):
    with Operator(page) as operator:
        for jog in (PUSH, PUSH):
            operator.say(jog)
        assert not remote.read(CLOCK.now()).engaged, "it was pushing when it came"
        operator.say(REST)
        assert remote.read(remote.beat_ns()).engaged
        operator.say(PUSH)
        beat = remote.beat_ns()
        assert remote.read(beat + 99 * MS).linear_m_s[0] == 0.1
        assert not remote.read(beat + 101 * MS).engaged, "silent for too long"
        operator.say(PUSH)
        assert not remote.read(remote.beat_ns()).engaged, "it has not let go since"
        assert "let go once" in remote.link_text
        while not operator.word["felt"]["waits"]:
            operator.listen()
        operator.say({"engaged": False})
        remote.read(remote.beat_ns())
        operator.say(PUSH)
        assert remote.read(remote.beat_ns()).engaged


def test_looks_that_come_late_are_dropped_but_not_their_keys(page, remote):
    with Operator(page) as operator:
        for _ in range(3):
            operator.say(REST)
        remote.read(CLOCK.now())
        beat = remote.beat_ns()
        operator.say(PUSH, [(1, "estop")], late_ns=150 * MS)
        assert remote.beat_ns() == beat
        jog = remote.read(beat)
        assert jog.keys == ("estop",) and not jog.linear_m_s.any()
        operator.say(REST, late_ns=40 * MS)
        assert remote.beat_ns() <= CLOCK.now() - 30 * MS, "dated by when it was meant"


def test_a_key_counts_once_however_often_and_by_whatever_connection_it_comes(page, remote):
    with Operator(page, "twice") as operator:
        operator.say(REST, [(1, "start")])
        operator.say(REST, [(1, "start"), (2, "success")])
        assert operator.word["keys"] == 2
        with Operator(page, "twice") as again:
            with pytest.raises(ConnectionClosed):
                while True:
                    operator.socket.recv(WAIT_S)
            again.say(REST, [(2, "success"), (3, "note")])
            assert remote.read(CLOCK.now()).keys == ("start", "success", "note")


def test_nonsense_is_told_and_another_operator_is_sent_away(page, remote):
    with Operator(page) as operator:
        operator.say(REST)
        operator.nonsense()
        assert operator.word["ignored"] == 1 and "JSON" in operator.word["why"]
        with pytest.raises(InvalidStatus) as refused, Operator(page, "somebody else"):
            pass
        assert (
            refused.value.response.status_code == 409 and b"another operator" in refused.value.response.body
        )
        operator.say(REST)


def test_a_session_with_another_device_lets_no_operator_in(tmp_path):
    with PageProcess(load_rig("so101"), make_link("127.0.0.1", 0), tmp_path) as page:
        with pytest.raises(InvalidStatus) as refused, Operator(page):
            pass
        assert b"--device remote" in refused.value.response.body
