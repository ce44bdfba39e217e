"""How every benchmark prints a figure: one JSON line that `twinloop bench` reads."""

from __future__ import annotations

import json


def emit(
    name: str,
    value: float,
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    **more: object,
) -> None:
    """Print a figure and, where it has a target, whether that was met; `more` is kept beside it."""
    line: dict[str, object] = {"name": name, "value": float(f"{value:.6g}"), "unit": unit}
    if at_least is not None:
        line |= {"target": f">= {at_least:g}", "ok": value >= at_least}
    if at_most is not None:
        line |= {"target": f"<= {at_most:g}", "ok": value <= at_most}
    print(json.dumps(line | more), flush=True)
