"""`metrics.jsonl`: the curves of a training, one JSON object a line, readable while it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.disk import write_text


class MetricsLog:
    """Lines with a "step"; those of training have a "loss", those of validation a "validation"."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[Mapping[str, Any]] = []

    def open(self, step: int) -> None:
        """Keep the lines up to `step`, drop later ones: a resumed training writes them again."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lines = []
        if step > 0 and self._path.is_file():
            for text in self._path.read_text().splitlines():
                try:
                    line = json.loads(text)
                except ValueError:  # the last line of a killed process
                    continue
                if line["step"] <= step:
                    self._lines.append(line)
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in self._lines))

    def write(self, line: Mapping[str, Any]) -> None:
        self._lines.append(line)
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            error.filename = str(self._path)
            raise

    def losses(self) -> tuple[tuple[int, float], ...]:
        """(step, training loss)."""
        return tuple((line["step"], line["loss"]) for line in self._lines if "loss" in line)

    def validations(self) -> tuple[tuple[int, float], ...]:
        """(step, validation loss)."""
        found = [line for line in self._lines if line.get("validation")]
        return tuple((line["step"], line["validation"]["loss"]) for line in found)

    def last_validation(self) -> Mapping[str, float]:
        """The latest validation's figures, {} before the first."""
        found = [line["validation"] for line in self._lines if line.get("validation")]
        return found[-1] if found else {}
