import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.members import file
from support.repositories import (
    MAIN,
    PLAIN,
    SIZE,
    SPACE,
    START,
    ZSTD,
    file_of,
    flip,
    manifest_of,
    new_repository,
    segment_bytes,
    store_backup,
    store_in_backup,
    store_wal,
    truncate,
)

from backup.verify import VerifyReport, note, verify
from catalog.codec import Codec
from catalog.coverage import restorable
from catalog.errors import Absent
from catalog.lsn import LSN
from catalog.marks import RemovedMark
from catalog.record import BackupRecord
from catalog.repository import Repository, stored_holdings
from catalog.walname import Segment
from catalog.walpage import PAGE_SIZE

FILES = 5
NOW = datetime(2026, 2, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
LAST = Segment(1, 3).name(SIZE)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "main")


def checked(repository: Repository, record: BackupRecord) -> VerifyReport:
    return verify(repository, record, stored_holdings(repository))


def again(repository: Repository, record: BackupRecord) -> tuple[int, int]:
    """Verify with what is known and note it; how many stored files and segments were read."""
    known = repository.backups.verified(record.id)
    report = verify(repository, record, stored_holdings(repository), known=known)
    note(repository, report, NOW)
    return report.archives, report.segments


def problems(repository: Repository, record: BackupRecord) -> dict[str, str]:
    return {each.what: each.message for each in checked(repository, record).problems}


@pytest.mark.parametrize(
    "codec", [PLAIN, ZSTD, Codec.of("lz4"), Codec.of("gzip")], ids=lambda codec: codec.name
)
def test_a_backup_as_it_was_stored_has_no_problems(repository: Repository, codec: Codec) -> None:
    record = store_backup(repository, spaces={16400: SPACE}, codec=codec)
    store_wal(repository, [2, 3], codec=codec)
    report = checked(repository, record)
    assert report.problems == ()
    assert (report.archives, report.files, report.segments) == (3, FILES + 2, 2)
    stored = (*record.archives, record.manifest)
    assert report.nbytes == sum(each.raw_size for each in stored) + 2 * SIZE.nbytes
    assert dict(report.sums) == {each.file: each.sha256 for each in stored}


def test_progress_ends_at_the_total(repository: Repository) -> None:
    record = store_backup(repository)
    store_wal(repository, [2, 3])
    seen: list[tuple[int, int]] = []
    verify(repository, record, stored_holdings(repository), lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert seen == sorted(seen)


def test_a_verification_is_noted_but_missing_wal_is_not(repository: Repository) -> None:
    record = store_backup(repository)
    paths = store_wal(repository, [2, 3])
    note(repository, checked(repository, record), NOW)
    mark = repository.backups.verified(record.id)
    assert mark is not None and mark.at == NOW
    assert mark.sums[record.manifest.file] == record.manifest.sha256
    os.unlink(paths[0])
    note(repository, checked(repository, record), LATER)
    assert repository.backups.verified(record.id) == mark


def test_what_has_not_changed_since_it_was_verified_is_not_read_again(repository: Repository) -> None:
    record = store_backup(repository)
    store_wal(repository, [2, 3])
    assert again(repository, record) == (2, 2)
    assert again(repository, record) == (0, 0)
    mark = repository.backups.verified(record.id)
    assert mark is not None and mark.at == NOW


def test_a_changed_file_is_read_again_and_so_are_those_beside_it(repository: Repository) -> None:
    record = store_backup(repository)
    paths = store_wal(repository, [2, 3])
    again(repository, record)
    path = file_of(repository, record, record.archives[0])
    before = path.stat()
    flip(path, -1)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if it had never been touched
    report = verify(
        repository, record, stored_holdings(repository), known=repository.backups.verified(record.id)
    )
    assert [each.what for each in report.problems] == ["base.tar.zst"]
    assert (report.archives, report.segments) == (2, 0)
    flip(path, -1)
    assert again(repository, record) == (2, 0)
    flip(paths[0], 40)
    assert again(repository, record) == (0, 2)


def test_a_backup_with_a_problem_is_read_again_whether_it_has_changed_or_not(repository: Repository) -> None:
    record = store_backup(repository)
    store_wal(repository, [2, 3])
    flip(file_of(repository, record, record.archives[0]), -1)
    flip(Path(repository.storage.path(repository.wal.key(LAST))), 40)
    assert again(repository, record) == (2, 2)
    assert again(repository, record) == (2, 2)


def test_a_changed_record_is_held_against_its_files_again(repository: Repository) -> None:
    record = store_backup(repository)
    store_wal(repository, [2, 3])
    again(repository, record)
    path = Path(repository.root, "base", record.id, "record.json")
    path.write_bytes(path.read_bytes())
    assert again(repository, record) == (2, 0)


def test_a_damage_that_was_found_is_remembered_until_a_verification_finds_none(
    repository: Repository,
) -> None:
    record = store_backup(repository)
    store_wal(repository, [2, 3])
    path = file_of(repository, record, record.archives[0])
    flip(path, -1)
    note(repository, checked(repository, record), NOW)
    assert not restorable(record, stored_holdings(repository))
    flip(path, -1)
    note(repository, checked(repository, record), LATER)
    assert restorable(record, stored_holdings(repository))


def test_a_flipped_byte_in_a_plain_archive_names_archive_and_file(repository: Repository) -> None:
    record = store_backup(repository, codec=PLAIN)
    store_wal(repository, [2, 3])
    path = file_of(repository, record, record.archives[0])
    flip(path, path.read_bytes().index(b"oneone") + 1000)
    (found,) = checked(repository, record).problems
    assert found.what == "base.tar"
    assert "its SHA-256 is not the one of the record" in found.message
    assert "file 'base/1' has checksum" in found.message


@pytest.mark.parametrize("offset", [0, 30, -1])
def test_a_flipped_byte_in_a_compressed_archive_is_found_wherever_it_is(
    repository: Repository, offset: int
) -> None:
    record = store_backup(repository, spaces={16400: SPACE})
    store_wal(repository, [2, 3])
    flip(file_of(repository, record, record.archives[0]), offset)
    found = problems(repository, record)
    assert list(found) == ["16400.tar.zst"]
    assert found["16400.tar.zst"].startswith("its SHA-256 is not the one of the record")


@pytest.mark.parametrize("codec", [PLAIN, ZSTD], ids=lambda codec: codec.name)
def test_an_archive_that_is_cut_short_is_found(repository: Repository, codec: Codec) -> None:
    record = store_backup(repository, codec=codec)
    store_wal(repository, [2, 3])
    main = record.archives[0]
    truncate(file_of(repository, record, main))
    expected = f"it has {main.stored_size - 1} stored bytes instead of {main.stored_size}"
    assert problems(repository, record)[main.file].startswith(expected)


def test_a_missing_archive_is_named_and_the_others_are_checked_all_the_same(repository: Repository) -> None:
    record = store_backup(repository, spaces={16400: SPACE, 16401: SPACE})
    store_wal(repository, [2])
    first, second, _ = record.archives
    file_of(repository, record, first).unlink()
    flip(file_of(repository, record, second), -1)
    assert sorted(problems(repository, record)) == [LAST, first.file, second.file]


def test_an_archive_that_fits_its_record_but_not_the_manifest_is_found(repository: Repository) -> None:
    record = store_backup(repository, codec=PLAIN)
    other = store_backup(new_repository(Path(repository.root).parent / "other"), main=MAIN[:3], codec=PLAIN)
    forged = {**vars(record), "archives": other.archives}
    theirs = Path(repository.root).parent / "other" / "base" / other.id / "base.tar"
    file_of(repository, record, record.archives[0]).write_bytes(theirs.read_bytes())
    store_wal(repository, [2, 3])
    (found,) = checked(repository, BackupRecord(**forged)).problems
    assert (found.what, found.message) == (
        "base.tar",
        "the backup manifest lists file 'base/2', which was not sent",
    )


def test_a_file_that_the_manifest_lacks_is_found(repository: Repository) -> None:
    record = store_backup(repository, codec=PLAIN)
    store_wal(repository, [2, 3])
    wanted = manifest_of([(None, MAIN)], record.begin.lsn, record.end.lsn)
    assert file_of(repository, record, record.manifest).read_bytes() == wanted
    more = store_backup(
        new_repository(Path(repository.root).parent / "other"),
        main=[*MAIN, file("base/3", b"3")],
        codec=PLAIN,
    )
    theirs = Path(repository.root).parent / "other" / "base" / more.id / "base.tar"
    file_of(repository, record, record.archives[0]).write_bytes(theirs.read_bytes())
    found = problems(repository, BackupRecord(**{**vars(record), "archives": more.archives}))
    assert found == {"base.tar": "file 'base/3' was sent, but the backup manifest lacks it"}


def test_a_replaced_manifest_is_the_only_problem_it_causes(repository: Repository) -> None:
    record = store_backup(repository, codec=PLAIN)
    store_wal(repository, [2, 3])
    replaced = manifest_of([(None, MAIN[:2])], record.begin.lsn, record.end.lsn)
    file_of(repository, record, record.manifest).write_bytes(replaced)
    found = problems(repository, record)
    assert list(found) == ["backup_manifest"]
    assert "stored bytes instead of" in found["backup_manifest"]


def test_a_manifest_of_another_cluster_is_found(repository: Repository) -> None:
    record = store_backup(repository, codec=PLAIN)
    store_wal(repository, [2, 3])
    found = problems(repository, BackupRecord(**{**vars(record), "system_identifier": 5}))
    assert "is of the cluster with system identifier" in found["backup_manifest"]
    assert set(found) == {"backup_manifest", Segment(1, 2).name(SIZE), LAST}


def test_a_record_whose_span_is_not_the_one_of_the_manifest_is_found(repository: Repository) -> None:
    record = store_backup(repository)
    store_wal(repository, [2, 3])
    end = replace(record.end, lsn=LSN(record.end.lsn.value + 8))
    found = problems(repository, replace(record, end=end))
    assert list(found) == ["backup_manifest.zst"]
    assert (
        "needs WAL from 0/200028 to 0/309000 on timeline 1, but the backup lies"
        in found["backup_manifest.zst"]
    )


def test_every_segment_with_a_problem_is_named(repository: Repository) -> None:
    record = store_backup(repository, first=2, last=5)
    paths = store_wal(repository, [2, 3, 4, 5])
    os.unlink(paths[0])
    truncate(paths[1])
    flip(paths[2], 40)
    found = problems(repository, record)
    assert list(found) == [Segment(1, number).name(SIZE) for number in (2, 3, 4)]
    assert found[Segment(1, 2).name(SIZE)] == "the segment is missing"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (segment_bytes(Segment(1, 3))[:-PAGE_SIZE], "bytes instead of"),
        (segment_bytes(Segment(1, 3)) + bytes(PAGE_SIZE), "has more than"),
        (segment_bytes(Segment(1, 4)), "says that it is the one of"),
        (segment_bytes(Segment(2, 3)), "says timeline 2"),
        (segment_bytes(Segment(1, 3), system_identifier=8), "system identifier 8"),
        (
            segment_bytes(Segment(1, 3))[:PAGE_SIZE].ljust(SIZE.nbytes, b"\0"),
            "ends before the end of the backup",
        ),
    ],
    ids=["short", "long", "misplaced", "timeline", "foreign", "unwritten"],
)
def test_a_segment_with_other_content_is_found(repository: Repository, content: bytes, message: str) -> None:
    record = store_backup(repository, first=3, last=3)
    (path,) = store_wal(repository, [3], codec=PLAIN)
    Path(path).write_bytes(content)
    assert message in problems(repository, record)[LAST]


def test_a_last_segment_stored_with_the_backup_will_do_and_is_checked(repository: Repository) -> None:
    record = store_backup(repository, first=2, last=3)
    store_wal(repository, [2])
    store_in_backup(repository, record, LAST, segment_bytes(Segment(1, 3)))
    assert checked(repository, record).problems == ()
    flip(Path(repository.root, "base", record.id, "wal", f"{LAST}.zst"), 30)
    assert list(problems(repository, record)) == [f"wal/{LAST}"]


def test_a_backup_that_is_removed_meanwhile_is_absent_and_not_damaged(repository: Repository) -> None:
    record = store_backup(repository)
    repository.backups.remove(record.id, RemovedMark(at=START, reason="obsolete"))
    with pytest.raises(Absent, match="was removed while it was verified"):
        verify(repository, record, stored_holdings(repository))
