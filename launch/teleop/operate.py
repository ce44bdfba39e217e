"""The operator's machine: a device here moves an arm there.

What is under way is bounded: no more than `UNDER_WAY` looks that the robot has not answered, and of those that wait
only the newest is sent. Keys go with every look until they are acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import ssl
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from ...robot.clock import RealClock
from ...robot.errors import DeviceError, UsageError
from ...robot.interfaces import Clock
from ...robot.rig import load_rig
from ...teleop import make_device
from ...teleop.controls import key_line
from ...teleop.jog import Jog, JogDevice
from ...teleop.keyboard import Keyboard
from ...teleop.page.link import is_loopback, pin_of
from ...teleop.place import Place
from ...teleop.remote_server import PATH
from ...teleop.remote_words import KEYS_MAX, Look, RoundTrips, plain
from ..progress import say
from .command import terminal_beside
from .line import EVERY_NS, Line
from .voice import Voice

PORT = 8020
PLACED = ("web", "remote", "scripted", "leader")  # devices that are where the session is
PERIOD_NS = 16_666_667
UNDER_WAY = 32  # looks without an answer, about half a second of them
SHOWN_NS = 3_000_000_000  # over which the shown round trips are taken
LOST_NS = 100_000_000  # without a word for that long the link is lost; the robot's side sees it as soon
AGAIN_NS = 2_000_000_000  # then the connection is given up, and another one tried
KEY_NS = 1_000_000_000  # a key that did not get through for that long is not wanted any more, but an e-stop
RETRY_S = 0.3
OPEN_S = 4.0
WORD_BYTES = 20_000
OVER = 1001  # the code with which a session's end closes a connection (RFC 6455, 7.4.1: going away)


@dataclass(frozen=True, slots=True)
class Robot:
    """Where a session is that waits for an operator."""

    host: str
    port: int = PORT
    token: str = ""
    pin: str = ""  # of its certificate; "" without TLS, which is for this machine alone

    @property
    def address(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def robot_at(text: str, token: str = "", pin: str = "") -> Robot:
    """The robot at HOST, HOST:PORT, or an address of its page. Raises `UsageError`."""
    parts = urlsplit(text if "://" in text else f"//{text}")
    try:
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port = None, PORT
    if not host:
        raise UsageError(f"'{text}': no address; as in 192.168.1.20:{PORT}, or [fd00::20]:{PORT}")
    token = token or parse_qs(parts.query).get("token", [""])[0]
    if not is_loopback(host) and not (token and pin):
        raise UsageError(
            f"{host}: another machine is reached over TLS and with a token; --token (or --token-file) and --pin, as "
            "twinloop prints them there"
        )
    return Robot(host, port, token, pin.lower().replace(":", ""))


async def trust(robot: Robot) -> ssl.SSLContext | None:
    """A context that takes the certificate with the pin of `robot` and no other; None without TLS.

    Raises `UsageError` where another certificate is shown, before anything secret is said.
    """
    if not robot.pin:
        return None
    pem = await asyncio.to_thread(ssl.get_server_certificate, (robot.host, robot.port), timeout=OPEN_S)
    found = pin_of(ssl.PEM_cert_to_DER_cert(pem))
    if found != robot.pin:
        raise UsageError(
            f"{robot.address}: its certificate has the pin {found}, not {robot.pin}; copy --pin again from what "
            "twinloop prints there, and if that is the same, somebody is between you and the robot"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it is that very certificate, whatever the host is called here
    context.load_verify_locations(cadata=pem)
    return context


class Operation:
    """Operates the session at `robot` with `device`; `terminal` has controls beside it. Both are open."""

    def __init__(
        self,
        robot: Robot,
        device: JogDevice,
        *,
        terminal: Keyboard | None = None,
        voice: Voice | None = None,
        line: Line | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._robot = robot
        self._device = device
        self._terminal = terminal
        self._voice = voice or Voice(quiet=True)
        self._line = line or Line()
        self._clock = clock or RealClock()
        self._id = secrets.token_hex(8)
        self._context: ssl.SSLContext | None = None
        self._keys = PendingKeys()
        self._jog = Jog(engaged=False)
        self._n = self._answered = 0  # numbers of looks
        self._heard: tuple[int, int] | None = None  # robot's clock in its newest word, and ours then
        self._trips = RoundTrips(SHOWN_NS)
        self._session: dict[str, Any] = {}
        self._felt: dict[str, Any] = {}
        self._ignored = 0
        self._message = ""
        self._shown_ns = 0

    async def run(self) -> int:
        """Until the session is over; a link that is lost is made anew.

        Raises `DeviceError` or `UsageError` that says why there never was one, or why there may be none.
        """
        first = True
        while True:
            try:
                async with await self._connected() as socket:
                    first = False
                    await self._talk(socket)
                    if socket.close_code == OVER:
                        return 0
            except InvalidStatus as error:
                why = (error.response.body or b"").decode(errors="replace").strip()
                raise DeviceError(f"{self._robot.address}: {_printable(why)}") from None
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                if first:
                    raise DeviceError(
                        f"{self._robot.address}: {_reason(error)}; is `twinloop teleop --device remote` running there?"
                    ) from None
            due = self._clock.now() + round(RETRY_S * 1e9)
            while self._clock.now() < due:
                self._look()
                await asyncio.sleep(PERIOD_NS * 1e-9)

    async def _connected(self) -> connect:
        robot = self._robot
        if self._context is None:
            self._context = await trust(robot)
        query = f"id={self._id}" + (f"&token={quote(robot.token)}" if robot.token else "")
        scheme = "ws" if self._context is None else "wss"
        return connect(
            f"{scheme}://{robot.address}{PATH}?{query}",
            ssl=self._context,
            open_timeout=OPEN_S,
            close_timeout=RETRY_S,
            ping_interval=None,
            compression=None,
            max_size=WORD_BYTES,
            proxy=None,
        )

    async def _talk(self, socket: ClientConnection) -> None:
        self._n = self._answered = self._ignored = 0
        self._heard = None
        self._trips.clear()
        hears = asyncio.create_task(self._hear(socket))
        begun = due = self._clock.now()
        try:
            while not hears.done():
                self._look()
                now = self._clock.now()
                if now - (begun if self._heard is None else self._heard[1]) > AGAIN_NS:
                    return
                if self._n - self._answered < UNDER_WAY:
                    self._n += 1
                    await socket.send(self._said(now).text())
                due = max(due + PERIOD_NS, now)
                await asyncio.sleep(max(0, due - self._clock.now()) * 1e-9)
        except ConnectionClosed:  # its code says why
            pass
        finally:
            hears.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await hears

    def _said(self, now: int) -> Look:
        echo, held = (None, 0) if self._heard is None else (self._heard[0], now - self._heard[1])
        return Look(self._n, now, plain(self._jog), echo, held, self._keys.waiting)

    def _look(self) -> None:
        """Look at the device; show how things stand."""
        now = self._clock.now()
        self._jog = self._device.read(now)
        keys = list(self._jog.keys)
        if self._terminal is not None and self._terminal is not self._device:
            keys += self._terminal.read(now).keys
        for key in keys:
            self._keys.press(key, now)
        for key in self._keys.drop_old(now):
            self._message = f"{key}: not sure that it came through; look, and press it again"
        if now - self._shown_ns >= EVERY_NS:
            self._shown_ns = now
            self._line.put(self._text(now), f"{self._lost(now)} {self._session.get('episode')}")

    async def _hear(self, socket: ClientConnection) -> None:
        async for text in socket:
            now = self._clock.now()
            word = json.loads(text)
            self._heard = int(word["t"]), now
            if "echo" in word:
                self._answered = max(self._answered, int(word["n"]))
                self._trips.add(now, now - int(word["echo"]) - int(word["held"]))
            self._keys.acknowledge(int(word["keys"]))
            if word["ignored"] > self._ignored:
                self._message = f"{word['ignored']} of our messages ignored: {word['why']}"
                self._answered = min(self._answered + word["ignored"] - self._ignored, self._n)
            self._ignored = word["ignored"]
            if "session" in word:
                self._session = dict(word["session"])
            if "felt" in word:
                self._felt = dict(word["felt"])
                self._device.feel(bool(self._felt.get("clamped")))
            if self._felt.get("clamped"):
                self._voice.ring(now)

    def _lost(self, now: int) -> bool:
        return self._heard is None or now - self._heard[1] > LOST_NS

    def _text(self, now: int) -> str:
        """The terminal's line."""
        if self._lost(now):
            if self._heard is None:
                return f"[no link]  to {self._robot.address}: connecting"
            since = (now - self._heard[1]) * 1e-9
            return f"[no link]  to {self._robot.address}: lost {since:.1f} s ago, the arm holds; trying again"
        told = self._session
        elapsed, rate = told.get("elapsed_s"), told.get("rate_hz")
        mode, reason = told.get("mode"), told.get("reason")
        parts = [
            f"[link {self._trips.text()}]",
            "let go once, then it moves" if self._felt.get("waits") else "",
            self._message,
            told.get("message"),
            told.get("episode"),
            "" if elapsed is None else f"{elapsed:.1f} s",
            "" if rate is None else f"{rate:.0f} Hz",
            f"guard {mode}" + (f" ({reason})" if mode != "run" and reason else "") if mode else "",
            f"held back: {told['clamped']}" if told.get("clamped") else "",
            told.get("statistics"),
        ]
        return _printable("  ".join(str(part) for part in parts if part))


class PendingKeys:
    """Controls that were pressed and are not acknowledged yet, numbered from 1 on."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, str, int]] = []  # number, control, when
        self._number = 0

    @property
    def waiting(self) -> list[tuple[int, str]]:
        """For a look."""
        return [(number, control) for number, control, _ in self._kept]

    def press(self, control: str, now: int) -> None:
        """More than `KEYS_MAX` are no person's: the oldest goes, but an e-stop."""
        self._number += 1
        self._kept.append((self._number, control, now))
        if len(self._kept) > KEYS_MAX:
            del self._kept[next((k for k, entry in enumerate(self._kept) if entry[1] != "estop"), 0)]

    def acknowledge(self, number: int) -> None:
        self._kept = [entry for entry in self._kept if entry[0] > number]

    def drop_old(self, now: int) -> list[str]:
        """Controls that waited for too long; an e-stop never does."""
        old = [entry for entry in self._kept if entry[1] != "estop" and now - entry[2] > KEY_NS]
        self._kept = [entry for entry in self._kept if entry not in old]
        return [control for _, control, _ in old]


def operate(robot: Robot, name: str, rig: str, quiet: bool = False) -> int:
    """Operate the session at `robot` with the device called `name`; returns the command's exit status."""
    name, _, choice = name.partition(":")
    if name in PLACED:
        raise UsageError(
            f"--device {name}: is no device of an operator's machine; as keyboard, gamepad, spacemouse"
        )
    device = make_device(name, Place(load_rig(rig), choice))
    with ExitStack() as stack:
        stack.callback(device.close)
        device.open()
        terminal = terminal_beside(device)
        if terminal is not None and terminal is not device:
            stack.callback(terminal.close)
            terminal.open()
        if terminal is not None:
            say(f"keys: {key_line()}")
        if (how := getattr(sys.modules[type(device).__module__], "HELP", None)) is not None:
            say(f"{name}: {how}")
        voice, line = Voice(quiet), Line()
        stack.callback(voice.close)
        stack.callback(line.close)
        status = asyncio.run(Operation(robot, device, terminal=terminal, voice=voice, line=line).run())
    say("the session is over")
    return status


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
