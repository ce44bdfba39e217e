"""Two machines: a session with `--device remote`, an operator with a keyboard, and a line between them that is cut."""

import re
import select
import socket
import threading

import pytest
from test_command import Terminal
from twinloop.launch.cli import main
from twinloop.launch.teleop.operate import KEY_NS, PendingKeys, robot_at
from twinloop.robot.errors import UsageError
from twinloop.teleop.remote_words import KEYS_MAX

SESSION = ("teleop", "--device", "remote", "--sim", "--port", "0", "--size", "64", "48", "--quiet")


class Wire:
    """A TCP line to `port` of this machine, at a port of its own; while `cut` nothing goes through, in silence."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.target, self.cut, self.over = self.listener.getsockname()[1], port, False, False
        self.thread = threading.Thread(target=self._carry)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()
        self.listener.close()

    def _carry(self):
        ends = {}
        while not self.over:
            watched = [] if self.cut else [self.listener, *ends]
            for ready in select.select(watched, [], [], 0.02)[0]:
                if ready is self.listener:
                    near, far = ready.accept()[0], socket.socket()
                    ends |= {near: far, far: near}
                    far.connect_ex(("127.0.0.1", self.target))
                elif ready in ends:
                    try:
                        data = ready.recv(65536)
                        ends[ready].sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        for end in (ends.pop(ready), ready):
                            ends.pop(end, None)
                            end.close()
        for end in ends:
            end.close()


def until(words, reader, other, hold=""):
    """Until `reader` says `words`, with `hold` held; the other terminal is read, too, lest it blocks."""
    over = threading.Event()

    def drain():
        while not over.is_set() and other.read():
            pass

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        reader.until(words, hold)
    finally:
        over.set()
        thread.join()


@pytest.fixture
def terminal(tmp_path):
    """Commands on terminals; whatever happens they end."""
    begun = []

    def begin(*args):
        begun.append(Terminal(*args, home=tmp_path))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.process.wait()


@pytest.mark.slow
def test_a_cut_line_holds_the_arm_and_a_mended_one_goes_on(terminal):
    robot = terminal(*SESSION)
    robot.until(r"twinloop operate \S+")
    port = int(re.search(r"twinloop operate 127.0.0.1:(\d+)", robot.text)[1])
    robot.until(r"idle\].*no operator yet")
    with Wire(port) as wire:
        operator = terminal("operate", f"localhost:{wire.port}", "--device", "keyboard", "--quiet")
        until(r"link \d+ ms, worst \d+\] .*idle", operator, robot)
        until(r"link \d+ ms, worst \d+ .*guard run", robot, operator)
        wire.cut = True
        until(
            r"link to 127.0.0.1 lost .*\d Hz.* guard hold \(the operator's heartbeat is lost\)",
            robot,
            operator,
        )
        until(r"no link\] .*the arm holds", operator, robot)
        wire.cut = False
        until(r"link \d+ ms, worst \d+\] .*guard run", operator, robot)
        until(r"link \d+ ms, worst \d+ .*guard run", robot, operator)
        operator.press(" ")
        until("guard estop", robot, operator)
        operator.press("\\")
        until("re-armed", operator, robot)
        operator.press("q")
        until("the session is over", operator, robot)
        assert operator.end() == 0 and robot.end() == 0, robot.text


def test_keys_wait_for_their_acknowledgement_but_not_for_ever():
    keys = PendingKeys()
    for control in ("start", "estop", "note"):
        keys.press(control, 0)
    keys.acknowledge(1)
    assert keys.waiting == [(2, "estop"), (3, "note")]
    assert keys.drop_old(KEY_NS) == [] and keys.drop_old(KEY_NS + 1) == ["note"]
    assert keys.waiting == [(2, "estop")], "a stop is never given up"
    for _ in range(100):
        keys.press("note", 0)
    assert len(keys.waiting) == KEYS_MAX and keys.waiting[0] == (2, "estop")


def test_addresses():
    pin = "ab" * 16
    assert robot_at("localhost").address == "localhost:8020"
    assert robot_at("[::1]:9").address == "[::1]:9"
    there = robot_at("https://192.0.2.7:8021/?token=secret-word", pin=pin.upper())
    assert (there.host, there.port, there.token, there.pin) == ("192.0.2.7", 8021, "secret-word", pin)
    for text in ("", "host:99999", "192.0.2.7"):
        with pytest.raises(UsageError):
            robot_at(text)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("192.0.2.7", "--device", "keyboard"), "--pin"),
        (("localhost", "--device", "web"), "no device of an operator's machine"),
        (("localhost", "--device", "gamepda"), "did you mean 'gamepad'"),
        (("localhost", "--device", "keyboard"), "no terminal"),
        (("localhost", "--device", "keyboard", "--token-file", "/nowhere/token"), "--token-file /nowhere/token"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(args, words, capsys):
    assert main(["operate", *args]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
