import errno
import os
from dataclasses import replace

import pytest
from support.configurations import MAIN, loaded
from support.published import EMPTY, NOW, published, running, supervisor

from catalog.local_storage import failed
from catalog.lsn import LSN
from walstream.ops.check_receiver import lag_items, running_item, spool_item
from walstream.ops.receiver_facts import ReceiverFacts, SpoolFacts, lag_of

MIB = 1 << 20
WAITING = SpoolFacts(3, 48 * MIB, NOW - 10)


@pytest.fixture
def settings(tmp_path):
    return loaded(tmp_path, MAIN).server("main")


def test_a_receiver_that_streams_is_fine(settings):
    assert running_item(settings, running(), NOW).ok


def test_no_receiver_is_a_failure(settings):
    found = running_item(settings, replace(running(), running=False), NOW)
    assert (
        not found.ok
        and found.remedy == "start it: walstream run (by hand, or after --stop: walstream receive-wal main)"
    )


def test_what_ended_the_last_receiver_is_said(settings):
    ended = replace(running(phase="ended", trouble="another cluster"), running=False)
    found = running_item(settings, ended, NOW)
    assert not found.ok and found.hint.endswith(": another cluster")


def test_one_that_was_stopped_or_cannot_be_started_says_so(settings):
    stopped = replace(running(), running=False, stopped=True)
    found = running_item(settings, stopped, NOW)
    assert "was stopped by 'walstream receive-wal --stop'" in found.hint
    assert found.remedy == "start it again: walstream receive-wal main"
    failing = replace(running(), running=False, supervisor=supervisor())
    found = running_item(settings, failing, NOW)
    assert "starts the next one by itself" in found.remedy
    assert (
        not found.ok
        and "tries again at 20" in found.hint
        and found.hint.endswith("the last one said: no route")
    )


def test_one_that_has_not_yet_published_is_fine(settings):
    assert running_item(settings, ReceiverFacts(True, None, EMPTY), NOW).ok


def test_one_that_tries_again_is_a_warning_for_a_minute_and_then_a_failure(settings):
    trouble = {"phase": "waiting", "trouble": "connection refused"}
    found = running_item(settings, running(**trouble, since=NOW - 59), NOW)
    assert found.is_warning and "connection refused" in found.hint
    found = running_item(settings, running(**trouble, since=NOW - 61), NOW)
    assert not found.ok and "connection refused" in found.hint and found.remedy


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_one_whose_disk_is_full_is_a_failure_at_once(settings, code):
    trouble = failed("write", "/spool/0001", OSError(code, os.strerror(code))).message
    found = running_item(settings, running(phase="waiting", trouble=trouble, since=NOW), NOW)
    assert not found.ok and trouble in found.hint and "make room" in found.remedy


def test_one_that_publishes_nothing_stands_still(settings):
    assert running_item(settings, running(at=NOW - 119), NOW).ok
    found = running_item(settings, running(at=NOW - 121), NOW)
    assert not found.ok and "stands still" in found.hint and "4711" in found.hint


def test_segments_on_their_way_are_fine(settings):
    assert spool_item(settings, running(WAITING), NOW).ok
    assert spool_item(settings, running(), NOW).hint == ""


def test_segments_that_wait_for_long_are_a_failure(settings):
    found = spool_item(settings, running(replace(WAITING, since=NOW - 360)), NOW)
    assert not found.ok and "the oldest for 6 minutes" in found.hint


def test_trouble_with_the_repository_is_a_failure_at_once(settings):
    found = spool_item(settings, running(WAITING, archive_trouble="cannot write: no space"), NOW)
    assert not found.ok and "cannot write: no space" in found.hint and found.remedy


def test_a_script_that_keeps_wal_from_being_archived_is_what_is_to_be_mended(settings):
    trouble = "pre_archive_script of 'main' has not ended within 600 s"
    remedy = spool_item(settings, running(WAITING, archive_trouble=trouble), NOW).remedy
    assert "mend what pre_archive_script calls" in remedy and "writable" not in remedy


def test_more_than_the_spool_limit_is_a_failure(settings):
    limited = replace(settings, spool_limit=48 * MIB)
    assert spool_item(limited, running(WAITING), NOW).ok
    found = spool_item(replace(settings, spool_limit=48 * MIB - 1), running(WAITING), NOW)
    assert not found.ok and "more than spool_limit" in found.hint


def test_segments_that_nobody_archives_are_a_failure(settings):
    found = spool_item(settings, replace(running(WAITING), running=False), NOW)
    assert (
        not found.ok
        and found.remedy == "start it: walstream run (by hand, or after --stop: walstream receive-wal main)"
    )


def test_the_lag_is_measured_against_what_the_server_says_now():
    lag = lag_of(published(), (1, LSN(0x3000200 + 5 * MIB)), NOW)
    assert (lag.nbytes, lag.seconds) == (5 * MIB, 0.0)


def test_of_another_timeline_or_an_older_answer_the_receiver_knows_more():
    assert lag_of(published(), (2, LSN(1 << 40)), NOW).nbytes == 0x200
    assert lag_of(published(), (1, LSN(1)), NOW).nbytes == 0x200
    assert lag_of(published(), None, NOW).nbytes == 0x200


def test_the_seconds_grow_on_when_nothing_is_published():
    assert lag_of(published(lag=2.0, at=NOW - 30), None, NOW).seconds == 32.0
    assert lag_of(published(at=NOW - 30), None, NOW).seconds == 0.0
    assert lag_of(published(at=NOW - 50), None, NOW).seconds == 50.0
    everything = published(lag=0.0, at=NOW - 30, flushed=LSN(0x3000400))
    assert lag_of(everything, None, NOW).seconds == 0.0


def test_one_without_a_stream_is_behind_at_least_since_it_lost_it():
    waiting = {"phase": "waiting", "since": NOW - 90}
    assert lag_of(published(**waiting), (1, LSN(0x3000200 + MIB)), NOW).seconds == 90.0
    assert lag_of(published(**waiting, lag=300.0), None, NOW).seconds == 300.0
    assert lag_of(published(**waiting, flushed=LSN(0x3000400)), None, NOW).seconds == 0.0


def test_a_lag_for_want_of_a_stream_says_so(settings):
    (found,) = lag_items(settings, published(phase="waiting", since=NOW - 90), (1, LSN(0x4000000)), NOW)
    assert found.is_warning and "90.0 s behind" in found.hint and "receive-wal running" in found.remedy


def test_a_lag_is_told_and_a_long_one_is_a_warning(settings):
    (found,) = lag_items(settings, published(lag=60.0), (1, LSN(0x3000400)), NOW)
    assert found.ok and not found.is_warning and "60.0 s behind the server" in found.hint
    (found,) = lag_items(settings, published(lag=60.5), (1, LSN(0x3000400)), NOW)
    assert found.is_warning


def test_without_the_servers_answer_or_a_receiver_no_lag_is_told(settings):
    assert lag_items(settings, published(), None, NOW) == []
    assert lag_items(settings, None, (1, LSN(5)), NOW) == []
    assert lag_items(settings, published(timeline=0), (1, LSN(5)), NOW) == []


def test_commits_that_are_not_acknowledged_are_a_failure(settings):
    (found,) = lag_items(settings, published(withheld=True), None, NOW)
    assert not found.ok and "walstream backup main" in found.remedy
