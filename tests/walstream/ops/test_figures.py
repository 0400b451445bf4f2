"""What monitoring is told of what is stored, and how much would be lost with the server."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.configurations import loaded
from support.published import EMPTY, NOW, published, running
from support.repositories import SIZE, START, new_repository, store_backup, store_wal
from support.values import history

from catalog.errors import WalstreamError
from catalog.gaps import Gap, record_gap
from catalog.inventory import Run
from catalog.lsn import LSN
from catalog.marks import FailedMark, StartedMark
from walstream.ops.figures import Exposure, LastBackup, Position, exposure, stored_figures
from walstream.ops.receiver_facts import ReceiverFacts

HOUR = timedelta(hours=1)


@pytest.fixture
def settings(tmp_path):
    text = f"[walstream]\nwalstream_home = {tmp_path}\n[main]\nconninfo = host=x\n"
    return loaded(tmp_path, text).server("main")


@pytest.fixture
def repository(settings):
    made = new_repository(settings.repository)
    os.mkdir(os.path.join(settings.home, "state"))
    return made


def at(moment):
    return moment.timestamp()


def test_an_empty_repository_has_figures_and_they_are_zero(settings, repository):
    found = stored_figures(settings, NOW)
    assert sum(found.counts.values()) == 0 and len(found.counts) == 5 and found.last == {}
    assert (found.recoverable_since, found.archived_at, found.open_gaps) == (None, None, 0)
    assert (found.wal.files, found.wal.nbytes) == (0, 0)
    assert 0 < found.free <= found.room


def test_without_a_repository_there_is_an_error(settings):
    with pytest.raises(WalstreamError, match="no repository"):
        stored_figures(settings, NOW)


def test_backups_are_counted_by_status_and_the_newest_of_each_is_told(settings, repository):
    store_wal(repository, range(2, 6))
    store_backup(repository)
    newest = store_backup(repository, after=HOUR, first=4, last=5)
    waiting = store_backup(repository, after=2 * HOUR, first=6, last=7)
    suspect = store_backup(repository, after=3 * HOUR, first=4, last=5, checksum_errors=1)
    failed = FailedMark(started=START + 4 * HOUR, ended=START + 5 * HOUR, error="no", hint=None)
    repository.backups.fail("20260131T160000", failed)
    killed = StartedMark(pid=1, name=None, started=START - HOUR, parent=None)
    repository.backups.mark_started("20260131T110000", killed)
    found = stored_figures(settings, NOW)
    assert found.counts == {"DONE": 2, "WAITING_FOR_WALS": 1, "SUSPECT": 1, "FAILED": 2, "STARTED": 0}
    stored = sum(each.stored_size for each in (*newest.archives, newest.manifest))
    assert found.last["DONE"] == LastBackup(at(newest.end.time), newest.cluster_size, stored, 300.0)
    assert found.last["WAITING_FOR_WALS"].at == at(waiting.end.time)
    assert found.last["SUSPECT"].at == at(suspect.end.time)
    assert found.last["FAILED"] == LastBackup(at(START + 5 * HOUR))
    assert found.recoverable_since == at(START + timedelta(minutes=5))


def test_a_backup_without_any_mark_has_failed_when_its_name_says_that_it_began(settings, repository):
    os.mkdir(repository.storage.path("base/20260131T120000"))
    assert stored_figures(settings, NOW).last == {"FAILED": LastBackup(at(START))}


def test_wal_is_counted_and_the_newest_segment_has_its_time(settings, repository):
    *older, newest = store_wal(repository, range(0xFE, 0x102))
    for path in older:
        os.utime(path, (NOW, NOW))
    os.utime(newest, (1000, 1000))
    found = stored_figures(settings, NOW)
    assert found.archived_at == 1000.0
    assert found.wal.files == 4 and found.wal.nbytes == sum(map(os.path.getsize, [*older, newest]))


def test_a_partial_segment_or_a_history_is_not_the_newest_segment(settings, repository):
    (path,) = store_wal(repository, [3])
    os.utime(path, (1000, 1000))
    repository.storage.put("wals/00000002.history", history(2, (1, 3.5)).format())
    repository.storage.put("wals/0000000200000000/000000020000000000000003.partial", b"x")
    assert stored_figures(settings, NOW).archived_at == 1000.0


def gap(first, last):
    return Gap(Run(1, first, last), datetime(2026, 2, 1, tzinfo=UTC), "removed by the server")


def test_a_gap_is_open_until_a_backup_that_can_be_restored_begins_behind_it(settings, repository):
    store_wal(repository, [2, 3, 6, 7])
    store_backup(repository)
    record_gap(settings.home, gap(4, 5), SIZE)
    assert stored_figures(settings, NOW).open_gaps == 1
    store_backup(repository, after=HOUR, first=8, last=9)
    assert stored_figures(settings, NOW).open_gaps == 1
    store_wal(repository, [8, 9])
    assert stored_figures(settings, NOW).open_gaps == 0


def test_a_gap_on_a_branch_that_was_left_or_that_was_filled_is_not_open(settings, repository):
    store_wal(repository, [2, 3])
    store_backup(repository)
    record_gap(settings.home, gap(6, 6), SIZE)
    repository.storage.put("wals/00000002.history", history(2, (1, 3.5)).format())
    assert stored_figures(settings, NOW).open_gaps == 1
    store_wal(repository, [3, 4], timeline=2)
    assert stored_figures(settings, NOW).open_gaps == 0
    record_gap(settings.home, gap(2, 3), SIZE)
    assert stored_figures(settings, NOW).open_gaps == 0


def ended(**changes):
    return ReceiverFacts(False, published(phase="ended", **changes), EMPTY)


def told(lsn, ago=0.0, timeline=1):
    return Position(timeline, LSN(lsn), NOW - ago)


def test_while_it_streams_a_receiver_knows_best_what_would_be_lost():
    behind = running(flushed=LSN(0x3000000), server=LSN(0x3000400), lag=2.0)
    assert exposure(behind, None, NOW) == Exposure(0x400, 2.0)
    assert exposure(behind, told(0x4000000), NOW) == Exposure(0x400, 2.0)
    assert exposure(running(flushed=LSN(0x3000400)), None, NOW) == Exposure(0, 0.0)


def test_one_that_streams_and_hangs_is_behind_for_so_long():
    assert exposure(running(flushed=LSN(0x3000000)), None, NOW + 300).seconds == 300


@pytest.mark.parametrize("make", [ended, lambda **changes: running(phase="waiting", **changes)])
def test_without_a_stream_what_the_server_has_told_since_counts_as_lost(make):
    found = make(flushed=LSN(0x3000400), since=NOW - 100)
    assert exposure(found, told(0x3001400, ago=20), NOW) == Exposure(0x1000, 100.0)
    assert exposure(found, told(0x3000400, ago=20), NOW) == Exposure(0, 20.0)


def test_without_an_answer_since_the_stream_was_lost_all_time_since_counts_and_no_bytes_are_made_up():
    found = ended(flushed=LSN(0x3000400), since=NOW - 100)
    for server in (None, told(0x3000400, ago=101), told(0x5000000, timeline=2)):
        assert exposure(found, server, NOW) == Exposure(None, 100.0)
    assert exposure(ended(flushed=LSN(0x3000000), since=NOW - 100), None, NOW) == Exposure(0x400, 100.0)


def test_a_receiver_that_was_killed_while_it_streamed_was_last_seen_when_it_published():
    killed = replace(running(flushed=LSN(0x3000400), since=NOW - 5000, at=NOW - 60), running=False)
    assert exposure(killed, None, NOW) == Exposure(None, 60.0)


def test_one_that_has_never_had_a_stream_lacks_all_since_it_tries_and_nobody_is_told_nothing():
    trying = running(phase="connecting", timeline=0, flushed=LSN(0), server=LSN(0), since=NOW - 50)
    assert exposure(trying, told(0x3000400), NOW) == Exposure(None, 50.0)
    assert exposure(ReceiverFacts(False, None, EMPTY), told(0x3000400), NOW) is None
