"""Every e-stop source presses the page, and fails on the safe side; on real sockets and event streams."""

import json
import os
import secrets
import socket
import sys
import time
import types

import pytest
from twinloop.launch.cli import main
from twinloop.robot.clock import RealClock
from twinloop.robot.errors import DeviceError, RigError, UsageError
from twinloop.robot.process import sessions
from twinloop.robot.rig import parse_rig
from twinloop.robot.stops.client import Box, find_token
from twinloop.robot.stops.config import EStops, GpioStop, PedalStop, SocketStop
from twinloop.robot.stops.gpio import Contact
from twinloop.robot.stops.network import CLIENTS, SPARE, Listener
from twinloop.robot.stops.page import StopPage
from twinloop.robot.stops.pedal import EV_KEY, EV_SYN, EVENT, EVIOCGKEY, SYN_DROPPED, Pedal
from twinloop.robot.stops.server import StopServer, sources

MS = 1_000_000
TOKEN = b"0123456789abcdef"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Looked:
    """A source, and what it pressed; `look` until something happened."""

    def __init__(self, source):
        self.source, self.pressed = source, []

    def look(self, times=1, now_ns=None):
        for _ in range(times):
            now = time.monotonic_ns() if now_ns is None else now_ns
            self.source.look(now, self.pressed.append)

    def until(self, done):
        for _ in range(1000):
            self.look()
            if done():
                return
            time.sleep(0.002)
        raise AssertionError("nothing happened")


@pytest.fixture
def listening():
    made = []

    def listen(stopped=lambda: False, **options):
        seen = Looked(Listener(SocketStop(free_port(), **options), stopped))
        seen.look()
        made.append(seen.source)
        return seen, seen.source._config.port

    yield listen
    for source in made:
        source.close()


def say(port, *lines):
    connection = socket.create_connection(("127.0.0.1", port), 5.0)
    connection.sendall(b"".join(line + b"\n" for line in lines))
    return connection


def hear(seen, connection):
    """What it is answered, without blocking the one that answers."""
    connection.setblocking(False)
    got = []

    def heard():
        try:
            got.append(connection.recv(1000))
        except BlockingIOError:
            return False
        return True

    seen.until(heard)
    return got[0]


# ---------------------------------------------------------------- socket


def test_one_line_presses_and_says_who(listening):
    seen, port = listening()
    connection = say(port, b"stop hand in\x00 the cell")
    assert hear(seen, connection) == b"clear\n"
    assert seen.pressed == ["socket: 127.0.0.1: hand in the cell"]
    connection.close()
    seen.look(3)
    assert len(seen.pressed) == 1  # who promised nothing may go


def test_a_box_that_promised_beats_and_vanishes_presses(listening):
    for end in ("closed", "silent", "nonsense"):
        seen, port = listening()
        connection = say(port, b"beat 500")
        hear(seen, connection)
        assert not seen.pressed
        if end == "closed":
            connection.close()
            seen.until(lambda seen=seen: seen.pressed)
            assert seen.pressed == ["socket: 127.0.0.1 is gone"]
        elif end == "silent":  # its cable is cut: no end of the connection ever comes
            seen.look(now_ns=time.monotonic_ns() + 600 * MS)
            assert seen.pressed == ["socket: 127.0.0.1 is silent"]
        else:
            connection.sendall(b"x" * 300)
            seen.until(lambda seen=seen: seen.pressed)
            assert seen.pressed == ["socket: 127.0.0.1 is gone"]


@pytest.mark.parametrize("first", [b"stop", b"beat 500\nstop"])
def test_a_press_of_a_box_that_vanished_and_is_back_counts(listening, first):
    seen, port = listening(required=True)
    box = say(port, b"beat 500")
    hear(seen, box)
    box.close()
    seen.until(lambda: seen.pressed)
    seen.pressed.clear()  # somebody re-armed
    again = say(port, first)
    seen.until(lambda: seen.pressed)
    seen.look(3)
    assert seen.pressed == ["socket: 127.0.0.1"]
    again.close()


def test_a_box_that_says_goodbye_presses_nothing(listening):
    seen, port = listening()
    connection = say(port, b"beat 500", b"bye")
    hear(seen, connection)
    connection.close()
    seen.look(5)
    seen.look(now_ns=time.monotonic_ns() + 600 * MS)
    assert not seen.pressed


def test_a_required_box_must_be_there(listening):
    seen, port = listening(required=True)
    assert "no button box" in seen.source.holds
    connection = say(port, b"beat 5000")
    hear(seen, connection)
    assert seen.source.holds is None and seen.source.fault is None
    connection.close()
    seen.until(lambda: seen.pressed)
    assert "no button box" in seen.source.holds


@pytest.mark.parametrize("lines", [[b"stop"], [b"token wrong", b"stop"], [b"beat 500"], [b"token"]])
def test_without_its_token_nobody_is_heard(listening, tmp_path, lines):
    path = tmp_path / "token"
    path.write_bytes(TOKEN + b"\n")
    path.chmod(0o600)
    seen, port = listening(token_file=path)
    assert hear(seen, say(port, *lines)) == b"error token?\n"
    assert not seen.pressed
    answers = hear(seen, say(port, b"token " + TOKEN, b"stop"))
    assert answers.startswith(b"clear\n") and len(seen.pressed) == 1


def test_a_token_that_others_can_read_is_none(listening, tmp_path):
    path = tmp_path / "token"
    path.write_bytes(TOKEN)
    path.chmod(0o644)
    seen, port = listening(token_file=path, required=True)
    assert "chmod 600" in seen.source.fault and seen.source.holds
    with pytest.raises(OSError):
        say(port, b"stop")


def test_a_flood_of_strangers_keeps_nobody_from_pressing(listening):
    seen, port = listening()
    box = say(port, b"beat 5000")
    hear(seen, box)
    flood = []
    for _ in range(40):
        flood.append(socket.create_connection(("127.0.0.1", port), 5.0))
        flood[-1].sendall(b"y" * 100)
        seen.look(2)
    hear(seen, say(port, b"stop"))
    assert seen.pressed == ["socket: 127.0.0.1"]  # and the box was not thrown out
    assert len(seen.source._clients) <= CLIENTS + SPARE
    for connection in (*flood, box):
        connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"stop",
        b"STOP now\n",
        b"  Stop\r\n",
        b"stop, now\n",
        b"stop " + "手".encode() * 90 + b"\n",
        b"stop " + b"x" * 9000,
        b"nonsense\nstop\n",
        b"y" * 5000 + b"\nstop\n",
    ],
)
def test_a_press_that_has_arrived_counts_however_it_is_written(listening, sent):
    seen, port = listening()
    connection = socket.create_connection(("127.0.0.1", port), 5.0)
    connection.sendall(sent)
    connection.close()
    seen.until(lambda: seen.pressed)
    seen.look(5)
    assert len(seen.pressed) == 1 and len(seen.pressed[0]) < 110 and not seen.source._clients


def test_a_long_press_is_one_and_what_follows_it_is_heard(listening):
    seen, port = listening()
    connection = socket.create_connection(("127.0.0.1", port), 5.0)
    connection.sendall(b"stop a" + b"x" * 300)
    seen.until(lambda: seen.pressed)
    connection.sendall(b"stop" * 100 + b"\nstop b\n")
    seen.until(lambda: len(seen.pressed) > 1)
    seen.look(3)
    assert seen.pressed[1:] == ["socket: 127.0.0.1: b"]
    connection.close()


@pytest.mark.parametrize("sent", [b"stop", b"stop\n"])
def test_who_is_let_go_for_others_is_heard_before(listening, sent):
    seen, port = listening()
    press = socket.create_connection(("127.0.0.1", port), 5.0)
    seen.until(lambda: seen.source._clients)
    press.sendall(sent)
    crowd = [socket.create_connection(("127.0.0.1", port), 5.0) for _ in range(CLIENTS)]
    seen.look(3)
    crowd += [socket.create_connection(("127.0.0.1", port), 5.0) for _ in range(CLIENTS)]
    seen.look(3)
    assert seen.pressed == ["socket: 127.0.0.1"]
    for connection in (press, *crowd):
        connection.close()


def test_strangers_are_let_go_before_who_has_the_token(listening, tmp_path):
    path = tmp_path / "token"
    path.write_bytes(TOKEN)
    path.chmod(0o600)
    seen, port = listening(token_file=path)
    friend = say(port, b"token " + TOKEN)
    assert hear(seen, friend) == b"clear\n"
    crowd = []
    for _ in range(3 * CLIENTS):
        crowd.append(socket.create_connection(("127.0.0.1", port), 5.0))
        seen.look()
    friend.sendall(b"stop\n")
    seen.until(lambda: seen.pressed)
    for connection in (friend, *crowd):
        connection.close()


def test_boxes_that_fill_every_place_leave_one_for_a_press(listening):
    seen, port = listening()
    boxes = [say(port, b"beat 5000") for _ in range(CLIENTS)]
    for box in boxes:
        assert hear(seen, box) == b"clear\n"
    assert hear(seen, say(port, b"beat 5000")) == b"error full: 16 boxes are connected\n"
    late = socket.create_connection(("127.0.0.1", port), 5.0)
    seen.look(3)
    assert not seen.pressed
    late.sendall(b"stop\n")
    assert hear(seen, late) == b"clear\n" and seen.pressed == ["socket: 127.0.0.1"]
    for connection in (late, *boxes):
        connection.close()


def test_many_presses_at_once_are_one(listening):
    seen, port = listening()
    hear(seen, say(port, *[b"stop"] * 200))
    assert len(seen.pressed) == 1


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("127.0.0.1", 0)) as other:
        seen = Looked(Listener(SocketStop(other.getsockname()[1]), lambda: False))
        seen.look()
        assert "in use" in seen.source.fault and seen.source.holds is None


# ---------------------------------------------------------------- pedal


def event(kind, code, value):
    return EVENT.pack(1, 2, kind, code, value)


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "event7"
    os.mkfifo(path)
    return path


def test_the_chosen_key_presses_and_no_other(fifo):
    seen = Looked(Pedal(PedalStop(str(fifo), key=57)))
    with open(os.open(fifo, os.O_RDWR), "wb", buffering=0) as pedal:
        seen.look()
        pedal.write(event(EV_KEY, 30, 1) + event(EV_SYN, 0, 0) + event(EV_KEY, 57, 0))
        seen.look()
        assert not seen.pressed and seen.source.fault is None
        pedal.write(event(EV_KEY, 57, 1) + event(EV_SYN, 0, 0))
        seen.look()
        assert seen.pressed == ["pedal, key 57"]
        pedal.write(event(EV_SYN, SYN_DROPPED, 0))
        seen.look()
        assert seen.pressed[1:] == ["pedal: events were lost"]
    seen.source.close()


def test_events_that_were_lost_press_also_where_the_pedal_is_not_required(fifo):
    seen = Looked(Pedal(PedalStop(str(fifo), required=False)))
    with open(os.open(fifo, os.O_RDWR), "wb", buffering=0) as pedal:
        seen.look()
        pedal.write(event(EV_SYN, SYN_DROPPED, 0))
        seen.look()
    assert seen.pressed == ["pedal: events were lost"] and seen.source.holds is None
    seen.source.close()


def test_a_pedal_that_is_stood_on_keeps_the_stop_pressed(fifo):
    seen = Looked(Pedal(PedalStop(str(fifo), key=57)))
    with open(os.open(fifo, os.O_RDWR), "wb", buffering=0) as pedal:
        seen.look()
        pedal.write(event(EV_KEY, 57, 1))
        seen.look(3)
        assert len(seen.pressed) == 1 and "57 is held down" in seen.source.holds
        pedal.write(event(EV_KEY, 57, 0))
        seen.look()
        assert seen.source.holds is None
    seen.source.close()


def test_a_pedal_that_was_down_before_is_asked_for(fifo, monkeypatch):
    """The kernel's answer is feigned: no input device here."""
    down = {57, 767}

    def ioctl(_, request, state):
        assert request == EVIOCGKEY == 0x80604518 and len(state) == 96
        for code in down:
            state[code // 8] |= 1 << code % 8

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    seen = Looked(Pedal(PedalStop(str(fifo), key=57)))
    with open(os.open(fifo, os.O_RDWR), "wb", buffering=0) as pedal:
        seen.look()
        assert seen.pressed == ["pedal, key 57 is held down"] and "57" in seen.source.holds
        down.clear()  # its release was among what was lost
        pedal.write(event(EV_SYN, SYN_DROPPED, 0))
        seen.look()
        assert seen.source.holds is None
        down.add(57)
        pedal.write(event(EV_SYN, SYN_DROPPED, 0))
        seen.look()
        assert "57" in seen.source.holds
    seen.source.close()


@pytest.mark.parametrize("required", [True, False])
def test_a_pedal_that_is_pulled_out_presses_where_it_is_required(fifo, required):
    seen = Looked(Pedal(PedalStop(str(fifo), required=required)))
    with open(os.open(fifo, os.O_RDWR), "wb", buffering=0):
        seen.look()
        assert seen.source.fault is None and seen.source.holds is None
    seen.until(lambda: seen.source.fault is not None)
    assert seen.pressed == (["pedal unplugged"] if required else [])
    assert bool(seen.source.holds) == required
    seen.source.close()


def test_a_pedal_that_is_not_there_is_said_and_found_later(tmp_path):
    seen = Looked(Pedal(PedalStop(str(tmp_path / "event9"))))
    seen.look()
    assert "is it plugged in" in seen.source.holds and not seen.pressed
    os.mkfifo(tmp_path / "event9")
    writer = os.open(tmp_path / "event9", os.O_RDWR)
    seen.until(lambda: seen.source.fault is None)
    os.close(writer)
    seen.source.close()


@pytest.mark.parametrize("required", [True, False])
def test_a_pedal_that_comes_back_with_a_foot_on_it_presses(tmp_path, monkeypatch, required):
    """Pressed while it was away, and somebody re-armed meanwhile. The kernel's answer is feigned."""
    down, path, page = set(), tmp_path / "event7", StopPage(tmp_path)

    def ioctl(_, request, state):
        for code in down:
            state[code // 8] |= 1 << code % 8

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    clock = types.SimpleNamespace(t=0)
    clock.now = lambda: clock.t
    stops, said = EStops(pedal=PedalStop(str(path), key=57, required=required)), []
    page.open()
    server = StopServer(tmp_path, page, sources(stops, lambda: False), clock, lambda: True, said.append)

    def look():
        clock.t += 300 * MS
        server.look()

    os.mkfifo(path)
    with open(os.open(path, os.O_RDWR), "wb", buffering=0):
        look()
        assert page.pressed() is None
    path.unlink()
    look()
    assert (page.pressed() == "e-stop pedal unplugged") == required
    page.take_back(page.mark)
    look()  # still away
    assert (page.pressed() is not None) == required
    down.add(57)
    os.mkfifo(path)
    with open(os.open(path, os.O_RDWR), "wb", buffering=0):
        page.take_back(page.mark)
        look()
        assert page.pressed() == "e-stop pedal, key 57 is held down"
        page.take_back(page.mark)
        look()
        assert page.pressed() is not None  # as long as it is
    server._sources[0].close()
    page.close()


# ---------------------------------------------------------------- GPIO (a fake of gpiod 2.x: no lines here)


@pytest.fixture
def gpiod(monkeypatch):
    """The parts of the package gpiod 2.x that are used; `wire.open` and `wire.edges` are what happens outside."""
    line = types.ModuleType("gpiod.line")
    for name, members in {
        "Direction": ("INPUT",), "Bias": ("PULL_UP",), "Edge": ("BOTH",), "Value": ("ACTIVE", "INACTIVE"),
    }.items():  # fmt: skip
        setattr(line, name, types.SimpleNamespace(**{member: object() for member in members}))
    wire = types.SimpleNamespace(open=False, edges=[], gone=False)
    kinds = types.SimpleNamespace(RISING_EDGE=object(), FALLING_EDGE=object())

    class Request:
        fd = 0

        def wait_edge_events(self, timeout):
            if wire.gone:
                raise OSError(19, "No such device")
            return bool(wire.edges)

        def read_edge_events(self):
            edges, wire.edges = wire.edges, []
            return [types.SimpleNamespace(event_type=edge) for edge in edges]

        def get_value(self, offset):
            assert offset == 17
            return line.Value.ACTIVE if wire.open else line.Value.INACTIVE

        def release(self):
            pass

    module = types.ModuleType("gpiod")
    module.line, module.EdgeEvent = line, types.SimpleNamespace(Type=kinds)
    module.LineSettings = lambda **settings: settings

    def request_lines(chip, consumer, config):
        assert config[17]["bias"] is line.Bias.PULL_UP
        return Request()

    module.request_lines = request_lines
    monkeypatch.setitem(sys.modules, "gpiod", module)
    monkeypatch.setitem(sys.modules, "gpiod.line", line)
    wire.RISING, wire.FALLING = kinds.RISING_EDGE, kinds.FALLING_EDGE
    return wire


def test_an_open_contact_presses_once_and_keeps_it_pressed(gpiod):
    seen = Looked(Contact(GpioStop(17)))
    seen.look(3)
    assert seen.source.fault is None and not seen.pressed
    gpiod.open = True
    seen.look(3)
    assert len(seen.pressed) == 1 and "contact open" in seen.source.holds
    gpiod.open = False
    seen.look()
    assert seen.source.holds is None


def test_a_contact_that_was_open_for_a_moment_presses(gpiod):
    seen = Looked(Contact(GpioStop(17)))
    seen.look()
    gpiod.edges = [gpiod.RISING, gpiod.FALLING]
    seen.look()
    assert len(seen.pressed) == 1 and seen.source.holds is None


def test_a_chip_that_is_gone_and_a_package_that_is_missing(gpiod, monkeypatch):
    seen = Looked(Contact(GpioStop(17)))
    seen.look()
    gpiod.gone = True
    seen.look()
    assert seen.pressed == ["gpio: its chip is gone"] and "No such device" in seen.source.holds
    monkeypatch.setitem(sys.modules, "gpiod", None)
    missing = Looked(Contact(GpioStop(17)))
    missing.look()
    assert "twinloop[gpio]" in missing.source.holds


@pytest.mark.parametrize("required", [True, False])
def test_a_chip_that_comes_back_with_its_contact_open_presses(gpiod, required):
    """Also one that was open, and pressed, before it went."""
    for opened in (False, True):
        seen = Looked(Contact(GpioStop(17, required=required)))
        gpiod.open = opened
        seen.look(now_ns=0)
        gpiod.gone = True
        seen.look(now_ns=300 * MS)
        seen.pressed.clear()
        gpiod.gone, gpiod.open = False, True
        seen.look(now_ns=600 * MS)
        assert seen.pressed == ["contact opened (/dev/gpiochip0 line 17)"]
        assert "contact open" in seen.source.holds


# ---------------------------------------------------------------- all of them


def test_what_holds_presses_again_after_a_re_arming_and_only_then(tmp_path, fifo):
    page = StopPage(tmp_path)
    page.open()
    stops = EStops(pedal=PedalStop(str(tmp_path / "none")))
    said = []
    server = StopServer(tmp_path, page, sources(stops, lambda: False), RealClock(), lambda: True, said.append)
    for _ in range(5):
        server.look()
    first = page.mark
    assert said.count(f"pressed: {page.pressed().removeprefix('e-stop ')}") == 1 and page.looks == 5
    assert page.pressed().startswith("e-stop pedal: ")
    page.take_back(first)
    server.look()
    assert page.mark != first and page.pressed() is not None
    assert (tmp_path / "stops.json").read_text().count('"active": false') == 1
    page.close()


def test_two_presses_are_two():
    """A press that comes while somebody re-arms must not be lost in the one before."""
    seen = Looked(Pedal(PedalStop("/nowhere")))
    seen.source._hear(event(EV_KEY, 1, 1) + event(EV_KEY, 1, 1), seen.pressed.append)
    assert len(seen.pressed) == 2


def test_presses_at_the_same_moment_as_each_other_and_a_re_arming_stay(tmp_path, monkeypatch):
    """Two pressers that both saw the page as it was; somebody knew of the first press alone and takes it back."""
    pages = [StopPage(tmp_path) for _ in range(3)]
    for page in pages:
        page.open()
    guard, one, other = pages
    draw = secrets.randbits

    def overtaken(bits):  # the other one's press, and the re-arming, fall into the middle of this one
        monkeypatch.setattr(secrets, "randbits", draw)
        other.press("other")
        guard.take_back(guard.mark)
        return draw(bits)

    monkeypatch.setattr(secrets, "randbits", overtaken)
    one.press("one")
    assert guard.pressed() is not None
    guard.take_back(guard.mark)
    assert guard.pressed() is None
    for page in pages:
        page.close()


def test_a_reason_that_is_no_text_presses_all_the_same(tmp_path):
    page = StopPage(tmp_path)
    page.open()
    page.press("stop \udcff")
    assert page.pressed() == "stop ?"
    page.close()


@pytest.fixture
def two_guards(tmp_path, monkeypatch):
    """Folders of sessions whose guard is this process; the second's page cannot be opened."""
    folders = []
    for name in ("left", "right"):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        (folders[-1] / "plan.json").write_text(
            json.dumps({"rig": {"name": name}, "ports": {"arm": "/dev/x"}})
        )
        (folders[-1] / "hello.json").write_text(json.dumps({"pid": os.getpid()}))
    page = StopPage(folders[0])
    page.open()
    (folders[1] / "estop").mkdir()
    monkeypatch.setattr(sessions, "running", lambda: folders)
    yield page, folders
    page.close()


def test_a_guard_that_could_not_be_stopped_is_named(two_guards, capfd):
    page, folders = two_guards
    assert main(["estop", "--reason", "hand"]) == 1
    assert page.pressed() == "hand"
    told = "".join(capfd.readouterr())
    this = f"(on /dev/x; process {os.getpid()})"
    assert f"stopped: left {this}" in told and f"NOT stopped: right {this}: " in told
    (folders[1] / "estop").rmdir()
    assert main(["estop"]) == 1  # its page is gone
    assert "NOT stopped: right" in "".join(capfd.readouterr())
    StopPage(folders[1]).open()
    assert main(["estop", "--reason", "no \udcff text"]) == 0
    assert page.pressed() == "no ? text"


def test_a_flood_of_presses_fills_no_log(tmp_path):
    class Flood:
        name, fault, holds, detail = "flood", None, None, ""

        def look(self, now_ns, press):
            press("same")
            press(f"other {now_ns}")

        def descriptors(self):
            return ()

    page, said = StopPage(tmp_path), []
    clock = types.SimpleNamespace(t=0)
    clock.now = lambda: clock.t
    page.open()
    server = StopServer(tmp_path, page, [Flood()], clock, lambda: True, said.append)
    for _ in range(1000):  # 2 s
        server.look()
        clock.t += 2 * MS
    assert said[1:3] == ["pressed: other 0", "flood: ready"] and said[0] == "pressed: same"
    assert len(said) < 20 and any(line.startswith("pressed ") and "more times" in line for line in said)
    page.close()


@pytest.mark.parametrize(
    ("estop", "told"),
    [
        ({"socket": {"port": 80}}, "estop.socket.port: 80"),
        ({"socket": {"port": 5510, "bind": "0.0.0.0"}}, "needs a token_file"),
        ({"socket": {"port": 5510, "bind": "host"}}, "no IP address"),
        ({"pedal": {"device": "event5"}}, "must be a path"),
        ({"pedal": {"device": "/dev/input/event5", "key": 0}}, "within 1..767"),
        ({"pedal": {"device": "/dev/input/event5", "required": "no"}}, "neither true nor false"),
        ({"gpio": {"line": -1}}, "estop.gpio.line: -1"),
        ({"button": {}}, "unknown field"),
    ],
)
def test_a_rig_that_declares_them_wrong_is_refused(estop, told):
    with pytest.raises(RigError, match="(?s).*" + told):
        parse_rig({"name": "x", "arms": {"arm": {"model": "so101"}}, "estop": estop}, "rig.yaml")


def test_the_client_says_what_is_wrong(tmp_path):
    with pytest.raises(DeviceError, match="estop.socket"):
        Box("127.0.0.1", free_port()).open()
    with pytest.raises(UsageError, match="16 to 200"):
        find_token(None, {"TWINLOOP_ESTOP_TOKEN": "short"})
    assert find_token(None, {}) is None
