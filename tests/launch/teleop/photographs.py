"""Photographs of the operator's page for the docs: `python tests/launch/teleop/photographs.py [FOLDER]`."""

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from chromium import Chromium

FOLDER = Path(__file__).parents[3] / "docs" / "images"
EPISODES = 3  # recorded before the photograph of the next one


@contextmanager
def session(root):
    """`twinloop record OUT --rig so101 --sim --device web`, and where its page is."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "twinloop.launch.cli", "record", root, "--rig", "so101", "--sim", "--device",
         "web", "--quiet", "--port", "0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "MUJOCO_GL": "egl", "XDG_STATE_HOME": str(root.parent)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield next(m[1] for line in process.stdout if (m := re.search(r"page: (\S+)", line)))
    finally:
        process.kill()
        process.wait()


def push(tab, stick, x, y):
    """Hold Shift, the dead-man beside a mouse, and drag a stick by shares of its size."""
    tab.ask("Input.dispatchKeyEvent", type="keyDown", key="Shift", code="ShiftLeft")
    for kind, at in (("mousePressed", tab.middle(stick)), ("mouseMoved", tab.middle(stick, x, y))):
        tab.ask(
            "Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", buttons=1, clickCount=1
        )


def let_go(tab, stick):
    x, y = tab.middle(stick)
    tab.ask("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)
    tab.ask("Input.dispatchKeyEvent", type="keyUp", key="Shift", code="ShiftLeft")


def state(tab, name):
    tab.until(f"document.body.dataset.state === '{name}'")


def episode(tab):
    """Begin one, and move forward."""
    tab.click("[data-control=start]")
    state(tab, "recording")
    push(tab, "#plane", 0.1, -0.3)
    time.sleep(1.2)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, session(Path(home) / "d") as url:
        browser = Chromium()
        try:
            tab = browser.tab(url)
            state(tab, "idle")
            for number in range(1, EPISODES + 1):
                episode(tab)
                let_go(tab, "#plane")
                tab.click("[data-control=success]")
                tab.until(f"document.querySelector('#episode').innerText === 'idle, episode {number}'")
            time.sleep(3.0)
            tab.picture(folder / "page-idle.jpg")
            tab.size(390, 844, touch=True)
            time.sleep(2.0)
            tab.picture(folder / "page-phone.jpg")
            tab.size(1280, 900)
            episode(tab)
            tab.picture(folder / "page-recording.jpg")
            let_go(tab, "#plane")
            push(tab, "#lift", 0.0, 0.35)
            tab.until("document.querySelector('#clamped').innerText === 'held back: table'")
            tab.picture(folder / "page-clamped.jpg")
            let_go(tab, "#lift")
        finally:
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
