"""WAL laid into ``pg_wal`` beforehand: which files, whole and checked, each marked as archived."""

import os
from contextlib import closing
from pathlib import Path

import pytest
from support.members import Collected
from support.repositories import (
    SIZE,
    SYSTEM,
    flip,
    new_repository,
    segment_bytes,
    store_backup,
    store_in_backup,
    store_wal,
)

from backup.copied_wal import push_wal, wal_to_copy
from backup.extract import Extractor
from backup.fetch import WalSource
from catalog.errors import Absent, Corrupt, DestinationRefused
from catalog.lsn import LSN
from catalog.pitr import plan
from catalog.repository import stored_holdings
from catalog.target import IMMEDIATE, LATEST, POSITION, RecoveryTarget
from catalog.walname import Segment, history_name

SWITCH = LSN(SIZE.nbytes * 5 + 0x4000)


def name(number, timeline=1):
    return Segment(timeline, number).name(SIZE)


@pytest.fixture
def repository(tmp_path):
    """A backup from segment 2 to 3, WAL up to 6 on timeline 1 and from 5 to 7 on timeline 2, one more history."""
    made = new_repository(tmp_path / "main")
    store_backup(made, first=2, last=3)
    store_wal(made, [1, 2, 3, 4, 5, 6])
    store_wal(made, [5, 6, 7], timeline=2)
    for timeline in (2, 3):
        made.storage.put(f"wals/{history_name(timeline)}", f"1\t{SWITCH}\tno reason\n".encode())
    return made


@pytest.fixture
def copied(repository, tmp_path):
    """``copied(kind, value, partial=False)``: what ``pg_wal`` holds then, by name."""

    def make(kind=LATEST, value=None, partial=False, timeline=None):
        holdings = stored_holdings(repository)
        found = plan(holdings, RecoveryTarget(kind, value, timeline))
        source = WalSource(repository.root, repository.root, partial=partial, backup_id=found.backup.id)
        wal = wal_to_copy(found, repository, source)
        root = tmp_path / "data"
        root.mkdir()
        sizes = []
        with closing(Extractor(str(root))) as extractor:
            push_wal(wal, source, extractor, SYSTEM, sizes.append)
        files = {path.name: path.read_bytes() for path in (root / "pg_wal").iterdir() if path.is_file()}
        marks = {path.name for path in (root / "pg_wal" / "archive_status").iterdir()}
        assert marks == {f"{each}.done" for each in files}
        assert all(path.stat().st_mode & 0o7777 == 0o600 for path in root.rglob("*") if path.is_file())
        segments = [content for each, content in files.items() if not each.endswith(".history")]
        assert (len(segments), sum(map(len, segments))) == (wal.segments, wal.nbytes)
        assert sum(sizes) == sum(map(len, files.values()))
        return files

    return make


HISTORIES = {history_name(2), history_name(3)}


def test_the_copies_that_count_along_the_path_and_all_histories_are_copied(copied):
    files = copied()
    wanted = [(1, 2), (1, 3), (1, 4), (2, 5), (2, 6), (2, 7)]
    assert set(files) == {name(number, timeline) for timeline, number in wanted} | HISTORIES
    assert all(files[name(n, t)] == segment_bytes(Segment(t, n)) for t, n in wanted)
    assert files[history_name(3)] == f"1\t{SWITCH}\tno reason\n".encode()


def test_no_more_is_copied_than_the_target_needs(copied):
    # 15 and later read ahead of a position that is already reached.
    files = copied(POSITION, LSN(SIZE.nbytes * 3 + 0xA000), partial=True)
    assert set(files) == {name(2), name(3), name(4)} | HISTORIES


def test_an_immediate_target_needs_the_backup_s_own_wal(copied):
    assert set(copied(IMMEDIATE, partial=True)) == {name(2), name(3)} | HISTORIES


def test_a_beginning_of_the_next_segment_is_copied_under_the_segment_s_name_if_partial_wal_counts(
    repository, copied
):
    spool = Path(repository.root, "streaming")
    spool.mkdir()
    begun = segment_bytes(Segment(2, 8))[: SIZE.nbytes // 2].ljust(SIZE.nbytes, b"\0")
    (spool / f"{name(8, 2)}.partial").write_bytes(begun)
    assert copied(partial=True)[name(8, 2)] == begun


def test_a_beginning_is_not_copied_unless_partial_wal_counts(repository, copied):
    store_wal(repository, [8], timeline=2)
    path = Path(repository.storage.path(f"wals/{name(8, 2)[:16]}/{name(8, 2)}.zst"))
    path.rename(path.with_name(f"{name(8, 2)}.partial.zst"))
    assert name(8, 2) not in copied(partial=False)


def test_a_position_in_a_stored_partial_segment_brings_that_segment(repository, copied):
    store_wal(repository, [8], timeline=2)
    path = Path(repository.storage.path(f"wals/{name(8, 2)[:16]}/{name(8, 2)}.zst"))
    path.rename(path.with_name(f"{name(8, 2)}.partial.zst"))
    files = copied(POSITION, LSN(SIZE.nbytes * 8 + 0x3000), partial=True)
    assert files[name(8, 2)] == segment_bytes(Segment(2, 8))


def test_the_beginning_that_is_stored_with_the_backup_serves_in_any_case(repository, copied):
    (record,) = repository.backups.records()
    os.unlink(repository.storage.path(f"wals/{name(3)[:16]}/{name(3)}.zst"))
    store_in_backup(repository, record, name(3), segment_bytes(Segment(1, 3)))
    assert copied(IMMEDIATE)[name(3)] == segment_bytes(Segment(1, 3))


def test_a_segment_that_is_not_what_its_name_says_is_not_copied(repository, copied):
    path = Path(repository.storage.path(f"wals/{name(4)[:16]}/"))
    os.replace(path / f"{name(3)}.zst", path / f"{name(4)}.zst")
    store_wal(repository, [3])
    with pytest.raises(Corrupt, match=name(4)):
        copied()


def test_a_damaged_segment_ends_the_copying(repository, copied):
    flip(repository.storage.path(f"wals/{name(4)[:16]}/{name(4)}.zst"), -9)
    with pytest.raises(Corrupt):
        copied()


def test_a_segment_that_is_removed_between_plan_and_copying_is_told(repository, tmp_path):
    found = plan(stored_holdings(repository), RecoveryTarget())
    source = WalSource(repository.root, repository.root)
    wal = wal_to_copy(found, repository, source)
    os.unlink(repository.storage.path(f"wals/{name(4)[:16]}/{name(4)}.zst"))
    with pytest.raises(Absent, match=name(4)):
        push_wal(wal, source, Collected(), SYSTEM, int)


def test_nothing_in_pg_wal_is_written_over(repository, tmp_path):
    found = plan(stored_holdings(repository), RecoveryTarget())
    source = WalSource(repository.root, repository.root)
    (tmp_path / "pg_wal").mkdir()
    (tmp_path / "pg_wal" / name(3)).write_bytes(b"mine")
    with (
        closing(Extractor(str(tmp_path))) as extractor,
        pytest.raises(DestinationRefused, match="in the way"),
    ):
        push_wal(wal_to_copy(found, repository, source), source, extractor, SYSTEM, int)
    assert (tmp_path / "pg_wal" / name(3)).read_bytes() == b"mine"


def test_a_segment_that_is_too_long_is_not_copied(repository, copied):
    path = repository.storage.path(f"wals/{name(4)[:16]}/{name(4)}")
    os.unlink(f"{path}.zst")
    Path(path).write_bytes(segment_bytes(Segment(1, 4)) + b"more")
    with pytest.raises(Corrupt, match="longer than a segment"):
        copied()
