"""Receiving from standbys, and from standbys of standbys, whatever happens above them."""

import pytest
from support.load import load_on
from support.protection import assert_same_wal, timeline_of

from catalog.lsn import LSN
from catalog.walname import history_name

KEEPS = {"autovacuum": "off", "wal_keep_size": "1GB"}


@pytest.fixture
def cascade(cluster_factory, standby_factory):
    """A primary, its standby, and a standby of that one."""
    primary = cluster_factory(KEEPS, segment_megabytes=1)
    primary.load(rows=1000)
    middle = standby_factory(primary, KEEPS)
    return primary, middle, standby_factory(middle, KEEPS)


def written(primary):
    """Where the WAL of a primary ends now; all before is on its way to its standbys."""
    primary.sql("CHECKPOINT")
    return LSN.parse(primary.one("SELECT pg_current_wal_flush_lsn()::text"))


@pytest.mark.parametrize("depth", [1, 2])
def test_a_standby_gives_what_its_primary_wrote(cascade, protect, eventually, depth):
    primary = cascade[0]
    ours = protect(cascade[depth])
    with ours.receiving():
        for _ in range(2):
            primary.load(rows=10000)
            primary.switch_wal()
        end = written(primary)
        eventually(lambda: ours.acknowledged() >= end)
    ours.cluster = primary
    assert_same_wal(ours, end)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_cascading_standby_that_changes_its_timeline_is_followed_in_the_same_stream(
    cascade, protect, eventually, mode
):
    primary, middle, last = cascade
    ours = protect(last)
    with ours.receiving() as process:
        with load_on(primary):
            eventually(lambda: last.one("SELECT to_regclass('busy') IS NOT NULL"))
            eventually(lambda: last.one("SELECT count(*) FROM busy") > 3000)
            walsender = ours.walsender()
            primary.stop(mode)
            assert middle.one("SELECT pg_promote()")
        middle.load(rows=10000)
        middle.switch_wal()
        end = written(middle)
        eventually(lambda: ours.acknowledged() >= end, timeout=60)
        assert ours.walsender() == walsender
        assert process.poll() is None
    ours.cluster = middle
    assert timeline_of(middle) == 2 and history_name(2) in ours.stored()
    assert_same_wal(ours, end, timeline=2)


def test_a_standby_between_that_is_restarted_is_followed(cascade, protect, eventually):
    primary, middle, last = cascade
    ours = protect(last)
    with ours.receiving() as process, load_on(primary):
        for server in (middle, last, middle, last):
            server.stop("immediate")
            server.start()
            end = written(primary)
            eventually(lambda end=end: ours.acknowledged() >= end, timeout=90)
        assert process.poll() is None
    ours.cluster = primary
    assert_same_wal(ours, end)
