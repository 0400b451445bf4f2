"""What is known to fail with other tools for PostgreSQL backups, and must not here; each as it would happen.

Also of that kind, and elsewhere: a restore to each kind of target with the primary gone (``test_restore_matrix``,
where the origin is stopped before the first restore), a promotion exactly between two segments
(``test_promotions``), a backup from a standby without a switch on the primary, and backups of an idle server
(``test_backup``).
"""

import os
import shutil
from pathlib import Path

import pytest
from support.backups import base, record_of, restored
from support.clusters import assert_same_rows, fingerprint
from support.protection import timeline_of, verified_by_postgres, wait_until

from catalog.lsn import LSN, SegmentSize
from catalog.walname import Segment

QUIET = {"autovacuum": "off", "bgwriter_delay": "10s", "checkpoint_timeout": "1h"}
SIZE = SegmentSize(1 << 20)


def to_next_timeline(cluster):
    """Make a cluster go on as its own promoted standby."""
    before = timeline_of(cluster)
    cluster.stop()
    Path(cluster.directory, "standby.signal").touch()
    cluster.start()
    assert cluster.one("SELECT pg_promote()")
    assert timeline_of(cluster) == before + 1


@pytest.mark.parametrize("words", [(), ("--target-tli", "latest")], ids=["by default", "latest"])
def test_a_time_on_the_second_timeline_behind_the_backup_is_reached_without_the_primary(
    cluster_factory, protect, cluster_directory, words
):
    cluster = cluster_factory(QUIET, segment_megabytes=1)
    cluster.load(rows=1000)
    ours = protect(cluster)
    with ours.receiving():
        backup = ours.backup()
        for _ in range(2):
            to_next_timeline(cluster)
            cluster.load(rows=1000)
        wait_until(ours.streams)
        moment, content = cluster.one("SELECT clock_timestamp()::text"), fingerprint(cluster)
        cluster.load(rows=1000)
        ours.catch_up()
    assert record_of(ours, backup)["end"]["timeline"] == 1 and timeline_of(cluster) == 3
    cluster.stop()
    shutil.rmtree(cluster.directory)
    place = os.path.join(cluster_directory, "restored")
    with restored(ours, place, "auto", "--target-time", moment, *words) as copy:
        copy.start()
        assert copy.wait_for_recovery() == "paused"
        assert fingerprint(copy) == content


def test_a_missing_segment_is_named_before_anything_is_copied(cluster_factory, protect, tmp_path):
    cluster = cluster_factory(QUIET, segment_megabytes=1)
    ours = protect(cluster)
    with ours.receiving():
        backup = ours.backup()
        for _ in range(5):
            cluster.load(rows=1000)
            cluster.switch_wal()
        ours.catch_up()
        wait_until(lambda: len(ours.stored()) >= 5)
    last = LSN.parse(record_of(ours, backup)["end"]["lsn"])
    behind = [name for name in sorted(ours.stored()) if int(name[16:24], 16) > SIZE.number_before(last) + 1]
    ours.stored()[behind[0]].unlink()
    target = tmp_path / "target"
    target.mkdir()
    before = ours.listing()
    said = ours.refusal("restore", "main", "auto", str(target))
    assert behind[0] in said and "Traceback" not in said
    assert (list(target.iterdir()), ours.listing()) == ([], before)
    first = Segment(1, SIZE.number_at(LSN.parse(record_of(ours, backup)["begin"]["lsn"]))).name(SIZE)
    ours.stored()[first].unlink()
    assert first in ours.refusal("restore", "main", backup, str(target), "--target-immediate")
    assert list(target.iterdir()) == []


def test_a_backup_that_begins_at_the_beginning_of_a_segment_is_restored(
    cluster_factory, protect, cluster_directory
):
    cluster = cluster_factory(QUIET, segment_megabytes=1)
    cluster.load(rows=1000)
    ours = protect(cluster)
    backup = ours.backup()
    begin = LSN.parse(record_of(ours, backup)["begin"]["lsn"])
    assert SIZE.offset(begin) == 0x28  # the first record of a segment lies behind its header
    with restored(ours, os.path.join(cluster_directory, "restored"), backup) as copy:
        verified_by_postgres(copy)
        copy.start()
        assert copy.wait_for_recovery() == "ended"
        assert_same_rows(copy, cluster)


def test_a_backup_that_ends_at_the_end_of_a_segment_needs_no_more_than_that_segment(
    cluster_factory, standby_factory, protect, cluster_directory
):
    primary = cluster_factory(QUIET, segment_megabytes=1)
    standby = standby_factory(primary, QUIET)
    ours = protect(standby)
    with ours.receiving():
        primary.sql("CHECKPOINT")
        primary.load(rows=500)
        primary.switch_wal()
        boundary = LSN.parse(primary.one("SELECT pg_current_wal_flush_lsn()::text"))
        assert SIZE.offset(boundary) == 0
        wait_until(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s", str(boundary)))
        standby.sql("CHECKPOINT")  # what it writes must be recovered up to where it has replayed
        backup = ours.backup()
    record = record_of(ours, backup)
    assert record["end"]["lsn"] == str(boundary)
    assert not (base(ours, backup) / "wal").exists()
    assert "Status                  : DONE" in ours.run("show-backup", "main", backup).stdout
    for words in ((), ("--target-immediate",)):
        with restored(ours, os.path.join(cluster_directory, f"restored{len(words)}"), backup, *words) as copy:
            copy.start()
            assert copy.wait_for_recovery() == "ended"
            assert_same_rows(copy, primary)
