"""Progress on the terminal: one bar a phase, plain lines where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from ..policies.train import TrainProgress

PLAIN_LINES = 10  # lines a phase prints when the output is no terminal


def say(text: str) -> None:
    """One line on standard output, unstyled."""
    print(text, flush=True)


@contextmanager
def counter(name: str, total: int) -> Iterator[Callable[[bool, str], None]]:
    """A bar that counts to `total`; call with (counted, note) once an episode."""
    if not sys.stdout.isatty():
        done = 0

        def plain(counted: bool, note: str = "") -> None:
            nonlocal done
            done += counted
            if note:
                say(f"{name}: {note}")
            if counted and done % max(1, total // PLAIN_LINES) == 0:
                say(f"{name}: {done}/{total}")

        yield plain
        return
    with _bar() as progress:
        bar = progress.add_task(name, total=total, note="")

        def tick(counted: bool, note: str = "") -> None:
            progress.update(bar, advance=int(counted), note=note)

        yield tick


@contextmanager
def training_bar(steps: int) -> Iterator[Callable[[TrainProgress], None]]:
    """A bar for training; call with each `TrainProgress`."""
    if not sys.stdout.isatty():

        def plain(p: TrainProgress) -> None:
            every = max(1, steps // PLAIN_LINES)
            if p.step % every < 50:
                say(f"train: step {p.step}/{steps}, loss {p.loss:.4f}, {p.remaining_s:.0f} s left")

        yield plain
        return
    with _bar() as progress:
        bar = progress.add_task("train", total=steps, note="")

        def show(p: TrainProgress) -> None:
            error = p.validation.get("aux_m")
            seen = f", objects seen to {1000 * error:.0f} mm" if error is not None else ""
            progress.update(bar, completed=p.step, note=f"loss {p.loss:.3f}{seen}")

        yield show


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(),
        expand=True,
    )
