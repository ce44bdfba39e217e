"""`twinloop dataset pack`: the same dataset in a few big files, as the Hub prefers them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from ..robot.clock import Stopwatch
from ..robot.errors import DatasetError
from .check import check
from .commit import write_entries
from .disk import explain, fingerprint, sync, write_json
from .layout import (
    DATA_PATH,
    EPISODES_PATH,
    INFO,
    NOTES_PATH,
    SPEC,
    STATS,
    TASKS,
    VIDEO_PATH,
    episode_files,
    following,
    place,
)
from .meta import (
    Entry,
    Meta,
    VideoPlace,
    entry_row,
    load_meta,
    read_rows,
    read_table,
    spec_json,
    tasks_table,
)
from .notes import note_line
from .stats import from_columns, merge

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Packed:
    """What `pack` made."""

    root: Path
    episodes: int
    frames: int
    files_before: int
    files_after: int
    size_bytes: int
    seconds: float

    def lines(self) -> list[str]:
        """A line for people."""
        return [
            f"{self.root}: {self.episodes} episodes, {self.frames} frames, {self.size_bytes / MB:.1f} MB in "
            f"{self.files_after} files (were {self.files_before}), {self.seconds:.1f} s"
        ]


def pack(source: Path | str, target: Path | str, *, data_mb: float = 100, video_mb: float = 200) -> Packed:
    """Copy the dataset at `source` into the new folder `target` with up to `data_mb` and `video_mb` a file.

    Video is copied, not encoded again. The target appears whole or not at all; the source stays as it is.
    `DatasetError` when the target exists, the source is not sound or lacks videos, or the disk is full.
    """
    watch = Stopwatch()
    source, target = Path(source), Path(target)
    if target.exists():
        raise DatasetError(f"{target}: exists; name a new folder")
    if target.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(target.resolve()):
        raise DatasetError(f"{target}: one of source and target lies in the other; name a folder elsewhere")
    report = check(source, deep=False)
    if not report.ok:
        first = next(finding for finding in report.findings if finding.severity == "error")
        raise DatasetError(
            f"{source}: not sound ({first.where}: {first.what}); `twinloop dataset check` lists everything, "
            f"`twinloop dataset repair` mends what can be mended"
        )
    meta = load_meta(source)
    part = target.parent / f".{target.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _build(meta, part, int(data_mb * MB), int(video_mb * MB))
        os.replace(part, target)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise explain(error, target, "packing") from error
    except pa.ArrowException as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = str(error).splitlines()[0]
        raise DatasetError(f"{source}: its files do not agree on their columns ({reason})") from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    files = _files(target)
    return Packed(
        target,
        len(meta.entries),
        meta.num_frames,
        len(_files(source)),
        len(files),
        sum(path.stat().st_size for path in files),
        watch.seconds,
    )


def _files(root: Path) -> list[Path]:
    return [p for top in ("meta", "data", "videos") for p in (root / top).rglob("*") if p.is_file()]


def _build(meta: Meta, part: Path, data_bytes: int, video_bytes: int) -> None:
    entries = _pack_data(meta, part, data_bytes)
    for key in (key for key in meta.image_keys.values() if meta.info["features"][key]["dtype"] == "video"):
        entries = _pack_videos(meta, part, key, entries, video_bytes)
    stored = _stored_rows(meta)
    rows = [{**stored[entry.index], **entry_row(entry)} for entry in entries]
    if rows:
        write_entries(pa.Table.from_pylist(rows), part / place(EPISODES_PATH, (0, 0)))
        _write(part / TASKS, tasks_table(meta.tasks))
    info = {**meta.info, "data_path": DATA_PATH, "data_files_size_in_mb": max(1, data_bytes // MB)}
    info |= {"video_files_size_in_mb": max(1, video_bytes // MB)}
    info |= {"video_path": VIDEO_PATH if meta.info.get("video_path") else None}
    write_json(part / STATS, merge([from_columns(row) for row in rows]) if rows else {})
    _notes(meta, part, entries)
    write_json(part / SPEC, spec_json({"robot_type": None, "twinloop": {}, **info}))
    write_json(part / INFO, info)
    for path in _files(part):
        sync(path)


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _stored_rows(meta: Meta) -> dict[int, dict[str, Any]]:
    rows = (row for path in episode_files(meta.root) for row in read_rows(path))
    return {row["episode_index"]: row for row in rows}


def _pack_data(meta: Meta, part: Path, limit: int) -> list[Entry]:
    """Write the rows of all episodes, one row group each, into files of up to `limit` bytes."""
    entries: list[Entry] = []
    file = (0, 0)
    writer: pq.ParquetWriter | None = None
    path, loaded = part / place(DATA_PATH, file), (Path(), pa.table({}))
    for entry in meta.entries:
        origin = meta.data_file(entry)
        if loaded[0] != origin:
            loaded = (origin, read_table(origin))
        mine = np.asarray(loaded[1].column("episode_index")) == entry.index
        table = loaded[1].filter(pa.array(mine)).combine_chunks()
        if writer is not None and path.stat().st_size + origin.stat().st_size * mine.mean() > limit:
            writer.close()
            writer, file = None, following(file)
        if writer is None:
            path = part / place(DATA_PATH, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(path, table.schema)
        writer.write_table(table.cast(writer.schema))
        entries.append(replace(entry, data=file, file=(0, 0)))
    if writer is not None:
        writer.close()
    return entries


class _Reel:
    """One video file being filled with the packets of several episodes."""

    def __init__(self, path: Path, template: VideoStream, fps: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.pictures = 0
        self._fps = fps
        self._container: OutputContainer = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream_from_template(template, opaque=True)
        self._stream.time_base = Fraction(1, fps)
        self.kind = _kind(template)

    def add(self, packets: list[Packet], first: int) -> None:
        """Append pictures; `first` is the place of the first one in the file they come from."""
        for packet in packets:
            assert packet.pts is not None and packet.time_base is not None
            dts = packet.pts if packet.dts is None else packet.dts
            shown = round(packet.pts * packet.time_base * self._fps)
            decoded = round(dts * packet.time_base * self._fps)
            packet.pts, packet.dts = shown - first + self.pictures, decoded - first + self.pictures
            packet.duration, packet.time_base, packet.stream = 1, Fraction(1, self._fps), self._stream
            self._container.mux(packet)
        self.pictures += len(packets)

    def close(self) -> None:
        self._container.close()


def _kind(stream: VideoStream) -> tuple[str, int, int, bytes | None]:
    """Streams of one kind can share a file without encoding again."""
    context = stream.codec_context
    return context.name, context.width, context.height, context.extradata


def _pack_videos(meta: Meta, part: Path, key: str, entries: list[Entry], limit: int) -> list[Entry]:
    """Copy the pictures of all episodes of one camera into files of up to `limit` bytes."""
    fps = meta.spec.fps
    reel: _Reel | None = None
    file, packed = (0, 0), []
    try:
        for old, entry in zip(meta.entries, entries, strict=True):
            path, spot = meta.video_file(old, key), old.videos[key]
            first = round(spot.from_s * fps)
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                packets = list(_cut(container, path, range(first, first + entry.length), fps))
                size = sum(packet.size for packet in packets)
                full = reel is not None and reel.path.stat().st_size + size > limit
                if reel is not None and (full or reel.kind != _kind(stream)):
                    reel.close()
                    reel, file = None, following(file)
                if reel is None:
                    reel = _Reel(part / place(VIDEO_PATH, file, key), stream, fps)
                start = reel.pictures / fps
                reel.add(packets, first)
            spot = VideoPlace(file, start, start + entry.length / fps)
            packed.append(replace(entry, videos={**entry.videos, key: spot}))
    except (av.error.FFmpegError, ValueError) as error:
        raise DatasetError(f"{meta.root}: video of {key} cannot be copied: {error}") from error
    finally:
        if reel is not None:
            reel.close()
    return packed


def _cut(container: Any, path: Path, pictures: range, fps: int) -> Iterator[Packet]:
    """The packets of these pictures, in the order of the file."""
    first, count = pictures.start, len(pictures)
    found = 0
    for packet in container.demux(video=0):
        if not packet.size or packet.pts is None:
            continue
        k = round(packet.pts * packet.time_base * fps)
        if k not in pictures:
            continue
        if found == 0 and not packet.is_keyframe:
            raise DatasetError(f"{path}: the episode at {first / fps:.3f} s does not begin with a key frame")
        found += 1
        yield packet
        if found == count:
            return
    raise DatasetError(f"{path}: {found} pictures from {first / fps:.3f} s on, expected {count}")


def _notes(meta: Meta, part: Path, entries: list[Entry]) -> None:
    """One file of notes; each packed file's checksum stands with the first episode in it."""
    lines, told = [], set()
    for entry in entries:
        mine = [place(DATA_PATH, entry.data)]
        mine += [place(VIDEO_PATH, spot.file, key) for key, spot in entry.videos.items()]
        new = [name for name in mine if name not in told and (part / name).exists()]
        files = {name: fingerprint(part / name) for name in new}
        told |= files.keys()
        lines.append(note_line(entry.index, meta.notes.get(entry.index, {}).get("info", {}), files))
    if lines:
        target = part / place(NOTES_PATH, (0, 0))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(lines), encoding="utf-8")
