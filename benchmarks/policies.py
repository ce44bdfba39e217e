"""How often the demo's policies succeed: seeds and ablations. One JSON line a figure.

Run: python benchmarks/policies.py [--quick] [--out FOLDER] [--only NAME ...]

Every line is `twinloop demo` with the options it names: demonstrations, training, 100 unseen seeds under full
randomisation, behind the guard. Variants that train on the same demonstrations share the dataset. About 75
minutes on two cores; with `--quick` the state policy alone, in about a minute and a half. Curves (training and
validation loss) stand in the report of each folder under `--out`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from _figures import emit

CAMERA_TARGET, STATE_TARGET, STATE_SECONDS = 95, 97, 15.0


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of the demo; `shares` names the variant whose demonstrations it trains on."""

    name: str
    options: tuple[str, ...] = ()
    shares: str | None = None
    target: int | None = None  # successes of 100


VARIANTS = (
    *(Variant(f"camera, seed {s}", ("--seed", str(s)), target=CAMERA_TARGET) for s in range(5)),
    *(
        Variant(f"state, seed {s}", ("--state", "--seed", str(s)), f"camera, seed {s}", STATE_TARGET)
        for s in range(5)
    ),
    Variant("camera, no auxiliary loss", ("--no-aux",), "camera, seed 0"),
    Variant("camera, no retakes", ("--no-retakes",), "camera, seed 0"),
    Variant("camera, no chunks", ("--chunk", "1"), "camera, seed 0"),
    Variant("camera, no injected noise", ("--no-noise",)),
    Variant("state, no chunks", ("--state", "--chunk", "1"), "camera, seed 0"),
    Variant("state, no injected noise", ("--state", "--no-noise"), "camera, no injected noise"),
)
QUICK = (Variant("state, seed 0", ("--state",), target=STATE_TARGET),)


def folder(out: Path, name: str) -> Path:
    return out / name.replace(", ", "-").replace(" ", "_")


def run(variant: Variant, out: Path) -> dict:
    """Run the variant, unless its result is there already; returns its `result.json`."""
    target = folder(out, variant.name)
    result = target / "result.json"
    if not result.exists():
        options = [*variant.options, "--no-film"]
        shared = folder(out, variant.shares) / "dataset" if variant.shares else None
        if shared is not None and shared.exists() and not (target / "dataset").exists():
            shutil.rmtree(target / "copying", ignore_errors=True)  # of a run that was killed
            shutil.copytree(shared, target / "copying")
            (target / "copying").rename(target / "dataset")
        if target.exists():
            options.append("--resume")
        command = [sys.executable, "-m", "twinloop.launch.cli", "demo", "--out", str(target), *options]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return json.loads(result.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the state policy alone")
    parser.add_argument("--out", type=Path, help="keep the runs here, and go on with those that are there")
    parser.add_argument("--only", nargs="*", help="names of variants")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = asked.out or Path(scratch)
        for variant in QUICK if asked.quick else VARIANTS:
            if asked.only and variant.name not in asked.only:
                continue
            figures = run(variant, out)
            successes, target = figures["successes"], variant.target
            emit(
                f"{variant.name}: success of {figures['episodes']}",
                successes,
                "episodes",
                at_least=target,
                demonstrations=figures["demonstrations"],
                failed=figures["failed_seeds"],
                seconds=figures["seconds"],
            )
            seconds = figures["training"]["wall_s"]
            fast = variant.target == STATE_TARGET
            emit(f"{variant.name}: training", seconds, "s", at_most=STATE_SECONDS if fast else None)


if __name__ == "__main__":
    main()
