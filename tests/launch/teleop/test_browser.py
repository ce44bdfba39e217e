"""The operator's page in headless Chromium, before a session on the twin: headset, fingers, buttons, a lost browser."""

import json
import re
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from queue import Empty, Queue
from threading import Thread

import numpy as np
import pytest
from chromium import Chromium
from sessions import RIG, TASK, TEXT
from twinloop.data import Dataset
from twinloop.launch.collect import dataset_spec
from twinloop.launch.teleop.cell import TwinCell
from twinloop.launch.teleop.command import truth
from twinloop.launch.teleop.desk import Desk
from twinloop.launch.teleop.plan import Plan
from twinloop.launch.teleop.session import Session
from twinloop.launch.teleop.takes import TwinTakes
from twinloop.launch.teleop.tally import Tally
from twinloop.launch.workers import WorldPlan
from twinloop.robot.clock import RealClock
from twinloop.robot.kinematics import Kinematics
from twinloop.robot.models import load_model
from twinloop.sim.tasks import load_task
from twinloop.teleop.hand import Hand
from twinloop.teleop.page import PageProcess
from twinloop.teleop.page.link import make_link
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from webxr import emulator

WAIT_S = 60.0
PATIENCE_NS = 2_000_000_000
ARM = Kinematics(load_model("so101"))
STILL_M = 0.004  # that a hand which holds still sways, at most
BEEPS = "window.beeps = 0; OscillatorNode.prototype.start = function () { window.beeps++; };"
TOLD = """
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
  send.call(this, text);
  if (text.includes('"jog"')) window.engaged = JSON.parse(text).engaged;
};
"""
pytestmark = pytest.mark.slow


class Watch:
    """Another browser, that only looks: how the session stands, whatever becomes of the first one."""

    def __init__(self, url, open):
        options = {"open_timeout": WAIT_S, "close_timeout": 1, "ping_interval": None, "max_size": None}
        self.socket = open.enter_context(connect(f"ws{url}ws", **options))
        self.told = Queue(1)  # the newest only
        Thread(target=self.listen, daemon=True).start()

    def listen(self):
        with suppress(ConnectionClosed):
            for message in self.socket:
                if isinstance(message, str) and "arms" in (told := json.loads(message)):
                    with suppress(Empty):
                        self.told.get_nowait()
                    self.told.put(told)

    def state(self):
        return self.told.get(timeout=WAIT_S)

    def until(self, found):
        end = time.monotonic() + WAIT_S
        self.state()  # that was told before anybody asked
        while time.monotonic() < end:
            if found(state := self.state()):
                return state
        pytest.fail(f"never seen: {state['session']}")

    def tip(self, settled=True):
        """Where the point between the pads is, (3,) m in the arm's frame; once it moves no more."""
        before, end = None, time.monotonic() + WAIT_S
        while time.monotonic() < end:
            for _ in range(6):
                state = self.state()
            here = ARM.fk([joint["q"] for joint in state["arms"]["arm"]])[0]
            if not settled or (before is not None and np.linalg.norm(here - before) < 0.0005):
                return here
            before = here
        pytest.fail("the arm does not come to rest")


class Workplace:
    """A session that records on the twin, in a thread, and the operator's browser in front of it.

    Its links are patient: browser, session and page share a few cores, and what is waited for here is no time.
    """

    def __init__(self, root, open):
        self.root = root
        rig = replace(RIG, guard=replace(RIG.guard, heartbeat_ms=PATIENCE_NS * 1e-6))
        self.cell = TwinCell(WorldPlan(rig, TASK, size=(64, 48)))
        small = {name: replace(camera, width=64, height=48) for name, camera in rig.cameras.items()}
        self.page = PageProcess(
            replace(rig, cameras=small), make_link("127.0.0.1", 0), root, root=root, silent_ns=PATIENCE_NS
        )
        open.enter_context(self.page)
        self.failed, self.session = None, None
        self.thread = Thread(target=self.work, daemon=True)
        self.thread.start()
        self.watch = Watch(self.page.url.removeprefix("http"), open)
        open.callback(self.quit)
        self.chromium = Chromium()
        open.callback(self.chromium.close)
        self.tab = self.chromium.tab(
            self.page.url, *emulator(), BEEPS, TOLD, width=1100, height=1000, touch=True
        )
        self.watch.until(lambda s: s["session"].get("state") == "idle" and s["session"]["mode"] == "run")

    def work(self):
        """The session; OpenGL wants one thread for all of it."""
        cameras = tuple(RIG.cameras)
        fps = {name: RIG.cameras[name].fps for name in cameras}
        try:
            self.cell.open()
            spec = dataset_spec(self.cell.rig, load_task(TASK), cameras)
            takes, tally = TwinTakes(self.root, spec, fps, lambda: truth(self.cell)), Tally()
            takes.open()
            tally.watch(lambda: self.page.tell_starts(tally.png(RIG)) if tally.starts else None)
            desk = Desk(Hand(self.page, RealClock()), RealClock(), page=self.page)
            plan = Plan(TEXT, cameras=cameras, timed=False, countdown_s=0.5)
            self.session = Session(plan, self.cell, desk, takes, tally)
            self.session.run()
        except BaseException as error:
            self.failed = error
        finally:
            self.cell.close()
            takes.close()

    def quit(self):
        """End the session; raises what it failed with."""
        self.watch.socket.send(json.dumps({"type": "control", "control": "quit"}))
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive(), "it does not end"
        if self.failed is not None:
            raise self.failed


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    with ExitStack() as open:
        yield Workplace(tmp_path_factory.mktemp("browser") / "d", open)


OUT_OF_THE_HEADSET = (
    "headset.activeSession && headset.activeSession.end()"  # whatever the test before came to
)


def carry(page, x, y, z):
    """The headset's hand goes by these, m in the room (x right, y up, z back), as fast as a hand does."""
    page.run(
        "new Promise(done => { const from = hand.position.clone(), steps = 20; let k = 0;"
        "const timer = setInterval(() => {"
        f"k++; hand.position.set(from.x + {x} * k / steps, from.y + {y} * k / steps, from.z + {z} * k / steps);"
        "if (k === steps) { clearInterval(timer); done(); } }, 20); })"
    )


def clutch(work, closed):
    """Close or open it, and wait until the arm's side has heard of it."""
    work.tab.run(f"hand.updateButtonValue('squeeze', {int(closed)})")
    work.tab.until(f"window.engaged === {'true' if closed else 'false'}")
    seen = work.watch.state()["cameras"]["front"]["seq"]
    work.watch.until(lambda s: s["cameras"]["front"]["seq"] > seen + 3)


def follows(work, hand, wanted):
    """Close the clutch and carry the hand; it stays closed. Returns where the arm then stands.

    On a machine so busy that the link is lost on the way, the arm goes on from where it stands: tried again then.
    """
    went = np.zeros(3)
    for _ in range(3):
        clutch(work, True)
        before = work.watch.tip()
        carry(work.tab, *hand)
        end, went = time.monotonic() + WAIT_S / 5, np.zeros(3)
        while time.monotonic() < end and not near(went, wanted, 0.01):
            went = work.watch.tip() - before
        if near(went, wanted, 0.01):
            return before + went
        clutch(work, False)
        carry(work.tab, *(-x for x in hand))
    pytest.fail(f"it went by {went}")


def near(a, b, off=STILL_M):
    return np.linalg.norm(np.subtract(a, b)) < off


def test_a_hand_in_a_headset_moves_the_arm_as_far_as_it_moved_and_the_clutch_never_does(work):
    page, watch = work.tab, work.watch
    page.until("!document.querySelector('#xr').hidden")
    page.click("#xr")
    page.until("!!headset.activeSession && document.querySelector('#xr').innerText === 'leave headset'")
    rest = watch.tip()
    carry(page, 0.1, 0.1, 0.1)
    clutch(work, True)
    assert near(watch.tip(), rest), "closing the clutch moves nothing"
    moved = follows(work, (0.05, 0.04, -0.03), (0.03, -0.05, 0.04))  # right, up, forward
    clutch(work, False)
    carry(page, -0.3, 0.2, 0.2)
    clutch(work, True)
    assert near(watch.tip(), moved), "closing it elsewhere moves nothing"

    clutch(work, False)
    page.run("headset.quaternion.set(0, Math.SQRT1_2, 0, Math.SQRT1_2)")  # the person looks to the left
    onward = follows(work, (-0.03, 0.0, 0.0), (0.03, 0.0, 0.0))  # forward is where they look

    for gone, back in (
        ("doze()", "wake()"),  # the headset is taken off
        ("guessed = true", "guessed = false"),  # the hand is out of its cameras' sight
    ):
        page.run(gone)
        carry(page, 0.1, 0.1, 0.0)
        page.run(back)
        assert near(watch.tip(), onward), f"it goes on from where the arm stands: {gone}"

    page.run("hand.updateButtonValue('trigger', 1)")
    watch.until(lambda s: s["grippers"]["gripper"]["width"] < 0.01)
    clutch(work, False)
    page.run("headset.activeSession.end()")  # the headset's own menu does
    page.until("document.querySelector('#xr').innerText === 'use headset or phone'")


def test_sticks_move_it_while_the_dead_man_is_held_and_what_the_guard_holds_back_is_seen_and_heard(work):
    page, watch = work.tab, work.watch
    page.run(OUT_OF_THE_HEADSET)
    rest = watch.tip()
    hold, stick, left = page.middle("#deadman"), page.middle("#plane"), page.middle("#plane", -0.3)
    page.fingers(None, stick)
    page.fingers(None, left)
    assert near(watch.tip(), rest), "a stick alone moves nothing"
    page.fingers(hold, left)
    watch.until(lambda s: ARM.fk([j["q"] for j in s["arms"]["arm"]])[0][1] > rest[1] + 0.03)
    page.fingers(None, left)  # the dead-man is let go, the stick is not
    there = watch.tip()
    assert near(watch.tip(), there) and there[1] > rest[1] + 0.02
    page.fingers(None, None)

    page.fingers(hold, page.middle("#lift"))
    page.fingers(hold, page.middle("#lift", 0.0, 0.35))
    page.until("document.querySelector('#clamped').innerText.includes('held back: table')")
    page.until("document.body.classList.contains('clamped') && window.beeps > 0")
    page.fingers(hold, page.middle("#lift", 0.0, -0.35))
    page.until("document.querySelector('#clamped').innerText === 'nothing held back'")
    page.fingers(None, None)
    assert "table" in page.text("#last")


def test_an_episode_from_the_page_and_a_browser_that_freezes_and_dies(work):
    page, watch = work.tab, work.watch
    page.run(OUT_OF_THE_HEADSET)
    page.click("#mark")
    page.click("#words")
    page.ask("Input.insertText", text="left hand  ")
    page.key(" ", " ")  # no e-stop while it is text
    page.key("Enter", "\r")
    watch.until(lambda s: s["session"]["message"].startswith("note: left hand;"))
    page.click("[data-control=start]")
    watch.until(lambda s: s["session"]["state"] == "recording")
    page.click("#mark")
    watch.until(lambda s: s["session"]["message"].startswith("mark at"))
    page.click("[data-control=success]")
    page.until(
        "document.querySelector('#statistics').innerText.startsWith('1 episodes, 1 succeeded (100 %)')"
    )
    page.until("document.querySelector('figure[data-name=\"@starts\"] img')?.naturalWidth === 480")
    page.until("document.querySelectorAll('#pictures img').length === 4")  # front, wrist, the arm, the starts
    assert re.search(r"\d GB free, \d+ frames dropped", page.text("#disk"))
    assert page.run("document.querySelectorAll('#numbers .joint').length") == 6

    watch.until(lambda s: s["session"]["state"] == "idle")
    page.key("Enter", "\r")
    watch.until(lambda s: s["session"]["state"] == "countdown")
    page.click("#estop")
    watch.until(lambda s: s["session"]["mode"] == "estop")
    page.until("document.querySelector('#mode').innerText === 'stopped'")
    page.key("\\", "\\")
    watch.until(lambda s: s["session"]["mode"] == "run")

    began = watch.state()["arms"]["arm"][0]["q"]
    page.fingers(page.middle("#deadman"), page.middle("#plane"))
    page.fingers(page.middle("#deadman"), page.middle("#plane", 0.3))
    watch.until(lambda s: abs(s["arms"]["arm"][0]["q"] - began) > 0.1)
    work.chromium.send(signal.SIGSTOP)
    lost = watch.until(lambda s: s["session"]["mode"] == "hold")
    assert "heartbeat is lost" in lost["session"]["reason"], "and the loop goes on"
    held = watch.tip()
    work.chromium.send(signal.SIGCONT)
    watch.until(lambda s: s["session"]["mode"] == "run")
    watch.until(lambda s: np.linalg.norm(ARM.fk([j["q"] for j in s["arms"]["arm"]])[0] - held) > 0.02)
    work.chromium.send(signal.SIGKILL)
    lost = watch.until(lambda s: s["session"]["mode"] == "hold")
    assert "heartbeat is lost" in lost["session"]["reason"]
    held = watch.tip()
    assert near(watch.tip(), held)

    work.quit()
    info = Dataset(work.root).open().episode(0).info
    assert info["success"] and info["note"] == "left hand" and len(info["marks_s"]) == 1
