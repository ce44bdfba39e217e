"""A normally closed contact on a GPIO line, through the `gpiod` package (2.x; extra `gpio`)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from .config import GpioStop
from .source import Press

AGAIN_NS = 250_000_000


class Contact:
    """Implements `Source`. The line is pulled up and the contact pulls it down: high = open = stop."""

    name = "gpio"

    def __init__(self, config: GpioStop) -> None:
        self._config = config
        self._open = False
        self._request: Any = None
        self._gpiod: Any = None
        self._fault: str | None = "not opened yet"
        self._tried_ns: int | None = None

    @property
    def fault(self) -> str | None:
        return self._fault

    @property
    def holds(self) -> str | None:
        if self._open:
            return f"contact open ({self._config.chip} line {self._config.line})"
        return self.fault if self._config.required else None

    @property
    def detail(self) -> str:
        return f"{self._config.chip} line {self._config.line}, normally closed"

    def look(self, now_ns: int, press: Press) -> None:
        if self._request is None:
            if self._tried_ns is not None and now_ns - self._tried_ns < AGAIN_NS:
                return
            self._tried_ns = now_ns
            self._ask()
        if self._request is None:
            return
        before = self._open
        try:
            opened = self._was_opened()
        except OSError as error:  # the chip is gone: an adapter was pulled out
            self.close()
            self._fault = f"{self._config.chip}: {error.strerror or error}"
            if self._config.required:
                press("gpio: its chip is gone")
            return
        if opened and not before:
            press(f"contact opened ({self._config.chip} line {self._config.line})")

    def descriptors(self) -> Sequence[int]:
        return () if self._request is None else (self._request.fd,)

    def close(self) -> None:
        self._open = False
        request, self._request = self._request, None
        if request is not None:
            request.release()

    def _was_opened(self) -> bool:
        """It is open now, or was for a moment since the last look."""
        gpiod = self._gpiod
        rose = False
        while self._request.wait_edge_events(0):
            for event in self._request.read_edge_events():
                rose = rose or event.event_type is gpiod.EdgeEvent.Type.RISING_EDGE
        self._open = self._request.get_value(self._config.line) is gpiod.line.Value.ACTIVE
        return rose or self._open

    def _ask(self) -> None:
        try:
            gpiod = self._gpiod = importlib.import_module("gpiod")
            line = importlib.import_module("gpiod.line")
        except ImportError:
            self._fault = "the package gpiod is not installed: pip install 'twinloop[gpio]'"
            return
        settings = gpiod.LineSettings(
            direction=line.Direction.INPUT, bias=line.Bias.PULL_UP, edge_detection=line.Edge.BOTH
        )
        try:
            self._request = gpiod.request_lines(
                self._config.chip, consumer="twinloop e-stop", config={self._config.line: settings}
            )
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or error
            self._fault = f"{self._config.chip} line {self._config.line}: {told}"
        else:
            self._fault = None
