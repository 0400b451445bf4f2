"""Limits of an operator: what is older, smaller or more than that is a failure."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.configurations import loaded
from support.values import record

from walstream.ops.check_limits import Newest, limit_items, newest_of

LIMITS = """
    [walstream]
    walstream_home = /srv/walstream
    [main]
    conninfo = host=x
    last_backup_maximum_age = 1 DAY
    last_backup_minimum_size = 1 Ti
    last_wal_maximum_age = 10min
    max_incoming_wals_queue = 2
"""
DAY = timedelta(days=1)
BACKUP = record()
NOW = BACKUP.end.time.timestamp()


@pytest.fixture
def settings(tmp_path):
    return loaded(tmp_path, LIMITS).server("main")


def found(settings, newest, now=NOW):
    return {item.label: item for item in limit_items(settings, newest, now)}


def test_within_all_limits_all_is_well(settings):
    items = found(settings, Newest(BACKUP, NOW + 85801, 2), NOW + 86400)
    assert len(items) == 4 and all(item.ok for item in items.values()), items
    assert items["backup maximum age"].hint == "the newest is 1.0 days old, at most 1.0 days are wanted"


@pytest.mark.parametrize(
    ("newest", "now", "label"),
    [
        (Newest(BACKUP, NOW + 86401, 0), NOW + 86401, "backup maximum age"),
        (Newest(replace(BACKUP, cluster_size=(1 << 40) - 1), NOW, 0), NOW, "backup minimum size"),
        (Newest(BACKUP, NOW - 601, 0), NOW, "wal maximum age"),
        (Newest(BACKUP, None, 0), NOW, "wal maximum age"),
        (Newest(BACKUP, NOW, 3), NOW, "incoming WALs directory"),
    ],
)
def test_beyond_one_that_one_fails_and_keeps_no_backup_from_being_taken(settings, newest, now, label):
    (failed,) = [item for item in found(settings, newest, now).values() if not item.ok]
    assert failed.label == label and failed.minor and failed.remedy


def test_without_a_backup_its_limits_fail(settings):
    items = found(settings, Newest(None, NOW, 0))
    assert not items["backup maximum age"].ok and not items["backup minimum size"].ok


def test_where_no_limit_is_set_nothing_is_asked(tmp_path):
    plain = loaded(tmp_path, "[walstream]\nwalstream_home = /srv\n[main]\nconninfo = host=x\n").server("main")
    assert found(plain, Newest(None, None, 0)) == {}
    assert found(plain, Newest(None, None, 7))["incoming WALs directory"].ok


def test_the_newest_backup_is_the_one_that_ended_last_without_bad_pages():
    older, newer, bad = record(), record(4, 5), record(6, 7, checksum_errors=1)
    assert newest_of([newer, older, bad]) is newer
    assert newest_of([bad]) is None
