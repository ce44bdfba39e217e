"""Questions in a plain terminal, each with a default."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...robot.errors import UsageError
from ..progress import say


def _typed() -> str:
    return sys.stdin.readline()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Asks on standard output and reads `read()`, a line with its end ("": no more come); with `yes` it takes every
    default without waiting."""

    yes: bool = False
    read: Callable[[], str] = _typed

    def ask(self, question: str, default: str = "", about: str = "") -> str:
        """The answer, without blanks around it; `default` for an empty one. Raises `UsageError` when the input ends,
        which names `about`, or the question itself."""
        prompt = f"{question} [{default}]: " if default else f"{question}: "
        print(prompt, end="", flush=True)
        if self.yes:
            say(default)
            return default
        line = self.read()
        if not line:
            say("")
            asked = " ".join((about or question).split())
            raise UsageError(
                f'the input ended at "{asked}"; what was found so far is kept, --yes takes the defaults'
            )
        return line.strip() or default

    def confirm(self, question: str, default: bool = True) -> bool:
        """Yes or no."""
        while True:
            answer = self.ask(f"{question} (y/n)", "y" if default else "n").lower()
            if answer in ("y", "yes", "n", "no"):
                return answer[0] == "y"
            say("y or n?")

    def choose(self, question: str, options: Mapping[str, str], default: str) -> str:
        """A key of `options` (key -> what it means), each shown on a line."""
        say(question)
        width = max(map(len, options))
        for key, meaning in options.items():
            say(f"  {key:<{width}}  {meaning}")
        while True:
            answer = self.ask("which", default, about=question)
            if answer in options:
                return answer
            say(f"'{answer}' is none of: {', '.join(options)}")
