"""The other end of the e-stop's port: a press from another machine, and a button box that must stay alive."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from ..errors import DeviceError, UsageError
from .network import TOKEN, read_token

TOKEN_VARIABLE = "TWINLOOP_ESTOP_TOKEN"
PATIENCE_S = 3.0


class Box:
    """A connection to `host`:`port`; every call returns whether the stop is pressed there."""

    def __init__(self, host: str, port: int, token: bytes | None = None) -> None:
        self._host, self._port, self._token = host, port, token
        self._connection: socket.socket | None = None
        self._data = b""

    def open(self) -> None:
        """Connect. Raises `DeviceError` when nobody listens, or the token is not the right one."""
        try:
            self._connection = socket.create_connection((self._host, self._port), PATIENCE_S)
        except OSError as error:
            raise DeviceError(
                f"{self._host} port {self._port}: {error.strerror or error}; does a session run there whose rig "
                f"declares estop.socket?"
            ) from None
        if self._token is not None:
            self._ask(b"token " + self._token)

    def press(self, reason: str) -> bool:
        return self._ask(b"stop " + " ".join(reason.split()).encode(errors="replace"))

    def beat(self, within_ms: int) -> bool:
        """Alive; the next call comes within so many ms, or the stop is pressed."""
        return self._ask(f"beat {within_ms}".encode())

    def bye(self) -> bool:
        """No more beats are promised."""
        return self._ask(b"bye")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, line: bytes) -> bool:
        if self._connection is None:
            raise DeviceError("e-stop: not connected")
        try:
            self._connection.sendall(line + b"\n")
            while b"\n" not in self._data:
                data = self._connection.recv(1024)
                if not data:
                    raise DeviceError(f"{self._host} port {self._port}: the connection was closed")
                self._data += data
        except OSError as error:
            raise DeviceError(
                f"{self._host} port {self._port}: {error}; press a stop that is at hand"
            ) from None
        answer, _, self._data = self._data.partition(b"\n")
        if answer == b"error token?":
            raise DeviceError(
                f"{self._host} port {self._port}: it wants the token of its rig's estop.socket.token_file; give "
                f"--token-file, or set {TOKEN_VARIABLE}"
            )
        if answer not in (b"stopped", b"clear"):
            raise DeviceError(f"{self._host} port {self._port}: {answer[:80].decode(errors='replace')}")
        return answer == b"stopped"


def find_token(file: Path | None, environment: Mapping[str, str]) -> bytes | None:
    """The token from `file`, or from the environment, or None. Raises `UsageError`."""
    if file is not None:
        try:
            return read_token(file)
        except (OSError, ValueError) as error:
            raise UsageError(f"--token-file: {error}") from None
    value = environment.get(TOKEN_VARIABLE)
    if value is None:
        return None
    low, high = TOKEN
    if not low <= len(value.strip()) <= high:
        raise UsageError(f"{TOKEN_VARIABLE}: a token has {low} to {high} characters")
    return value.strip().encode()
