"""E-stop over TCP: short lines of text, so that a microcontroller or `nc` can be a button box.

    token XXXX        first, where the rig names a token file
    stop [REASON]     press; answered "stopped". Every line that begins with these four letters is one, however long
    beat MS           alive; from now on a line must come every MS ms (50..5000), or the stop is pressed: so it is when
                      the connection breaks. Answered "clear", or "stopped" while the stop is pressed
    bye               the end of that promise

What is not understood is answered "error ...", and ends the connection. Verbs are read in small and capital letters,
and the end of a connection ends its last line. A trusted press that has arrived counts, whatever else becomes of who
sent it: everybody is heard before being let go.
"""

from __future__ import annotations

import contextlib
import hmac
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .config import SocketStop, is_loopback
from .source import Press

CLIENTS = 16  # who may promise beats at a time; those are not let go for others
SPARE = 8  # further connections: so many are always left for a press
READ, READS = 4096, 16  # bytes at a time; of the last words of a client
LINE, REASON = 256, 80  # bytes of a line; characters of a reason
BEAT_MS = (50, 5000)
TOKEN = (16, 200)  # characters
AGAIN_NS = 1_000_000_000  # between two attempts to listen
SILENT_NS = 5_000_000_000  # a stranger who says nothing for so long is let go


@dataclass(slots=True, eq=False)
class _Client:
    connection: socket.socket
    address: str
    heard_ns: int
    trusted: bool
    data: bytes = b""
    beat_ns: int = 0  # 0: it has promised nothing
    skips: bool = False  # the rest of a line that was too long comes
    ended: bool = False  # it said what is no line; it is let go


class Listener:
    """Implements `Source`. `pressed()` tells whether the stop is pressed, for boxes with a lamp."""

    name = "socket"

    def __init__(self, config: SocketStop, pressed: Callable[[], bool]) -> None:
        self._config = config
        self._pressed = pressed
        self._listener: socket.socket | None = None
        self._clients: list[_Client] = []
        self._token: bytes | None = None
        self._fault: str | None = "not listening yet"
        self._tried_ns: int | None = None

    @property
    def fault(self) -> str | None:
        if self._fault is None and self._config.required and not any(c.beat_ns for c in self._clients):
            return f"no button box is connected to {self.detail}"
        return self._fault

    @property
    def holds(self) -> str | None:
        return self.fault if self._config.required else None

    @property
    def detail(self) -> str:
        who = "" if is_loopback(self._config.bind) and self._config.token_file is None else ", with a token"
        return f"{self._config.bind} port {self._config.port}{who}"

    def look(self, now_ns: int, press: Press) -> None:
        if self._listener is None:
            if self._tried_ns is None or now_ns - self._tried_ns >= AGAIN_NS:
                self._tried_ns = now_ns
                self._listen()
            return
        self._accept(now_ns, press)
        for client in list(self._clients):
            self._hear(client, now_ns, press)

    def descriptors(self) -> Sequence[int]:
        if self._listener is None:
            return ()
        return (self._listener.fileno(), *(c.connection.fileno() for c in self._clients))

    def close(self) -> None:
        for client in self._clients:
            client.connection.close()
        self._clients.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _listen(self) -> None:
        config = self._config
        try:
            self._token = None if config.token_file is None else read_token(config.token_file)
            kind = socket.AF_INET6 if ":" in config.bind else socket.AF_INET
            self._listener = socket.create_server((config.bind, config.port), family=kind, backlog=CLIENTS)
        except (OSError, ValueError) as error:
            self._fault = f"{self.detail}: {getattr(error, 'strerror', None) or error}"
            return
        self._listener.setblocking(False)
        self._fault = None

    def _accept(self, now_ns: int, press: Press) -> None:
        assert self._listener is not None
        for _ in range(CLIENTS):
            try:
                connection, address = self._listener.accept()
            except OSError:  # nobody waits, or who did has gone
                return
            connection.setblocking(False)
            while len(self._clients) >= CLIENTS + SPARE:
                idle = [c for c in self._clients if not c.beat_ns]
                self._part(min(idle, key=lambda c: (c.trusted, c.heard_ns)), now_ns, press, unless_beats=True)
            self._clients.append(_Client(connection, str(address[0]), now_ns, self._token is None))

    def _hear(self, client: _Client, now_ns: int, press: Press) -> None:
        gone = self._read(client, now_ns, press) is None
        late = now_ns - client.heard_ns > (client.beat_ns or SILENT_NS)
        if late and client.beat_ns and not gone:
            press(f"socket: {client.address} is silent")
            client.beat_ns = 0
        if gone or late or client.ended:
            self._part(client, now_ns, press)

    def _part(self, client: _Client, now_ns: int, press: Press, unless_beats: bool = False) -> None:
        """Let go of a client after its last words; one that had promised beats has broken its word."""
        for _ in range(READS):
            if not self._read(client, now_ns, press):
                break
        if unless_beats and client.beat_ns and not client.ended:
            return
        if client.data.strip():
            self._take(client, b"\n", now_ns, press)
        if client.beat_ns:
            press(f"socket: {client.address} is gone")
        self._clients.remove(client)
        client.connection.close()

    def _read(self, client: _Client, now_ns: int, press: Press) -> bool | None:
        """Obey what has come; whether anything has, None at the end of the connection."""
        try:
            data = client.connection.recv(READ)
        except BlockingIOError:
            return False
        except OSError:
            return None
        self._take(client, data, now_ns, press)
        return bool(data) or None

    def _take(self, client: _Client, data: bytes, now_ns: int, press: Press) -> None:
        """Obey the lines that `data` ends, and one that grows too long. Several presses among them are one."""
        *lines, client.data = (client.data + data).split(b"\n")
        if client.skips and lines:
            del lines[0]
            client.skips = False
        if client.skips:
            client.data = b""
        elif len(client.data) > LINE:
            lines.append(client.data)
            client.data, client.skips = b"", True
        pressed = False
        for line in lines:
            stop = line.lstrip()[:4].lower() == b"stop"
            if client.ended and not (stop and client.trusted):
                continue
            client.heard_ns = now_ns
            try:
                if stop and not pressed:
                    self._stop(client, line, press)
                    pressed = True
                elif not stop:
                    self._obey(client, line)
            except ValueError as error:
                client.ended = True
                self._say(client, f"error {error}")
            else:
                self._say(client, "stopped" if self._pressed() else "clear")

    def _stop(self, client: _Client, line: bytes, press: Press) -> None:
        if not client.trusted:
            raise ValueError("token?")
        said = line.lstrip()[4:LINE].decode(errors="replace")
        reason = "".join(c for c in said if c.isprintable()).strip()[:REASON]
        press(f"socket: {client.address}" + (f": {reason}" if reason else ""))

    def _obey(self, client: _Client, line: bytes) -> None:
        """Any line but a press. Raises `ValueError` for one that is none."""
        if len(line) > LINE:
            raise ValueError("too long")
        verb, _, rest = line.strip().partition(b" ")
        verb = verb.lower()
        if verb == b"token":
            client.trusted = self._token is None or hmac.compare_digest(rest.strip(), self._token)
        if not client.trusted:
            raise ValueError("token?")
        if verb == b"beat":
            low, high = BEAT_MS
            if not (rest.isdigit() and low <= int(rest[:6]) <= high):
                raise ValueError(f"beat MS: {low}..{high}")
            if not client.beat_ns and sum(bool(c.beat_ns) for c in self._clients) >= CLIENTS:
                raise ValueError(f"full: {CLIENTS} boxes are connected")
            client.beat_ns = int(rest[:6]) * 1_000_000
        elif verb == b"bye":
            client.beat_ns = 0
        elif verb != b"token":
            raise ValueError("valid: token, stop, beat, bye")

    def _say(self, client: _Client, text: str) -> None:
        with contextlib.suppress(OSError):  # who does not read misses it
            client.connection.send(text.encode() + b"\n")


def read_token(path: Path) -> bytes:
    """The token in a file. Raises `ValueError` that says what is wrong with it, `OSError` when it cannot be read."""
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} can be read by others; chmod 600 {path}")
    with path.open("rb") as file:
        token = file.read(4096).strip()
    low, high = TOKEN
    if not low <= len(token) <= high or b"\n" in token:
        raise ValueError(f"{path}: a token is one line of {low} to {high} characters")
    return token
