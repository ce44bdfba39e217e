"""A serial port that never waits longer than a deadline, and that one process owns."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
import struct
import termios
from pathlib import Path
from typing import Any, Protocol

import serial

from ..errors import DeviceError
from ..interfaces import Clock

EMULATED = struct.pack("4H", 1, 1, 0x5457, 0x4C50)  # size of a terminal that an emulator made: none has that
MEMORY_DEVICES = 1  # major number of /dev/null and its like (Linux, admin-guide/devices.txt)


class Port(Protocol):
    """Bytes to and from a bus. All but `open` and `close` raise `DeviceError` once the device is gone."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def send(self, data: bytes) -> None: ...

    def receive(self, deadline_ns: int) -> bytes:
        """What has come, at once; waits for the first byte until `deadline_ns`. Empty: nothing came."""
        ...


class SerialPort:
    """A tty: 8 data bits, no parity, one stop bit. Implements `Port`.

    It is locked for this process, and other opens are refused (root's excepted).
    """

    def __init__(self, path: str, baud: int, clock: Clock) -> None:
        self.path = path
        self.baud = baud
        self._clock = clock
        self._serial: Any = None
        self._emulated = False  # it was when it was opened first

    def open(self) -> None:
        """Open and lock. Raises `DeviceError` that says who holds the port, or what is missing."""
        if self._serial is not None:
            return
        emulated = _is_emulated(self.path)
        if self._emulated and not emulated:
            raise DeviceError(f"port {self.path}: the emulator behind it is gone")
        self._emulated = emulated
        try:
            self._serial = serial.Serial(self.path, self.baud, timeout=0, write_timeout=0.05, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            raise DeviceError(f"port {self.path or repr('')}: {self._why(error)}") from None

    def close(self) -> None:
        port, self._serial = self._serial, None
        if port is not None:
            with contextlib.suppress(serial.SerialException, OSError):  # an unplugged one cannot be flushed
                port.close()

    def send(self, data: bytes) -> None:
        port = self._opened()
        try:
            port.write(data)
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from None

    def receive(self, deadline_ns: int) -> bytes:
        port = self._opened()
        wait_s = max(0.0, (deadline_ns - self._clock.now()) * 1e-9)
        try:
            if not select.select([port.fileno()], [], [], wait_s)[0]:
                return b""
            data = os.read(port.fileno(), 4096)
        except (serial.SerialException, OSError, ValueError) as error:
            raise self._gone(error) from None
        if not data:  # readable and empty: the other end has hung up
            raise self._gone(OSError("hung up"))
        return data

    def _opened(self) -> Any:
        if self._serial is None:
            raise DeviceError(f"port {self.path}: not open")
        return self._serial

    def _gone(self, error: Exception) -> DeviceError:
        self.close()
        return DeviceError(f"port {self.path}: gone ({error}); is its cable in?")

    def _why(self, error: Exception) -> str:
        number = getattr(error, "errno", None)
        if not self.path or not Path(self.path).exists():
            return "not there; is the cable in? `twinloop doctor` lists the ports"
        if not _is_terminal(self.path):
            return "not a serial port; `twinloop doctor` lists the ports"
        owners = port_owners(self.path)
        if owners:
            return (
                f"in use by process {', '.join(map(str, owners))}; one process at a time may command an arm"
            )
        if number == 13:
            return "permission denied; add yourself to the group dialout: sudo usermod -aG dialout $USER"
        return str(error)


def _is_emulated(path: str) -> bool:
    """Whether an emulator's end is behind `path`. When that was killed, its number is soon another terminal's, maybe
    a person's: nothing may be written there."""
    if not path or not os.path.realpath(path).startswith("/dev/pts/"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(len(EMULATED))) == EMULATED
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_terminal(path: str) -> bool:
    """As far as that can be told without opening it, which may be refused."""
    kind = Path(path).stat()
    return stat.S_ISCHR(kind.st_mode) and os.major(kind.st_rdev) != MEMORY_DEVICES


def port_owners(path: str) -> list[int]:
    """Ids of other processes that have the device `path` open, as far as /proc shows them to us.

    Who emulates a device on a pseudo-terminal has it open, too, and is not meant.
    """
    target, owners = os.path.realpath(path), []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            holds = any(os.path.realpath(fd) == target for fd in (process / "fd").iterdir())
            if holds and not _is_other_end(process, target):
                owners.append(int(process.name))
    return sorted(owners)


def _is_other_end(process: Path, terminal: str) -> bool:
    """Whether `process` has the master of the pseudo-terminal /dev/pts/N (fdinfo: Linux, filesystems/proc.rst)."""
    _, pts, number = terminal.rpartition("/pts/")
    if not pts:
        return False
    wanted = f"tty-index:\t{number}"
    infos = (process / "fdinfo" / fd.name for fd in (process / "fd").iterdir())
    return any(wanted in info.read_text().splitlines() for info in infos)
