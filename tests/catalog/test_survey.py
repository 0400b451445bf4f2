import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.repositories import (
    START,
    new_repository,
    segment_bytes,
    store_backup,
    store_in_backup,
    store_wal,
)

from catalog import layout
from catalog.errors import Absent, TargetUnreachable
from catalog.marks import FailedMark, StartedMark
from catalog.pitr import plan
from catalog.repository import Repository, readable_holdings
from catalog.statuses import DONE, FAILED, STARTED, SUSPECT, WAITING_FOR_WALS
from catalog.survey import survey
from catalog.target import RecoveryTarget

DAY = timedelta(days=1)
OTHER = "20260301T000000"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "main")


def only_status(repository: Repository) -> str:
    (found,) = survey(repository).backups
    return found.status.word


def started(pid: int) -> StartedMark:
    return StartedMark(pid=pid, name=None, started=START, parent=None)


def test_a_backup_waits_until_the_last_of_its_wal_is_stored(repository: Repository) -> None:
    store_backup(repository, first=2, last=3)
    assert only_status(repository) == WAITING_FOR_WALS
    store_wal(repository, [2])
    assert only_status(repository) == WAITING_FOR_WALS
    store_wal(repository, [3])
    assert only_status(repository) == DONE


def test_a_last_segment_stored_with_the_backup_is_as_good_as_one_on_the_shelf(repository: Repository) -> None:
    record = store_backup(repository, first=2, last=3)
    store_wal(repository, [2])
    name = record.last_segment.name(record.wal_segment_size)
    store_in_backup(repository, record, name, segment_bytes(record.last_segment))
    assert only_status(repository) == DONE


def test_a_done_backup_waits_again_when_a_segment_is_lost(repository: Repository) -> None:
    store_backup(repository, first=2, last=3)
    paths = store_wal(repository, [2, 3])
    os.unlink(paths[0])
    assert only_status(repository) == WAITING_FOR_WALS


def test_bad_page_checksums_make_a_backup_suspect(repository: Repository) -> None:
    store_backup(repository, checksum_errors=3)
    assert only_status(repository) == SUSPECT


def test_a_backup_whose_process_holds_the_lock_has_started(repository: Repository) -> None:
    repository.backups.mark_started(OTHER, started(os.getpid()))
    with repository.lock(layout.BACKUP_LOCK, "a test"):
        assert only_status(repository) == STARTED


def test_a_killed_backup_has_failed_and_looking_at_it_writes_nothing(repository: Repository) -> None:
    repository.backups.mark_started(OTHER, started(os.getpid()))
    (found,) = survey(repository).backups
    assert (found.status.word, found.status.error) == (FAILED, "the backup was killed")
    assert os.listdir(repository.storage.path(layout.backup_directory(OTHER))) == [layout.STARTED]


def test_a_killed_backup_has_failed_even_while_somebody_else_holds_the_lock(repository: Repository) -> None:
    repository.backups.mark_started(OTHER, started(os.getpid() + 1))
    with repository.lock(layout.BACKUP_LOCK, "a test"):
        assert only_status(repository) == FAILED


def test_a_failed_backup_says_why(repository: Repository) -> None:
    mark = FailedMark(started=START, ended=START, error="the disk is full", hint="make room")
    repository.backups.fail(OTHER, mark)
    (found,) = survey(repository).backups
    assert (found.status.word, found.status.error, found.status.hint) == (FAILED, mark.error, mark.hint)


def test_a_record_counts_more_than_a_mark_that_was_left(repository: Repository) -> None:
    record = store_backup(repository)
    store_wal(repository, [2, 3])
    repository.backups.mark_started(record.id, started(os.getpid()))
    assert only_status(repository) == DONE


def test_a_record_that_cannot_be_read_fails_its_own_backup_only(repository: Repository) -> None:
    store_wal(repository, [2, 3])
    first, second = store_backup(repository), store_backup(repository, after=DAY)
    repository.storage.put(layout.backup_key(first.id, layout.RECORD), b"{}")
    broken, whole = survey(repository).backups
    assert (broken.id, broken.status.word) == (first.id, FAILED)
    assert broken.status.error is not None and "record.json" in broken.status.error
    assert (whole.id, whole.status.word) == (second.id, DONE)


def test_what_a_removal_left_is_listed_but_not_while_it_goes_on(repository: Repository) -> None:
    record = store_backup(repository)
    repository.storage.delete(layout.backup_key(record.id, layout.RECORD))
    assert only_status(repository) == FAILED
    with repository.lock(layout.BACKUP_LOCK, "a removal"):
        assert survey(repository).backups == ()


def test_backups_are_found_by_id_word_and_name(repository: Repository) -> None:
    first = store_backup(repository, name="before the move")
    last = store_backup(repository, after=DAY)
    repository.backups.fail(OTHER, FailedMark(started=START, ended=START, error="no", hint=None))
    found = survey(repository)
    words = [first.id, "before the move", "oldest", "latest", "latest-full", "last-failed"]
    assert [found.find(word).id for word in words] == [*[first.id] * 3, last.id, last.id, OTHER]


def test_a_backup_without_record_cannot_be_read(repository: Repository) -> None:
    repository.backups.fail(OTHER, FailedMark(started=START, ended=START, error="no room", hint=None))
    with pytest.raises(Absent, match=f"{OTHER} is FAILED: no room"):
        survey(repository).require_record("last-failed")


def test_records_of_other_backups_do_not_lend_their_wal(repository: Repository) -> None:
    store_wal(repository, [2, 3])
    store_backup(repository)
    store_backup(repository, after=DAY, first=700, last=701)
    assert [each.status.word for each in survey(repository).backups] == [DONE, WAITING_FOR_WALS]


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, 10)], ids=["missing", "cut"])
def test_a_backup_whose_archive_is_not_as_recorded_is_failed_and_passed_over(
    repository: Repository, harm: Callable[[str], None]
) -> None:
    older = store_backup(repository, first=2, last=3)
    newer = store_backup(repository, first=4, last=5, after=DAY)
    store_wal(repository, range(2, 6))
    harm(repository.storage.path(layout.backup_key(newer.id, newer.archives[0].file)))
    assert [each.status.word for each in survey(repository).backups] == [DONE, FAILED]
    holdings, _ = readable_holdings(repository)
    found = plan(holdings, RecoveryTarget())
    assert found.backup.id == older.id
    assert any(newer.id in warning for warning in found.warnings)
    with pytest.raises(TargetUnreachable, match=newer.archives[0].file):
        plan(holdings, RecoveryTarget(), newer.id)
