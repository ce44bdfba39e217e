"""One writer a dataset."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

from ..robot.clock import wall_time
from ..robot.errors import DatasetError
from .disk import explain
from .layout import LOCK

_held: set[Path] = set()  # roots that this process writes


class RootLock:
    """Exclusive right to write under a dataset's root.

    A POSIX record lock: the kernel drops it when its owner dies, however it dies, so a lock file that a
    killed process left behind never keeps anybody out; and a camera process forked by the owner does not
    inherit it. The pid and host in the file are for the message only.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. `DatasetError` when another writer has it, or the folder is not writable."""
        if self._root in _held:
            raise DatasetError(
                f"{self._root}: this process already writes this dataset; close that writer first"
            )
        path = self._root / LOCK
        if path.parent.is_symlink() or path.is_symlink():
            raise DatasetError(
                f"{path.parent}: is a link; what lies there is written and removed, so it must be a folder of the "
                f"dataset itself: remove the link"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise explain(error, self._root, "opening the dataset for writing") from error
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sign(descriptor)
        except OSError as error:
            owner = os.read(descriptor, 4096).decode("utf-8", "replace")
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise DatasetError(
                    f"{self._root}: is being written by {_describe(owner)}; end that first"
                ) from None
            raise explain(error, self._root, "locking the dataset") from error
        self._descriptor = descriptor
        _held.add(self._root)

    def _sign(self, descriptor: int) -> None:
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": wall_time()})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)

    def release(self) -> None:
        """Give the lock back; may be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _held.discard(self._root)


def _describe(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def writing_now(root: Path) -> str:
    """Who is writing the dataset at `root` right now; "" when nobody is. Takes nothing."""
    path = root.resolve() / LOCK
    if root.resolve() in _held:
        return "this process"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return ""  # no lock file, or a folder that nobody can write
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return ""
    except OSError:
        return _describe(os.read(descriptor, 4096).decode("utf-8", "replace"))
    finally:
        os.close(descriptor)
