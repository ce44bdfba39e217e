"""A headless Chromium, driven over its DevTools protocol: pages, pointers, pictures."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_S = 30.0
OPTIONS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--no-default-browser-check", "--mute-audio",
    "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--autoplay-policy=no-user-gesture-required", "--hide-scrollbars",
)  # fmt: skip


def found() -> str | None:
    """Where there is a Chromium that runs; None where there is none."""
    for name in NAMES:
        path = shutil.which(name)
        if path is None:
            continue
        ran = subprocess.run([path, "--version"], capture_output=True, check=False)  # a snap's stub does not
        if ran.returncode == 0:
            return path
    return None


class Chromium:
    """One browser, in a process group of its own; `tab` opens a page."""

    def __init__(self) -> None:
        path = found()
        if path is None:
            pytest.skip(f"no Chromium here ({', '.join(NAMES)}): `make setup` installs it")
        self.folder = Path(tempfile.mkdtemp(prefix="twinloop-chromium-"))
        rights = ["--no-sandbox"] if os.getuid() == 0 else []
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [path, *OPTIONS, *rights, f"--user-data-dir={self.folder}", "about:blank"],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        port = self.folder / "DevToolsActivePort"
        end = time.monotonic() + WAIT_S
        while not (port.exists() and port.read_text().count("\n")):
            if time.monotonic() > end or self.process.poll() is not None:
                said = (self.folder / "log").read_text()[-2000:]
                self.close()
                pytest.fail(f"Chromium does not come up: {said}")
            time.sleep(0.02)
        self.port = int(port.read_text().split()[0])

    def tab(self, url: str, *scripts: str, width: int = 1280, height: int = 900, touch: bool = False) -> Tab:
        """A page at `url`, with `scripts` run before its own."""
        made = urllib.request.Request(f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(made) as answer:
            target = json.load(answer)
        return Tab(target["webSocketDebuggerUrl"], url, scripts, width, height, touch)

    def send(self, number: int) -> None:
        """A signal to all of its processes."""
        os.killpg(self.process.pid, number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Tab:
    """One page of a browser."""

    def __init__(
        self, address: str, url: str, scripts: tuple[str, ...], width: int, height: int, touch: bool
    ) -> None:
        self._open = ExitStack()
        self._socket = self._open.enter_context(
            connect(address, max_size=None, open_timeout=WAIT_S, close_timeout=1, ping_interval=None)
        )
        self._number = 0
        self._down: dict[int, dict[str, Any]] = {}  # fingers
        self.ask("Page.enable")
        self.size(width, height, touch)
        for script in scripts:
            self.ask("Page.addScriptToEvaluateOnNewDocument", source=script)
        self.ask("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def size(self, width: int, height: int, touch: bool = False) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=touch,
        )  # fmt: skip
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch, maxTouchPoints=5 if touch else 1)

    def ask(self, method: str, **values: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": values}))
        while True:
            answer = json.loads(self._socket.recv(WAIT_S))
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for. As a person's act: what needs one is allowed."""
        result = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in result, f"{script}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until the expression is true."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.03)
        pytest.fail(f"never true: {script}; the page shows: {self.run('document.body.innerText')}")

    def text(self, selector: str) -> str:
        return self.run(f"document.querySelector({selector!r}).innerText")

    def middle(self, selector: str, x: float = 0.0, y: float = 0.0) -> tuple[float, float]:
        """The middle of an element, px, off it by these shares of its size; scrolled to, and waited for until it
        stands still and nothing lies over it."""
        find = (
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'nearest'}});"
            "const b = e.getBoundingClientRect();"
            "const top = document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2);"
            "return e.contains(top) ? [b.x, b.y, b.width, b.height] : null; })()"
        )
        before, end = None, time.monotonic() + WAIT_S
        while time.monotonic() < end:
            box = self.run(find)
            if box is not None and box == before:
                return box[0] + box[2] * (0.5 + x), box[1] + box[3] * (0.5 + y)
            before = box
            time.sleep(0.05)
        pytest.fail(f"{selector} never comes to rest in sight")

    def click(self, selector: str) -> None:
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def fingers(self, *places: tuple[float, float] | None) -> None:
        """The fingers that lie on the screen now, each at px; None lifts one and leaves the others where they are."""
        points = {k: {"x": at[0], "y": at[1], "id": k} for k, at in enumerate(places) if at is not None}
        for k in self._down.keys() - points.keys():
            self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[self._down[k]])
        if points:
            kind = "touchStart" if points.keys() - self._down.keys() else "touchMove"
            self.ask("Input.dispatchTouchEvent", type=kind, touchPoints=[*points.values()])
        self._down = points

    def key(self, key: str, text: str = "") -> None:
        """Press and release a key; with `text` it types that."""
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, **typed)

    def picture(self, path: Path, quality: int = 82) -> None:
        shot = self.ask("Page.captureScreenshot", format="jpeg", quality=quality)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._open.close()
