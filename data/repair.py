"""`twinloop dataset repair`: bring back interrupted episodes, set damage aside, rebuild the metadata."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..robot.errors import DatasetError
from .capture import read_label
from .check import Report, check, report
from .commit import JOURNAL, carry_out, decided, recoverable_rows, stage, undecide
from .disk import explain, read_json
from .layout import INFO, PRIVATE, QUARANTINE, REPAIR, captures
from .lock import RootLock
from .mend import mend
from .meta import Meta, load_meta
from .spec import merged_extra
from .survey import survey


@dataclass(frozen=True, slots=True)
class Repaired:
    """What `repair` did."""

    root: Path
    recovered: tuple[int, ...]  # episodes brought back
    actions: tuple[str, ...]  # one line a deed
    after: Report  # a check of the result

    def lines(self) -> list[str]:
        """One line a deed, then what a check says now."""
        return [*(self.actions or ("nothing to repair",)), *self.after.lines()]


def repair(root: Path | str, *, accept_changed: bool = False) -> Repaired:
    """Make the dataset at `root` sound again; may be killed and repeated at any point.

    Finishes a save that was cut short, sets damaged episodes and stray files aside under
    `.twinloop/quarantine` (nothing is deleted), closes the gaps, rebuilds info, tasks and statistics, and
    turns interrupted episodes into saved ones up to their last whole row. `accept_changed` takes files whose
    checksum no longer fits as they are, provided that they can be read.
    `DatasetError` when there is no dataset, somebody is writing it, or the disk is full or read-only.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; a dataset is a folder with {INFO} in it")
    lock = RootLock(root)
    lock.acquire()
    try:
        actions: list[str] = []
        _finish(root, actions)
        _mend(root, actions, accept_changed)
        recovered = _recover(root, actions)
    except OSError as error:
        raise explain(error, root, "repairing the dataset") from error
    finally:
        lock.release()
    return Repaired(root, tuple(recovered), tuple(actions), check(root, deep=False))


def _finish(root: Path, actions: list[str]) -> None:
    """Carry out what was decided before a kill, and clear what was being removed."""
    for leftover in (root / PRIVATE).glob("done-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if (root / REPAIR / JOURNAL).exists():
        carry_out(root / REPAIR, root)
        actions.append("finished a repair that was cut short")
    shutil.rmtree(root / REPAIR, ignore_errors=True)  # of one that had decided nothing
    for folder in captures(root):
        if not (folder / JOURNAL).exists():
            continue
        index = int(read_json(folder / JOURNAL)["episode_index"])
        try:
            episodes = int(read_json(root / INFO)["total_episodes"])
        except (DatasetError, KeyError, TypeError, ValueError):
            episodes = index  # what is staged brings a whole info.json along
        if decided(folder, episodes):
            carry_out(folder, root)
            actions.append(f"finished saving episode {index}")


def _mend(root: Path, actions: list[str], accept_changed: bool) -> None:
    found = survey(root)
    todo = [f for f in report(found).findings if f.remedy == "repair" and not f.where.startswith(PRIVATE)]
    if not todo and not accept_changed:
        return
    aside = mend(found, accept_changed=accept_changed)
    actions += [f"mended: {finding.where}: {finding.what}" for finding in todo]
    actions += [f"set aside under {QUARANTINE}: {name}" for name in aside]


def _recover(root: Path, actions: list[str]) -> list[int]:
    """Turn interrupted captures into episodes."""
    recovered: list[int] = []
    folders = captures(root)
    meta = load_meta(root) if folders else None
    for folder in folders:
        assert meta is not None
        undecide(folder)  # a commit that no longer fits
        try:
            label = read_label(folder)
            meta = _recover_one(folder, meta, label)
        except DatasetError as error:
            place = _quarantined(folder, root)
            actions.append(f"{folder.name}: nothing to bring back ({error}); moved to {place}")
            continue
        entry = meta.entries[-1]
        recovered.append(entry.index)
        actions.append(f"brought back episode {entry.index}: {entry.length} rows, '{entry.tasks[0]}'")
    return recovered


def _recover_one(folder: Path, meta: Meta, label: dict[str, Any]) -> Meta:
    spec = replace(meta.spec, extra=merged_extra(meta.spec.extra, label.get("extra", {})))
    length = recoverable_rows(folder, spec)
    if length == 0:
        raise DatasetError("not one whole row")
    whole = "last" in label  # it was closed in good order and killed while being saved
    info = {**label["info"], "recovered": {"rows": length, "whole": whole, "begun": label.get("begun")}}
    grown = stage(folder, meta, spec, label["task"], info, last=label.get("last"), length=length)
    carry_out(folder, meta.root)
    return grown


def _quarantined(folder: Path, root: Path) -> Path:
    (root / QUARANTINE).mkdir(parents=True, exist_ok=True)
    target = root / QUARANTINE / folder.name
    number = 0
    while target.exists():
        number += 1
        target = root / QUARANTINE / f"{folder.name}-{number}"
    os.replace(folder, target)
    return target.relative_to(root)
