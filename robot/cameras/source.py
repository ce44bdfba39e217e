"""What a capture process reads: a device that blocks until its next picture."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from ..errors import RigError
from ..interfaces import Clock
from ..rig import CameraConfig
from ..types import Frame


class Source(Protocol):
    """A camera as its driver sees it. One process reads it, and may be stopped by it.

    After `close` it may be opened again; the numbers of its pictures go on.
    """

    def open(self) -> None: ...

    def next(self) -> Frame:
        """The next picture, stamped mid-exposure as well as it can be known.

        Raises `DeviceError` when none comes within a second, or the device is gone.
        """
        ...

    def close(self) -> None: ...


SourceFactory = Callable[[str, CameraConfig, Clock, Mapping[str, Any]], Source]
DRIVERS: Mapping[str, str] = MappingProxyType(  # by kind
    {"opencv": f"{__package__}.opencv:connect", "realsense": f"{__package__}.realsense:connect"}
)


def find_factory(where: str) -> Callable[..., Any]:
    """The factory `module:function`. Raises `RigError` when there is none."""
    module, _, function = where.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RigError(f"camera driver '{where}': {error}") from None
