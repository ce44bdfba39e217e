"""`twinloop bench`: measure what the documentation claims, on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Command:
    """Run the benchmarks of this checkout and show their figures against their targets.

    Example:
        twinloop bench
        twinloop bench guard sim --quick
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Benchmarks to run (`guard`: guard_tick, guard_loop and guard_faults); by default all; `policies`, over an hour,
    only when named or with --quick."""
    quick: bool = False
    """Shorter runs, noisier figures."""
    json: Path | None = None
    """Write every figure there, one JSON line each."""

    def run(self) -> int:
        from ..bench import run_benchmarks

        return run_benchmarks(self.names, quick=self.quick, json_to=self.json)
