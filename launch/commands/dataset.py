"""`twinloop dataset`: prove a dataset sound, describe it, repair it, pack it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Check:
    """Prove a dataset sound, or say what is wrong and what repairs it."""

    root: Annotated[Path, tyro.conf.Positional]
    """Folder of the dataset."""
    quick: bool = False
    """Do not decode every picture."""

    def run(self) -> int:
        from ...data.check import check

        report = check(self.root, deep=not self.quick)
        print("\n".join(report.lines()))
        return 0 if report.ok else 1


@dataclass(frozen=True, slots=True)
class Info:
    """Describe a dataset: episodes, cameras, columns, success."""

    root: Annotated[Path, tyro.conf.Positional]
    """Folder of the dataset."""

    def run(self) -> int:
        from ...data.info import summary

        print("\n".join(summary(self.root).lines()))
        return 0


@dataclass(frozen=True, slots=True)
class Pack:
    """Copy a dataset into the big files that the Hub prefers; nothing is encoded again."""

    source: Annotated[Path, tyro.conf.Positional]
    """Folder of the dataset."""
    target: Annotated[Path, tyro.conf.Positional]
    """New folder."""

    def run(self) -> int:
        from ...data.pack import pack

        print("\n".join(pack(self.source, self.target).lines()))
        return 0


@dataclass(frozen=True, slots=True)
class Repair:
    """Bring back an interrupted episode and mend what can be mended. Nothing is deleted."""

    root: Annotated[Path, tyro.conf.Positional]
    """Folder of the dataset."""
    accept_changed: bool = False
    """Accept files that were changed since they were recorded."""

    def run(self) -> int:
        from ...data.repair import repair

        done = repair(self.root, accept_changed=self.accept_changed)
        print("\n".join(done.lines()))
        return 0 if done.after.ok else 1


@dataclass(frozen=True, slots=True)
class Command:
    """Look after a dataset (LeRobotDataset v3.0).

    Example:
        twinloop dataset check out/demo/dataset
        twinloop dataset info out/demo/dataset
        twinloop dataset repair out/demo/dataset
        twinloop dataset pack out/demo/dataset out/for-the-hub
    """

    action: Annotated[
        Annotated[Check, tyro.conf.subcommand("check")]
        | Annotated[Info, tyro.conf.subcommand("info")]
        | Annotated[Pack, tyro.conf.subcommand("pack")]
        | Annotated[Repair, tyro.conf.subcommand("repair")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> int:
        return self.action.run()
