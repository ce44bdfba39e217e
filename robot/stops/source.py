"""What an e-stop source is to the process that looks after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Press = Callable[[str], None]  # reason


class Source(Protocol):
    """One source; `look` never blocks, and presses once for everything that happened."""

    name: str

    @property
    def fault(self) -> str | None:
        """Why it cannot be relied on now; None when it can."""
        ...

    @property
    def holds(self) -> str | None:
        """Why the stop must be pressed as long as this is so; None when nothing keeps it pressed."""
        ...

    @property
    def detail(self) -> str:
        """Where it listens."""
        ...

    def look(self, now_ns: int, press: Press) -> None: ...

    def descriptors(self) -> Sequence[int]:
        """What to wait on until there is something to look at."""
        ...

    def close(self) -> None: ...
