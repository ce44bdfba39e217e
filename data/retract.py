"""Taking the last episode out of a dataset again, in one journalled step: for a person who thinks better of it.

A kill on the way leaves a journal that the next writer, or `twinloop dataset repair`, carries out.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from ..robot.errors import DatasetError
from . import stats as statistics
from .commit import JOURNAL, STAGE, carry_out, journal
from .disk import write_json
from .layout import (
    EPISODES_PATH,
    INFO,
    NOTES_PATH,
    PRIVATE,
    REPAIR,
    SPEC,
    STATS,
    TASKS,
    place,
)
from .meta import Meta, info_totals, read_rows, spec_json, tasks_table
from .notes import read_notes


def retract(meta: Meta) -> Meta:
    """Remove the last episode of `meta` with its files; returns what is left. The caller holds the dataset's lock.

    Raises `DatasetError` when there is none, or when its files hold other episodes too, as after `pack`; `OSError`
    when the disk does not take it, and then nothing has changed.
    """
    root = meta.root
    if not meta.entries:
        raise DatasetError(f"{root}: no episode is there to be taken out")
    *kept, last = meta.entries
    note = root / place(NOTES_PATH, last.file)
    shared = [entry.index for entry in kept if last.data == entry.data or last.file == entry.file]
    shared += [e.index for e in kept for key, spot in e.videos.items() if spot.file == last.videos[key].file]
    if shared or (note.exists() and set(read_notes(note)) != {last.index}):
        raise DatasetError(
            f"{root}: episode {last.index} shares its files with others, as after `twinloop dataset pack`; it stays"
        )
    files = [meta.data_file(last), *(meta.video_file(last, key) for key in last.videos)]
    files += [root / place(EPISODES_PATH, last.file), note]
    folder = root / REPAIR
    if (folder / JOURNAL).exists():
        raise DatasetError(f"{root}: a repair was cut short; `twinloop dataset repair {root}` finishes it")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        left = _stage(meta, folder / STAGE)
        if not kept:
            files += [root / STATS, root / TASKS]
        names = [str(path.relative_to(root)) for path in files if path.exists()]
        away = _away(root)
        journal(folder, root, {"repair": True, "aside": {name: f"{away}/{name}" for name in names}})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    os.replace(folder / STAGE / INFO, root / INFO)  # first: with it the dataset is whole, whatever comes
    carry_out(folder, root)
    shutil.rmtree(root / away, ignore_errors=True)
    return left


def _stage(meta: Meta, target: Path) -> Meta:
    """Lay out the metadata without the last episode."""
    *kept, last = meta.entries
    tasks = meta.tasks if kept else ()
    totals = info_totals(len(kept), meta.num_frames - last.length, len(tasks))
    info = {**meta.info, **totals}
    if kept:
        files = dict.fromkeys(meta.root / place(EPISODES_PATH, entry.file) for entry in kept)
        rows = [row for path in files for row in read_rows(path) if row["episode_index"] < last.index]
        write_json(target / STATS, statistics.merge([statistics.from_columns(row) for row in rows]))
        pq.write_table(tasks_table(tasks), _made(target / TASKS))
    write_json(_made(target / SPEC), spec_json(info))
    write_json(target / INFO, info)
    notes = {index: note for index, note in meta.notes.items() if index != last.index}
    return replace(meta, info=info, tasks=tasks, entries=tuple(kept), notes=notes)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _away(root: Path) -> str:
    """A folder for what goes, under a name that the next writer clears away."""
    number = 0
    while (root / (name := f"{PRIVATE}/done-{number}-retracted")).exists():
        number += 1
    return name
