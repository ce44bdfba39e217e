"""`check` finds each kind of damage and says what mends it; `repair` mends it and deletes nothing."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from dataset_samples import add_rows, assert_episode, record, row, spec
from twinloop.data import Dataset, DatasetWriter
from twinloop.data.check import check
from twinloop.data.info import summary
from twinloop.data.pack import pack
from twinloop.data.repair import repair
from twinloop.robot.errors import DatasetError

DATA = "data/chunk-000/file-001.parquet"
EPISODE = "meta/episodes/chunk-000/file-001.parquet"
NOTE = "meta/twinloop/chunk-000/file-001.jsonl"
VIDEO = "videos/observation.images.front/chunk-000/file-001.mp4"


LENGTHS = (12, 9, 15)  # of the episodes that `record` makes


def tree(root: Path) -> dict[str, bytes]:
    """Every file of the dataset proper."""
    files = (p for top in ("meta", "data", "videos") for p in (root / top).rglob("*") if p.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(path: Path, **columns) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        field = table.schema.field(name)
        table = table.set_column(table.column_names.index(name), field, [np.asarray(values)])
    pq.write_table(table, path)


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# name of the damage -> (what does it, what check says, episodes that survive a repair)
DAMAGES = {
    "data cut off": (lambda r: cut(r / DATA), f"{DATA}: cannot be read", (0, 2)),
    "data gone": (lambda r: (r / DATA).unlink(), f"{DATA} is missing or unreadable", (0, 2)),
    "rows renumbered": (
        lambda r: rewrite(r / DATA, frame_index=np.arange(9)[::-1]),
        "episode 1: frame_index does not run 0, 1, 2",
        (0, 2),
    ),
    "index shifted": (lambda r: rewrite(r / DATA, index=np.arange(9)), "index does not run from 12", (0, 2)),
    "timestamps off": (
        lambda r: rewrite(r / DATA, timestamp=np.arange(9, dtype=np.float32) / 29),
        "s off frame_index / fps",
        (0, 2),
    ),
    "wrong task": (
        lambda r: rewrite(r / DATA, task_index=np.zeros(9, int)),
        "task_index [0] does not fit",
        (0, 2),
    ),
    "video cut off": (lambda r: cut(r / VIDEO), f"{VIDEO}: 9 of 9 pictures are not there", (0, 2)),
    "metadata gone": (
        lambda r: (r / EPISODE).unlink(),
        "episode 1 is whole, but meta/episodes does not",
        (0, 1, 2),
    ),
    "metadata cut": (lambda r: cut(r / EPISODE), f"{EPISODE}: cannot be read", (0, 1, 2)),
    "tasks gone": (lambda r: (r / "meta/tasks.parquet").unlink(), "tasks.parquet: no such file", (0, 1, 2)),
    "tasks cut": (lambda r: cut(r / "meta/tasks.parquet"), "tasks.parquet: cannot be read", (0, 1, 2)),
    "info cut": (lambda r: cut(r / "meta/info.json"), "info.json: not valid JSON", (0, 1, 2)),
    "info gone": (lambda r: (r / "meta/info.json").unlink(), "info.json: no such file", (0, 1, 2)),
    "wrong totals": (
        lambda r: edit_json(r / "meta/info.json", total_episodes=2, total_frames=21),
        "total_episodes is 2, the files hold 3",
        (0, 1, 2),
    ),
    "stats cut": (lambda r: cut(r / "meta/stats.json"), "stats.json: cannot be read", (0, 1, 2)),
    "notes cut": (
        lambda r: cut(r / NOTE),
        f"{NOTE}: not a line of episode info",
        (0, 1, 2),
    ),
    "notes emptied": (
        lambda r: (r / NOTE).write_text(""),
        "no note (seed, draw, success, checksums) of 1 episodes: 1",
        (0, 1, 2),
    ),
    "spec cut": (lambda r: cut(r / "meta/twinloop/spec.json"), "spec.json: cannot be read", (0, 1, 2)),
    "notes and episode": (
        lambda r: (cut(r / "meta/twinloop/chunk-000/file-000.jsonl"), cut(r / DATA)),
        "not a line of episode info",
        (0, 2),
    ),
    "first episode": (
        lambda r: cut(r / "data/chunk-000/file-000.parquet"),
        "file-000.parquet: cannot be read",
        (1, 2),
    ),
    "stray parquet": (
        lambda r: (r / "data/chunk-000/file-003.parquet").write_bytes(b"PAR1 no footer"),
        "data/chunk-000/file-003.parquet: cannot be read",
        (0, 1, 2),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_mended(ram_path, damage):
    hurt, words, survivors = DAMAGES[damage]
    root = record(ram_path / "d")
    files = {path.name for path in root.rglob("*") if path.is_file()}
    hurt(root)
    report = check(root)
    assert not report.ok
    text = "\n".join(report.lines())
    assert words in text and "NOT sound" in text and f"run `twinloop dataset repair {root}`" in text
    done = repair(root)
    assert done.after.ok and not done.after.findings, done.lines()
    dataset = Dataset(root).open()
    assert dataset.num_episodes == len(survivors)
    for index, episode in enumerate(survivors):
        assert_episode(dataset, index, episode, (12, 9, 15)[episode])
        assert dataset.episode(index).task == ("place" if episode % 2 else "pick")
    np.testing.assert_array_equal(dataset.column("index"), np.arange(dataset.num_frames))
    noteless = {"notes and episode": 0}.get(damage, 1 if "notes" in damage else None)
    seeds = [dataset.episode(i).info.get("seed") for i in range(len(survivors))]
    assert seeds == [None if e == noteless else 100 + e for e in survivors]
    if len(survivors) < 3:  # what is bad lies aside
        kept = {path.name for path in (root / ".twinloop/quarantine").rglob("*") if path.is_file()}
        assert {"file-000.mp4", "episodes.jsonl"} <= kept or {"file-001.mp4", "episodes.jsonl"} <= kept
    assert files - {"file-001.parquet", "file-001.jsonl"} <= {p.name for p in root.rglob("*")}
    with DatasetWriter(root, spec(), resume=True) as writer:  # and recording goes on
        writer.start("pick")
        add_rows(writer, range(4), 7)
        index = writer.save()
    assert_episode(Dataset(root).open(), index, 7, 4)
    assert check(root).ok


def mtimes(root: Path) -> dict[Path, int]:
    files = (path for path in root.rglob("*") if path.is_file() and path.name != "lock")
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_sound_dataset_has_no_findings_and_repair_leaves_it_alone(tmp_path):
    root = record(tmp_path / "d")
    before = mtimes(root)
    report = check(root)
    assert report.findings == () and (report.episodes, report.frames) == (3, 36)
    assert report.lines()[-1].startswith(f"{root}: sound: 3 episodes, 36 frames")
    done = repair(root)
    assert done.actions == () and done.lines()[0] == "nothing to repair"
    assert mtimes(root) == before


def test_one_flipped_bit_is_found(tmp_path):
    root = record(tmp_path / "d")
    content = bytearray((root / VIDEO).read_bytes())
    content[len(content) // 2] ^= 0x10
    (root / VIDEO).write_bytes(content)
    report = check(root)
    assert not report.ok
    assert f"{VIDEO}: changed since episode 1 was saved" in "\n".join(report.lines())


def test_pictures_that_do_not_decode_are_found_without_checksums(tmp_path):
    """In a dataset that somebody else recorded only decoding tells; `deep=False` just counts."""
    root, rng = record(tmp_path / "d", (5,)), np.random.default_rng(0)
    with DatasetWriter(root, spec(), resume=True) as writer:
        writer.start("place")
        for k in range(20):
            noise = {
                c: rng.integers(0, 255, (*size, 3), dtype=np.uint8) for c, size in spec().cameras.items()
            }
            writer.add(row(k), noise)
        writer.save()
    shutil.rmtree(root / "meta/twinloop")
    edit_json(root / "meta/info.json", twinloop={"format": 1})
    content = bytearray((root / VIDEO).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 16] = rng.integers(0, 255, 16, dtype=np.uint8).tobytes()
    (root / VIDEO).write_bytes(content)
    assert check(root, deep=False).ok
    report = check(root)
    assert not report.ok and f"episode 1: {VIDEO}:" in "\n".join(report.lines())


def test_a_change_that_was_meant_can_be_accepted(tmp_path):
    root = record(tmp_path / "d")
    rewrite(root / DATA, gain=np.full(9, 2.5, np.float32))
    assert not check(root).ok
    assert not repair(root).after.ok  # not by itself
    done = repair(root, accept_changed=True)
    assert done.after.ok, done.lines()
    assert Dataset(root).open().column("gain")[13] == 2.5


def test_missing_video_is_told_and_not_repaired_away(tmp_path):
    root = record(tmp_path / "d")
    (root / VIDEO).unlink()
    report = check(root)
    assert not report.ok and f"error: {VIDEO}: video is missing; copy it back" in "\n".join(report.lines())
    done = repair(root)
    assert not done.after.ok and done.after.episodes == 3


def test_leftovers_are_told_and_set_aside(tmp_path):
    root = record(tmp_path / "d")
    (root / "meta/.info.json.tmp").write_text("{")
    shutil.copy(root / VIDEO, (root / VIDEO).with_name("file-007.mp4"))
    report = check(root)
    text = "\n".join(report.lines())
    assert report.ok and "half-written file" in text and "file-007.mp4: video that no episode shows" in text
    assert repair(root).after.findings == ()
    assert sorted(p.name for p in (root / ".twinloop/quarantine").rglob("*") if p.is_file()) == [
        ".info.json.tmp",
        "file-007.mp4",
    ]


def test_an_aborted_lerobot_session(tmp_path):
    """Killed with -9, LeRobot leaves parquet without a footer and an episode that only info.json knows."""
    root = record(tmp_path / "d", (5, 6))
    (root / "data/chunk-000/file-002.parquet").write_bytes(b"PAR1" + os.urandom(500))
    edit_json(root / "meta/info.json", total_episodes=3, total_frames=18)
    with pytest.raises(DatasetError, match="promises 3 episodes, meta/episodes lacks 1"):
        Dataset(root).open()
    assert repair(root).after.ok
    assert_episode(Dataset(root).open(), 1, 1, 6)


def test_damage_in_a_packed_dataset_takes_only_its_own_episode(tmp_path):
    pack(record(tmp_path / "one"), tmp_path / "d")
    root = tmp_path / "d"
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    frame_index = np.array(table.column("frame_index"))
    frame_index[12:21] = 0
    rewrite(root / "data/chunk-000/file-000.parquet", frame_index=frame_index)
    done = repair(root, accept_changed=True)
    assert done.after.ok, done.lines()
    dataset = Dataset(root).open()
    assert dataset.num_episodes == 2
    assert_episode(dataset, 0, 0, 12)
    assert_episode(dataset, 1, 2, 15)


def test_check_of_something_else(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        check(tmp_path / "x")
    with pytest.raises(DatasetError, match="no such folder"):
        repair(tmp_path / "x")
    with pytest.raises(DatasetError, match="is this the root of a dataset"):
        check(tmp_path)
    root = record(tmp_path / "d", (3,))
    edit_json(root / "meta/info.json", codebase_version="v9.0")
    with pytest.raises(DatasetError, match="update twinloop"):
        check(root)
    with pytest.raises(DatasetError, match="update twinloop"):
        repair(root)


def test_pack_merges_files_and_changes_nothing_else(tmp_path):
    one = record(tmp_path / "one", (12, 9, 15, 8))
    packed = pack(one, tmp_path / "packed")
    assert packed.episodes == 4 and packed.files_after < packed.files_before
    assert len(list((tmp_path / "packed/videos").rglob("*.mp4"))) == 2
    assert len(list((tmp_path / "packed/data").rglob("*.parquet"))) == 1
    report = check(tmp_path / "packed")
    assert report.findings == (), report.lines()
    before, after = Dataset(one).open(), Dataset(tmp_path / "packed").open()
    for index, length in enumerate((12, 9, 15, 8)):
        assert_episode(after, index, index, length)
        assert after.episode(index).info == before.episode(index).info
        for camera in ("front", "wrist"):  # the very same pictures: copied, not encoded again
            np.testing.assert_array_equal(after.frames(index, camera), before.frames(index, camera))
    assert after.spec == before.spec and after.tasks == before.tasks
    with DatasetWriter(tmp_path / "packed", spec(), resume=True) as writer:
        writer.start("pick")
        add_rows(writer, range(6), 4)
        writer.save()
    assert_episode(Dataset(tmp_path / "packed").open(), 4, 4, 6)
    again = pack(tmp_path / "packed", tmp_path / "again", data_mb=0.01, video_mb=0.002)  # cuts big files, too
    assert again.files_after > packed.files_after
    assert check(tmp_path / "again").findings == ()
    assert_episode(Dataset(tmp_path / "again").open(), 2, 2, 15)


def test_pack_refuses_what_it_cannot_do(tmp_path):
    root = record(tmp_path / "one", (4, 4))
    with pytest.raises(DatasetError, match="exists; name a new folder"):
        pack(root, tmp_path / "one")
    (root / VIDEO).unlink()
    with pytest.raises(
        DatasetError, match=r"not sound \(videos/.*video is missing\); `twinloop dataset check`"
    ):
        pack(root, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"fps": 60},
        {"fps": "fast"},
        {"data_path": "elsewhere/{chunk_index}/{file_index}.parquet"},
        {"data_path": "../{chunk_index}/{file_index}.parquet"},
        {"features": {}},
        {"features": "none"},
        {"total_episodes": -1},
        {"twinloop": 3},
    ],
)
def test_an_info_that_is_not_of_these_data_costs_no_episode(tmp_path, change):
    root = record(tmp_path / "d")
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps({**info, **change}))
    assert not check_or_error(root)
    assert repair(root).after.ok
    after = json.loads((root / "meta/info.json").read_text())
    assert {**after, "twinloop": 0} == {**info, "twinloop": 0}
    for index, length in enumerate(LENGTHS):
        assert_episode(Dataset(root).open(), index, index, length)


def check_or_error(root):
    """Whether `check` calls the dataset sound; one that it cannot even look at is not."""
    try:
        return check(root).ok
    except DatasetError:
        return False


def test_a_renamed_feature_costs_no_episode(tmp_path):
    root = record(tmp_path / "d")
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["state"] = info["features"].pop("observation.state")
    (root / "meta/info.json").write_text(json.dumps(info))
    assert repair(root).after.ok
    assert "observation.state" in Dataset(root).open().spec.vectors
    assert Dataset(root).open().num_episodes == len(LENGTHS)


def test_nothing_moves_where_neither_info_nor_spec_is_of_these_data(tmp_path):
    root = record(tmp_path / "d")
    for name in ("meta/info.json", "meta/twinloop/spec.json"):
        content = json.loads((root / name).read_text())
        (root / name).write_text(json.dumps({**content, "fps": 60}))
    before = tree(root)
    with pytest.raises(DatasetError, match=r"fps: 60.*restore one of the two.*the episodes stay as they are"):
        repair(root)
    assert tree(root) == before


def test_a_link_out_of_the_dataset_is_never_followed_for_writing(tmp_path):
    root, outside = record(tmp_path / "d"), tmp_path / "outside"
    shutil.rmtree(root / ".twinloop")
    (outside / "capture-000000").mkdir(parents=True)
    (outside / "capture-000000" / "mine.txt").write_text("mine")
    (root / ".twinloop").symlink_to(outside)
    for action in (lambda: repair(root), lambda: DatasetWriter(root, spec(), resume=True).open()):
        with pytest.raises(DatasetError, match=r"\.twinloop: is a link"):
            action()
    assert [p.name for p in outside.rglob("*")] == ["capture-000000", "mine.txt"]


@pytest.mark.parametrize("target", ["d/packed", "d/meta/packed"])
def test_pack_does_not_write_into_its_source(tmp_path, target):
    root = record(tmp_path / "d")
    before = tree(root)
    with pytest.raises(DatasetError, match="lies in the other"):
        pack(root, tmp_path / target)
    assert tree(root) == before


def test_info(tmp_path):
    root = record(tmp_path / "d")
    (root / VIDEO).unlink()
    with pytest.warns(UserWarning, match="video missing"):
        found = summary(root)
    assert (found.episodes, found.frames) == (3, 36)
    assert found.tasks == {"pick": 2, "place": 1}
    assert found.cameras["front"].missing and not found.cameras["wrist"].missing
    text = "\n".join(found.lines())
    for words in (
        "3 episodes, 36 frames, 0 min 01 s at 30 Hz",
        "robot so101",
        "camera front: 96x96 h264",
        "MISSING",
    ):
        assert words in text
