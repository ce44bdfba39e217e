"""Where everything lies in a dataset folder.

    meta/info.json  meta/stats.json  meta/tasks.parquet          LeRobotDataset v3.0
    meta/episodes/chunk-000/file-000.parquet                      one row an episode
    data/chunk-000/file-000.parquet                               one row a frame
    videos/observation.images.<camera>/chunk-000/file-000.mp4
    meta/twinloop/chunk-000/file-000.jsonl                        ours: info of each episode
    meta/twinloop/spec.json                                       ours: what to rebuild info.json from
    .twinloop/lock  .twinloop/capture-000007/  .twinloop/repair/  .twinloop/cache/  .twinloop/quarantine/

The writer gives each episode files of its own (the file number need not be the episode's); `pack` merges
them. Anything that is not part of the dataset proper lives under `.twinloop`, which no LeRobot tool reads.
"""

from __future__ import annotations

from pathlib import Path

CODEBASE_VERSION = "v3.0"
FORMAT = 1  # of what we add; a larger number in a dataset means that a newer twinloop wrote it
CHUNK = 1000  # files a chunk folder

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
SPEC = "meta/twinloop/spec.json"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
NOTES_PATH = "meta/twinloop/chunk-{chunk_index:03d}/file-{file_index:03d}.jsonl"

PRIVATE = ".twinloop"
LOCK = f"{PRIVATE}/lock"
CACHE = f"{PRIVATE}/cache"
QUARANTINE = f"{PRIVATE}/quarantine"
REPAIR = f"{PRIVATE}/repair"

IMAGE_PREFIX = "observation.images."


def image_key(camera: str) -> str:
    """Feature of a camera: `front` -> `observation.images.front`."""
    return IMAGE_PREFIX + camera


def dropped_key(camera: str) -> str:
    """Feature that says which rows of a camera show no picture of their own."""
    return f"camera.{camera}.dropped"


def place(template: str, file: tuple[int, int], video_key: str = "") -> str:
    """Path of file `(chunk, file)`, relative to the root."""
    return template.format(chunk_index=file[0], file_index=file[1], video_key=video_key)


def following(file: tuple[int, int], chunk_size: int = CHUNK) -> tuple[int, int]:
    """The `(chunk, file)` after this one."""
    return (file[0] + 1, 0) if file[1] >= chunk_size - 1 else (file[0], file[1] + 1)


def numbered(path: Path) -> tuple[int, int] | None:
    """`.../chunk-001/file-023.ext` -> (1, 23); None for any other path."""
    chunk, name = path.parent.name, path.stem
    if not (chunk.startswith("chunk-") and name.startswith("file-")):
        return None
    try:
        return int(chunk[6:]), int(name[5:])
    except ValueError:
        return None


def data_files(root: Path) -> list[Path]:
    """All data files, in order."""
    return sorted((root / "data").glob("chunk-*/file-*.parquet"))


def episode_files(root: Path) -> list[Path]:
    """All files of episode metadata, in order."""
    return sorted((root / "meta/episodes").glob("chunk-*/file-*.parquet"))


def note_files(root: Path) -> list[Path]:
    """All files with the info of episodes, in order."""
    return sorted((root / "meta/twinloop").glob("chunk-*/file-*.jsonl"))


def video_files(root: Path) -> list[Path]:
    """All videos, in order."""
    return sorted((root / "videos").glob("*/chunk-*/file-*.mp4"))


def temporary_files(root: Path) -> list[Path]:
    """Half-written files that a killed process left behind."""
    found = (path for top in ("meta", "data", "videos") for path in (root / top).rglob(".*.tmp"))
    return sorted(found)


def captures(root: Path) -> list[Path]:
    """Folders of episodes that were not saved: open now, or interrupted."""
    found = (root / PRIVATE).glob("capture-*")
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def free_file(root: Path, chunk_size: int = CHUNK) -> tuple[int, int]:
    """The first `(chunk, file)` after every file of the dataset, so that nothing is ever overwritten."""
    everything = data_files(root) + episode_files(root) + note_files(root) + video_files(root)
    taken = [place for path in everything if (place := numbered(path)) is not None]
    return following(max(taken), chunk_size) if taken else (0, 0)
